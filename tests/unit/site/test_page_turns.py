"""Turns of pages: how many compute at a time, who is next, and what becomes of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from openalgo_site.turns import pages
from openalgo_site.turns.pages import PageLines, PageTurns, with_page_turns
from openalgo_site.turns.requests import Crowd, RequestTurns, Visitor
from openalgo_site.turns.visitors import Visitors
from streaming.edge_limits import EdgeLimits, Refusal

LONG = 3600.0


def make(
    *,
    at_once: int = 2,
    most: int = 0,
    of_client: int = 100,
    places: int = 1000,
    patience: float | None = LONG,
) -> PageTurns:
    crowd = Crowd(at_once=max(at_once, most), most=places)
    turns = RequestTurns(
        at_once=at_once,
        most_at_once=most,
        client_at_once=of_client,
        known=crowd,
        strangers=crowd,
        most_of_client=places,
        refusal=Refusal.PAGES,
    )
    return PageTurns(turns, patience_seconds=patience)


def stranger(number: int) -> Visitor:
    return Visitor(f"10.0.0.{number}", is_known=False)


def test_patience_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        make(patience=0.0)


async def test_few_are_under_way_however_many_ask() -> None:
    turns = make()
    asked = [turns.take(stranger(1)) for _ in range(50)]
    assert [turn.decided.done() for turn in asked].count(True) == 2
    turns.end(asked[0])
    assert [turn.decided.done() for turn in asked].count(True) == 3


async def test_a_hundred_addresses_have_their_turns_in_rotation() -> None:
    turns = make(at_once=1)
    asked = [turns.take(stranger(at // 5)) for at in range(500)]
    served: list[int] = []
    for _ in range(100):
        at = next(at for at, turn in enumerate(asked) if turn.decided.done() and turn.place)
        served.append(at // 5)
        turns.end(asked[at])
    assert sorted(served) == list(range(100))


async def test_an_address_that_did_not_ask_lately_is_next() -> None:
    turns = make(at_once=1)
    first, *many = [turns.take(stranger(1)) for _ in range(100)]
    somebody = turns.take(stranger(2))
    turns.end(first)
    assert somebody.decided.done()
    turns.end(somebody)
    assert [turn.decided.done() for turn in many].count(True) == 1


async def test_those_under_way_that_wait_themselves_let_more_begin_up_to_a_bound() -> None:
    turns = make(at_once=1, most=4, patience=0.001)
    asked = [turns.take(stranger(at)) for at in range(50)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(turn.decided for turn in asked[:4]))
    for _ in range(20):
        turns._lose_patience()
    assert [turn.decided.done() for turn in asked].count(True) == 4


async def test_who_asks_does_not_begin_the_patience_anew() -> None:
    turns = make(at_once=1, most=2)
    for at in range(2):
        turns.take(stranger(at))
    timer = turns._timer
    assert timer is not None
    for at in range(2, 10):
        turns.take(stranger(at))
    assert turns._timer is timer
    assert not timer.cancelled()


async def test_beyond_the_places_the_newest_of_who_has_most_is_refused() -> None:
    turns = make(at_once=1, places=11)
    first = turns.take(stranger(9))
    many = [turns.take(stranger(1)) for _ in range(10)]
    other = turns.take(stranger(2))
    assert first.decided.result()
    assert not other.decided.done()
    assert [turn.decided.done() for turn in many] == [False] * 9 + [True]
    assert many[-1].decided.result() is False


async def test_who_leaves_takes_no_turn_and_gives_one_back() -> None:
    turns = make(at_once=1)
    first, second, third = (turns.take(stranger(1)) for _ in range(3))
    turns.end(second)
    turns.end(first)
    turns.end(first)
    assert third.decided.result()


@pytest.mark.parametrize(("connections", "most"), [(None, 6), (6, 6), (4, 4), (1, 3), (100, 6)])
async def test_no_more_are_under_way_than_the_database_has_connections_for(
    connections: int | None, most: int
) -> None:
    pages = PageLines.of(EdgeLimits(), connections=connections).pages
    asked = [pages.take(Visitor(at, is_known=True)) for at in range(50)]
    for _ in range(100):
        pages._lose_patience()
    assert [turn.decided.done() for turn in asked].count(True) == most


def decided(turns: list[Any]) -> int:
    return sum(turn.decided.done() for turn in turns)


async def test_so_many_compute_at_once_and_more_only_where_those_wait_themselves() -> None:
    limits = EdgeLimits(pages_at_once=2, most_pages_at_once=4)
    pages = PageLines.of(limits, connections=None).pages
    asked = [pages.take(Visitor(at, is_known=True)) for at in range(50)]
    assert decided(asked) == 2
    pages._lose_patience()
    assert decided(asked) == 3


async def test_so_many_wait_for_a_turn_and_the_next_is_refused() -> None:
    limits = EdgeLimits(pages_at_once=2, most_pages_at_once=2, pages_waiting=3)
    pages = PageLines.of(limits, connections=None).pages
    asked = [pages.take(Visitor(at, is_known=True)) for at in range(50)]
    refused = [turn for turn in asked if turn.decided.done() and not turn.decided.result()]
    assert decided(asked) - len(refused) == 2
    assert len(refused) == 45


async def test_so_many_large_bodies_are_read_at_once() -> None:
    bodies = PageLines.of(EdgeLimits(bodies_at_once=4), connections=None).bodies
    strangers = [bodies.take(stranger(at)) for at in range(50)]
    assert decided(strangers) == 2
    asked = [bodies.take(Visitor(at, is_known=True)) for at in range(50)]
    assert decided(strangers + asked) == 4


@pytest.mark.parametrize(("connections", "most"), [(None, 3), (3, 2), (1, 2)])
async def test_strangers_have_half_of_the_turns_and_a_user_two(
    connections: int | None, most: int
) -> None:
    pages = PageLines.of(EdgeLimits(), connections=connections).pages
    strangers = [pages.take(stranger(at)) for at in range(50)]
    mine = [pages.take(Visitor(1, is_known=True)) for _ in range(50)]
    for _ in range(100):
        pages._lose_patience()
    assert [turn.decided.done() for turn in strangers].count(True) == most
    assert [turn.decided.done() for turn in mine].count(True) == (2 if most == 3 else 1)


class Site:
    """An application that computes until it is let on, and requests to it."""

    def __init__(self, turns: PageTurns, *, bodies: int = 5) -> None:
        self.visitors = Visitors()
        self.taken = 0  # bytes of bodies
        self.computing = self.most = self.refused = self.left = 0
        self.go_on = asyncio.Event()
        lines = PageLines(
            pages=turns, light=make(at_once=100), bodies=make(at_once=bodies, patience=None)
        )
        self.application = with_page_turns(
            self._serve, lines, visitor_of=self.visitors.of, on_refused=self._on_refused
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

    def ask(
        self, address: str, *messages: dict[str, Any], path: str = "/", session: str = ""
    ) -> asyncio.Task[list[int]]:
        """Ask; the task returns the statuses that came."""
        headers = [(b"cookie", f"sessionid={session}".encode())] if session else []
        scope = {"type": "http", "client": (address, 1), "path": path, "headers": headers}
        return asyncio.create_task(self._ask(scope, messages))

    async def _ask(self, scope: dict[str, Any], messages: tuple[dict[str, Any], ...]) -> list[int]:
        left, statuses = list(messages), []

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

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
    site = Site(make(at_once=1, places=2))
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
    assert [await first, await second] == [[200], [200]]


async def test_a_body_that_waits_too_long_for_its_place_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pages, "_PLACE_SECONDS", 0.05)
    site = Site(make(), bodies=1)
    first = site.ask("10.0.0.1", LARGE)
    await turn_round()
    assert await site.ask("10.0.0.2", LARGE, WHOLE) == [503]
    first.cancel()
    await turn_round()
    site.go_on.set()
    assert await site.ask("10.0.0.2", LARGE, WHOLE) == [200], "it gave its wait back"
    assert site.refused == 1


@pytest.mark.parametrize("path", ["/static/streaming/app.css", "/livez", "/readyz", "/metrics"])
async def test_files_and_health_do_not_wait_behind_pages(path: str) -> None:
    site = Site(make(at_once=1))
    asked = [site.ask("10.0.0.1", WHOLE, path=each) for each in ("/", "/", path)]
    await turn_round()
    assert site.computing == 2
    site.go_on.set()
    assert await asyncio.gather(*asked) == [[200]] * 3


async def test_one_user_at_a_hundred_addresses_keeps_no_other_waiting() -> None:
    lines = PageLines.of(EdgeLimits(), connections=None)
    site = Site(lines.pages)
    site.visitors.note_session("mine", 1)
    site.visitors.note_session("another's", 2)
    slow = [site.ask(f"10.0.1.{at % 100}", WHOLE, session="mine") for at in range(200)]
    await turn_round()
    assert site.computing == 2
    other = site.ask("10.0.2.1", WHOLE, session="another's")
    await turn_round()
    assert site.computing == 3
    site.go_on.set()
    assert await asyncio.gather(other, *slow) == [[200]] * 201
    assert site.most == 3
