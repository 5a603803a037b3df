"""Signals of a long-running process: the first one drains, a later one forces."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

__all__ = ["StopAction", "StopPolicy", "end_within", "stop_signals"]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def end_within(seconds: float) -> None:
    """End the process with code 0 if it has not ended by itself after ``seconds``.

    For when everything is done: Python waits for threads, and one that waits for a database that
    is locked or out of reach would hold it up for as long. Signals are ignored from here on. From
    the main thread only.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
