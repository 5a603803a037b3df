"""Turns of the loop for frames: how much is parsed in one, and whose comes next."""

from __future__ import annotations

import asyncio

from streaming.edge.frame_turns import PER_TURN, FrameTurns, frame_cost


class Rounds:
    """Counts what was parsed in each round of the loop; begins before anybody sends."""

    def __init__(self) -> None:
        self.parsed = [0]
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self.parsed.append(0)
        if len(self.parsed) < 1000:
            asyncio.get_running_loop().call_soon(self._next)


class Sender:
    """A client that has so many short frames to parse."""

    def __init__(
        self, turns: FrameTurns, owner: int, frames: int, rounds: Rounds | None = None
    ) -> None:
        self.turns, self.owner, self.frames, self.rounds = turns, owner, frames, rounds

    def begin(self) -> None:
        if self.turns.has_room(self.owner):
            self.work()
        else:
            self.turns.join(self.owner, self.work)

    def work(self) -> None:
        part = min(self.frames, self.turns.left)
        self.turns.use(part)
        self.frames -= part
        if self.rounds is not None:
            self.rounds.parsed[-1] += part
        if self.frames:
            self.turns.join(self.owner, self.work)


async def test_all_clients_together_parse_so_much_in_a_turn() -> None:
    turns, rounds = FrameTurns(), Rounds()
    crowd = [Sender(turns, 1, 100, rounds) for _ in range(50)]
    for sender in crowd:
        sender.begin()
    for _ in range(5000 // 48 + 10):
        await asyncio.sleep(0)
    assert sum(rounds.parsed) == 5000
    assert max(rounds.parsed) <= PER_TURN


async def test_who_has_few_frames_does_not_wait_for_who_has_many() -> None:
    turns = FrameTurns()
    crowd = [Sender(turns, 1, 100) for _ in range(500)]
    for sender in crowd:
        sender.begin()
    for _ in range(10):
        await asyncio.sleep(0)
        neighbour = Sender(turns, 2, 1)
        neighbour.begin()
        assert neighbour.frames == 0


async def test_users_take_turns_however_many_clients_each_has() -> None:
    turns = FrameTurns()
    crowd = [Sender(turns, 1, 1000) for _ in range(100)]
    for sender in crowd:
        sender.begin()
    others = [Sender(turns, user, 48) for user in (2, 3)]
    turns.use(PER_TURN)  # nobody has room in this turn any more
    for other in others:
        other.begin()
    for _ in range(6):
        await asyncio.sleep(0)
    assert [other.frames for other in others] == [0, 0]


async def test_what_fails_costs_nobody_a_turn() -> None:
    turns, done = FrameTurns(), []

    def fail() -> None:
        raise ZeroDivisionError

    told: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: told.append(context.get("exception"))
    )
    turns.join(1, fail)
    turns.join(2, lambda: done.append(2))
    for _ in range(4):
        await asyncio.sleep(0)
    assert done == [2]
    assert [type(error) for error in told] == [ZeroDivisionError]


def test_long_frames_cost_more() -> None:
    assert frame_cost(10) == 1
    assert frame_cost(64 * 1024) > PER_TURN // 4
