"""Turns of the loop: how much is done in one, and who comes next."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from streaming.shares.turns import FRAME_COST, Turns
from streaming.slices import SLICE


class Rounds:
    """Counts the rounds of the loop, and what was done in each."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.now = 0
        self.done: list[tuple[int, int]] = []  # in which round, for whom

    async def work(self, user_id: int, parts: int, cost: float = SLICE) -> None:
        for _ in range(parts):
            await self.turns.take(user_id, cost)
            self.done.append((self.now, user_id))

    async def until(self, *tasks: asyncio.Task[None]) -> None:
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            self.now += 1

    def users(self) -> list[int]:
        return [user_id for _, user_id in self.done]


async def test_what_fits_into_a_turn_does_not_wait() -> None:
    rounds = Rounds()
    await rounds.work(1, 1)
    await rounds.until()
    assert rounds.done == [(0, 1)]


async def test_much_is_done_a_part_in_a_turn_with_rounds_for_others_between() -> None:
    rounds = Rounds()
    # As many clients as there are: they share the user's turns.
    await rounds.until(*(asyncio.create_task(rounds.work(1, 3)) for _ in range(5)))
    at = [now for now, _ in rounds.done]
    assert len(at) == 15
    assert min(after - before for before, after in pairwise(at)) >= 2


async def test_users_take_turns_however_many_clients_each_has() -> None:
    rounds = Rounds()
    crowd = [asyncio.create_task(rounds.work(1, 4)) for _ in range(50)]
    await asyncio.sleep(0)
    neighbour = asyncio.create_task(rounds.work(2, 3))
    await rounds.until(neighbour)
    # One turn each, in rotation: whoever comes waits for one turn of another.
    assert [each == 2 for each in rounds.users()].count(False) <= 5
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_short_requests_share_a_turn_up_to_what_one_holds() -> None:
    rounds = Rounds()
    tasks = [asyncio.create_task(rounds.work(n, 1, FRAME_COST)) for n in range(100)]
    await rounds.until(*tasks)
    fit = 37  # as many as a long one takes, and half as many beside it
    starts = sorted({now for now, _ in rounds.done})
    in_each = [sum(now == start for now, _ in rounds.done) for start in starts]
    assert in_each == [fit, fit, 100 - 2 * fit]


async def test_a_short_request_does_not_wait_behind_a_long_one() -> None:
    rounds = Rounds()
    crowd = [asyncio.create_task(rounds.work(1, 4)) for _ in range(10)]
    await rounds.until(asyncio.create_task(rounds.work(1, 1)))
    before = rounds.now
    await rounds.work(2, 1, FRAME_COST)
    assert rounds.done[-1] == (before, 2)
    await rounds.until(*crowd)


async def test_what_is_more_than_a_turn_has_one_of_its_own() -> None:
    rounds = Rounds()
    first = asyncio.create_task(rounds.work(1, 1, 10.0 * SLICE))
    second = asyncio.create_task(rounds.work(2, 1, SLICE / 2))
    await rounds.until(first, second)
    assert rounds.users() == [1, 2]
    assert rounds.done[1][0] > rounds.done[0][0]


async def test_who_is_cancelled_takes_no_turn() -> None:
    rounds = Rounds()
    await rounds.work(1, 1)
    tasks = [asyncio.create_task(rounds.work(user_id, 1)) for user_id in (2, 2, 3)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    tasks[2].cancel()
    last = asyncio.create_task(rounds.work(4, 1))
    await rounds.until(*tasks, last)
    assert sorted(rounds.users()) == [1, 2, 4]
    assert repr(rounds.turns) == "<Turns waiting=0>"


def test_a_turn_has_at_least_two_rounds() -> None:
    with pytest.raises(ValueError, match="two rounds"):
        Turns(rounds=1)
