"""Waits that are shorter than what a loop's own timers count, by the kernel's and without it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from streaming.wire import short_waits
from streaming.wire.short_waits import ShortWait
from tests.support import eventually


@pytest.mark.parametrize("has_timer", [True, False])
@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_wait_ends_once_and_not_too_soon(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
    has_timer: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Begun anew it ends anew; one that was begun again, or closed, does not end."""
    if not has_timer:
        monkeypatch.setattr(short_waits, "_create_timer", lambda *_: -1)

    async def use() -> None:
        ends: list[float] = []
        wait = ShortWait(lambda: ends.append(time.monotonic()))
        for seconds in (0.0, 0.0003, 0.02):
            ends.clear()
            began = time.monotonic()
            wait.begin(seconds)
            await eventually(lambda: ends)
            # A loop that counts milliseconds may be early by what it has rounded.
            assert ends[0] - began >= seconds - (0 if has_timer else 0.002)
        ends.clear()
        wait.begin(0.05)
        wait.begin(3600.0)
        await asyncio.sleep(0.2)
        assert not ends
        wait.begin(0.05)
        wait.close()
        wait.close()
        await asyncio.sleep(0.2)
        assert not ends

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(use())
