"""Turns of pages: how many compute at a time, who is next, and what becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from openalgo_site.page_turns import PageTurns, with_page_turns

LONG = 3600.0


def make(*, at_once: int = 2, waiting: int = 100, patience: float | None = LONG) -> PageTurns:
    return PageTurns(at_once=at_once, most_waiting=waiting, patience_seconds=patience)


def begun(turns: dict[str, asyncio.Future[bool]]) -> list[str]:
    return [name for name, turn in turns.items() if turn.done() and turn.result()]


@pytest.mark.parametrize("bad", [{"at_once": 0}, {"waiting": 0}, {"patience": 0.0}])
async def test_bounds_are_positive(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        make(**bad)


async def test_few_are_under_way_however_many_ask() -> None:
    turns = make()
    asked = [turns.take("10.0.0.1") for _ in range(50)]
    assert [turn.done() for turn in asked].count(True) == 2
    turns.end()
    assert [turn.done() for turn in asked].count(True) == 3


async def test_an_address_that_did_not_ask_lately_is_next() -> None:
    turns = make(at_once=1)
    asked = {f"{at}": turns.take(f"10.0.0.{at % 10}") for at in range(100)}
    for _ in range(30):
        turns.end()
    asked["somebody"] = turns.take("10.0.1.1")
    turns.end()
    assert begun(asked)[-1] == "somebody"


async def test_a_hundred_addresses_have_their_turns_in_rotation() -> None:
    turns = make(at_once=1)
    asked = {f"{at}": turns.take(f"10.0.0.{at // 5}") for at in range(500)}
    for _ in range(99):
        turns.end()
    assert len({int(name) // 5 for name in begun(asked)}) == 100


async def test_one_more_begins_where_those_under_way_wait_themselves() -> None:
    turns = make(at_once=1, patience=0.001)
    asked = [turns.take("10.0.0.1") for _ in range(5)]
    async with asyncio.timeout(30):
        await asyncio.gather(*asked)


async def test_beyond_the_places_the_newest_of_who_has_most_is_refused() -> None:
    turns = make(at_once=1, waiting=10)
    first = turns.take("10.0.0.9")
    many = [turns.take("10.0.0.1") for _ in range(10)]
    other = turns.take("10.0.0.2")
    assert first.result()
    assert not other.done()
    assert [turn.done() for turn in many] == [False] * 9 + [True]
    assert many[-1].result() is False


async def test_who_leaves_takes_no_turn_and_gives_one_back() -> None:
    turns = make(at_once=1)
    first, second, third = (turns.take("10.0.0.1") for _ in range(3))
    turns.give_up("10.0.0.1", second)
    turns.give_up("10.0.0.1", first)
    assert third.result()


class Site:
    """An application that computes until it is let on, and requests to it."""

    def __init__(self, turns: PageTurns, *, bodies: int = 5) -> None:
        self.taken = 0  # bytes of bodies
        self.computing = self.most = self.refused = self.left = 0
        self.go_on = asyncio.Event()
        places = make(at_once=bodies, patience=None)
        self.application = with_page_turns(
            self._serve, turns, bodies=places, on_refused=self._on_refused
        )

    def _on_refused(self) -> None:
        self.refused += 1

    async def _serve(self, scope: Any, receive: Callable[[], Any], send: Any) -> None:
        while (message := await receive()).get("more_body"):
            self.taken += len(message["body"])
        if message["type"] == "http.disconnect":
            self.left += 1
            return
        self.computing += 1
        self.most = max(self.most, self.computing)
        await self.go_on.wait()
        self.computing -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def ask(self, address: str, *messages: dict[str, Any]) -> asyncio.Task[list[int]]:
        """Ask; the task returns the statuses that came."""
        return asyncio.create_task(self._ask(address, messages))

    async def _ask(self, address: str, messages: tuple[dict[str, Any], ...]) -> list[int]:
        left, statuses = list(messages), []

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        scope = {"type": "http", "client": (address, 1)}
        await self.application(scope, receive, send)
        return statuses


WHOLE = {"type": "http.request", "body": b"", "more_body": False}
PART = {"type": "http.request", "body": b"a", "more_body": True}
GONE = {"type": "http.disconnect"}


async def turn_round() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_requests_are_answered_a_few_at_a_time() -> None:
    site = Site(make())
    asked = [site.ask(f"10.0.0.{at}", PART, WHOLE) for at in range(20)]
    await turn_round()
    site.go_on.set()
    assert await asyncio.gather(*asked) == [[200]] * 20
    assert site.most == 2


async def test_a_body_under_way_takes_no_turn() -> None:
    site = Site(make(at_once=1))
    slow = site.ask("10.0.0.1", PART)
    await turn_round()
    site.go_on.set()
    assert await site.ask("10.0.0.2", WHOLE) == [200]
    slow.cancel()


async def test_who_left_while_it_waited_is_not_served() -> None:
    site = Site(make(at_once=1))
    first = site.ask("10.0.0.1", WHOLE)
    await turn_round()
    assert await site.ask("10.0.0.2", WHOLE, GONE) == []
    site.go_on.set()
    assert await first == [200]
    assert (site.left, site.most) == (1, 1)
    assert await site.ask("10.0.0.2", WHOLE) == [200]


async def test_who_finds_no_place_is_told_so() -> None:
    site = Site(make(at_once=1, waiting=1))
    asked = [site.ask("10.0.0.1", WHOLE) for _ in range(3)]
    await turn_round()
    assert await asked[2] == [503]
    site.go_on.set()
    assert await asyncio.gather(*asked[:2]) == [[200], [200]]
    assert site.refused == 1


async def test_a_request_that_is_cancelled_gives_its_turn_back() -> None:
    site = Site(make(at_once=1))
    first, second = site.ask("10.0.0.1", WHOLE), site.ask("10.0.0.2", WHOLE)
    await turn_round()
    first.cancel()
    await turn_round()
    site.go_on.set()
    assert await second == [200]


LARGE = {"type": "http.request", "body": bytes(10_000), "more_body": True}


async def test_few_large_bodies_are_read_at_a_time() -> None:
    site = Site(make(), bodies=2)
    asked = [site.ask(f"10.0.0.{at}", LARGE, LARGE) for at in range(10)]
    await turn_round()
    assert site.taken == 2 * 2 * 10_000
    asked[0].cancel()
    await turn_round()
    assert site.taken == 3 * 2 * 10_000
    for each in asked:
        each.cancel()


async def test_a_small_body_needs_no_place() -> None:
    site = Site(make(), bodies=1)
    slow = site.ask("10.0.0.1", LARGE)
    await turn_round()
    site.go_on.set()
    assert await site.ask("10.0.0.2", PART, WHOLE) == [200]
    slow.cancel()


async def test_a_body_that_waited_for_its_place_is_served() -> None:
    site = Site(make(), bodies=1)
    first, second = (site.ask(f"10.0.0.{at}", LARGE, WHOLE) for at in range(2))
    await turn_round()
    site.go_on.set()
    assert await asyncio.gather(first, second) == [[200], [200]]
