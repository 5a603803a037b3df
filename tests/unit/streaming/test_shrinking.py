"""When memory of what nobody reads any more is given back."""

from __future__ import annotations

import asyncio

import pytest

from streaming.fanout.shrinking import give_back, shrink_when_left
from streaming.protocol.held import shared_feed, shared_feeds


async def shrunk(*looks: tuple[int, int]) -> int:
    """Return how often it shrank while each look found so much kept, and so much in use."""
    left, count = list(looks), 0
    found = (0, 0)  # by the look under way
    is_over = asyncio.Event()

    def kept() -> int:
        return found[0]

    def in_use() -> int:
        nonlocal found
        if not left:
            is_over.set()
        found = left.pop(0) if left else (0, 0)
        return found[1]

    def shrink() -> None:
        nonlocal count
        count += 1

    task = asyncio.create_task(shrink_when_left(in_use, kept=kept, shrink=shrink, seconds=0.0))
    async with asyncio.timeout(30):
        await is_over.wait()
    task.cancel()
    return count


@pytest.mark.parametrize(
    ("looks", "times"),
    [
        ([(9000, 20), (9000, 20)], 1),
        ([(9000, 2250), (9000, 2250)], 1),
        ([(9000, 20)], 0),
        ([(9000, 20), (9000, 9000), (9000, 20)], 0),
        ([(9000, 9000)] * 4, 0),
        ([(9000, 2300)] * 4, 0),
        ([(900, 0)] * 4, 0),
        ([(9000, 20)] * 4, 2),
    ],
    ids=["left", "a quarter", "one look", "asked for anew", "in use", "more than a quarter",
         "few", "again"],
)  # fmt: skip
async def test_it_shrinks_once_most_is_read_no_more(
    looks: list[tuple[int, int]], times: int
) -> None:
    assert await shrunk(*looks) == times


def test_what_is_given_back_is_forgotten_and_still_equal() -> None:
    before = shared_feed("p1", "NSE", "INFY")
    assert shared_feed("p1", "NSE", "INFY") is before
    give_back()
    assert shared_feeds() == 0
    assert shared_feed("p1", "NSE", "INFY") == before
