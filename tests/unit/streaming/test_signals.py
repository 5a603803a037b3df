"""Signal and SmallQueue: what asyncio's Event and Queue promise to one waiter."""

from __future__ import annotations

import asyncio

import pytest

from streaming.waiters import Signal, SmallQueue


async def test_a_signal_that_is_set_does_not_wait() -> None:
    """``wait`` returns at once while it is set."""
    signal = Signal()
    signal.set()
    assert signal.is_set()
    await signal.wait()


async def test_a_waiter_goes_on_although_the_signal_is_cleared_before_it_runs() -> None:
    """What was set must not be missed."""
    signal = Signal()
    waiter = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    signal.set()
    signal.set()
    signal.clear()
    await asyncio.wait_for(waiter, 10)
    assert not signal.is_set()


async def test_a_cancelled_waiter_leaves_room_for_the_next() -> None:
    """Cancelling is safe; the next wait is woken."""
    signal = Signal()
    first = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    assert not second.done()
    signal.set()
    await asyncio.wait_for(second, 10)


async def test_a_second_waiter_is_refused() -> None:
    """A lost wake-up would be worse than an error."""
    signal = Signal()
    first = asyncio.ensure_future(signal.wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="one waiter"):
        await signal.wait()
    signal.set()
    await asyncio.wait_for(first, 10)


async def test_a_queue_gives_what_was_put_in_order() -> None:
    """First in, first out, and empty afterwards."""
    queue: SmallQueue[int] = SmallQueue()
    for item in range(3):
        queue.put_nowait(item)
    assert [await queue.get() for _ in range(3)] == [0, 1, 2]
    assert queue.empty()


async def test_a_reader_waits_for_each_item() -> None:
    """The queue can run dry and be filled again, any number of times."""
    queue: SmallQueue[int] = SmallQueue()
    for item in range(3):
        reader = asyncio.ensure_future(queue.get())
        await asyncio.sleep(0)
        assert not reader.done()
        queue.put_nowait(item)
        assert not queue.empty()
        assert await asyncio.wait_for(reader, 10) == item


async def test_a_cancelled_reader_takes_nothing() -> None:
    """An item put while its reader is cancelled is the next reader's."""
    queue: SmallQueue[int] = SmallQueue()
    reader = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.put_nowait(1)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await asyncio.wait_for(queue.get(), 10) == 1
