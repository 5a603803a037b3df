"""Signals of a long-running process: the first one drains, a later one forces."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

__all__ = ["StopAction", "StopPolicy", "stop_signals"]


class StopAction(Enum):
    """What a signal means."""

    DRAIN = "drain"
    IGNORE = "ignore"
    FORCE = "force"


@dataclass(slots=True)
class StopPolicy:
    """Turns signals into one drain and, if somebody insists, a forced end.

    One Ctrl-C can arrive several times: from the terminal, from make, from a process group. So
    repeats within ``repeat_seconds`` are the same wish.
    """

    repeat_seconds: float = 1.0
    first_at: float | None = None

    def on_signal(self, now: float) -> StopAction:
        """Say what a signal at ``now`` (monotonic seconds) means."""
        if self.first_at is None:
            self.first_at = now
            return StopAction.DRAIN
        if now - self.first_at < self.repeat_seconds:
            return StopAction.IGNORE
        return StopAction.FORCE


@contextlib.contextmanager
def stop_signals(drain: Callable[[], None], force: Callable[[], None]) -> Iterator[None]:
    """Within the block, call ``drain`` at the first SIGINT, SIGTERM or SIGHUP, ``force`` later.

    Both are called on the running event loop and must not block.
    """
    policy = StopPolicy()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        action = policy.on_signal(time.monotonic())
        if action is StopAction.DRAIN:
            drain()
        elif action is StopAction.FORCE:
            force()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
