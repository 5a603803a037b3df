"""The edge of a process: who has to go goes a few in a turn."""

from __future__ import annotations

import asyncio

from streaming.edge.places import Edge
from streaming.edge_limits import EdgeLimits, Refusal

MANY = 500


class Guest:
    """A connection that notes why it was ended, and leaves then as real ones do."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.refusal: Refusal | None = None

    def end(self, refusal: Refusal) -> None:
        assert self.refusal is None
        self.refusal = refusal
        self.edge.leave(self)


class Story:
    """An edge with guests that all came at once, and a clock."""

    def __init__(self) -> None:
        self.now = 100.0
        limits = EdgeLimits(max_strangers=MANY, max_strangers_per_address=MANY)
        self.edge = Edge(limits, clock=lambda: self.now)
        self.guests = [Guest(self.edge) for _ in range(MANY)]
        for guest in self.guests:
            assert self.edge.enter(guest, "192.0.2.1") is None

    @property
    def ended(self) -> int:
        return sum(guest.refusal is not None for guest in self.guests)

    async def most_in_a_turn(self, until: int) -> int:
        """Return how many ended in one turn of the loop at most, until so many have."""
        most, before = 0, self.ended
        async with asyncio.timeout(30):
            while before < until:
                await asyncio.sleep(0)
                most, before = max(most, self.ended - before), self.ended
        return most


async def test_thousands_that_are_late_together_end_a_few_in_a_turn() -> None:
    """In one turn they were a tenth of a second for everybody."""
    story = Story()
    story.now += 60.0
    story.edge._sweep()
    assert 0 < await story.most_in_a_turn(until=MANY) <= 20
    assert {guest.refusal for guest in story.guests} == {Refusal.SLOW_REQUEST}
    assert not len(story.edge.strangers)


async def test_who_says_something_before_its_turn_stays() -> None:
    story = Story()
    story.now += 60.0
    story.edge._sweep()
    last = story.guests[-1]
    story.edge.strangers.serve(last)
    gone = story.guests[-2]
    story.edge.leave(gone)
    await story.most_in_a_turn(until=MANY - 2)
    for _ in range(5):
        await asyncio.sleep(0)
    assert last.refusal is gone.refusal is None


async def test_room_is_made_for_who_comes_and_not_for_hundreds() -> None:
    story = Story()
    story.now += 5.0
    for number in range(1, 51):
        assert story.edge.enter(Guest(story.edge), "192.0.2.2") is None
        assert story.ended <= number + 1
    assert story.ended >= 50
    assert {guest.refusal for guest in story.guests[: story.ended]} == {Refusal.STRANGERS}


async def test_nobody_is_kept_who_might_have_made_room() -> None:
    story = Story()
    story.now += 5.0
    assert story.edge.enter(Guest(story.edge), "192.0.2.2") is None
    assert story.edge._making_room
    for guest in story.guests:
        if guest.refusal is None:
            story.edge.leave(guest)
    story.edge._sweep()
    assert not story.edge._making_room
