"""When memory of what nobody reads any more is given back."""

from __future__ import annotations

import asyncio

import pytest

from streaming.fanout.shrinking import give_back, shrink_when_left
from streaming.protocol.held import shared_feed, shared_feeds


async def shrunk(*looks: tuple[int, int, int]) -> str:
    """Return what was done while each look found so much kept, in use, and so many objects.

    A letter a time: "s" where it shrank, "t" where it only gave back what was free.
    """
    left, done = list(looks), ""
    found = (0, 0, 0)  # by the look under way
    is_over = asyncio.Event()

    def in_use() -> int:
        nonlocal found
        if not left:
            is_over.set()
        found = left.pop(0) if left else (0, 0, 0)
        return found[1]

    def do(letter: str) -> None:
        nonlocal done
        if not is_over.is_set():
            done += letter

    task = asyncio.create_task(
        shrink_when_left(
            in_use,
            kept=lambda: found[0],
            blocks=lambda: found[2],
            shrink=lambda: do("s"),
            trim=lambda: do("t"),
            seconds=0.0,
        )
    )
    async with asyncio.timeout(30):
        await is_over.wait()
    task.cancel()
    return done


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
    assert await shrunk(*((kept, in_use, 0) for kept, in_use in looks)) == "s" * times


@pytest.mark.parametrize(
    ("blocks", "done"),
    [
        ([500, 600, 600, 500, 500], "t"),
        ([500, 600, 600, 500, 600, 500], ""),
        ([500, 600, 600, 595, 595, 595], ""),
        ([600, 500, 500, 500, 500], "t"),
        ([500, 600, 600, 500, 500, 400, 400, 400, 400], "tt"),
        ([500, 600, 700, 800, 900], ""),
        ([500, 600, 600, *[500] * 12], "tt"),
    ],
    ids=["fewer", "one look", "a few fewer", "not at once", "and fewer", "more", "once more"],
)
async def test_what_is_free_is_given_back_once_many_objects_are_gone(
    blocks: list[int], done: str
) -> None:
    """Of silent connections, or of ticks that were not read: nothing is to be forgotten."""
    assert await shrunk(*((9000, 9000, 1000 * count) for count in blocks)) == done


def test_what_is_given_back_is_forgotten_and_still_equal() -> None:
    before = shared_feed("p1", "NSE", "INFY")
    assert shared_feed("p1", "NSE", "INFY") is before
    give_back()
    assert shared_feeds() == 0
    assert shared_feed("p1", "NSE", "INFY") == before
