"""Requests for thousands of symbols, beside whatever happens between their turns."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from brokers.pool_service import RefusalCode
from brokers.types import FeedMode, InstrumentKey
from streaming.clients.client import Client
from streaming.fanout.pending_ticks import Arrivals
from streaming.gateway.requests import serve, serve_frame
from streaming.ports.link import TickMessage
from streaming.protocol.session import ClientSession
from streaming.protocol.vocabulary import CloseCode
from streaming.shares.turns import LONG_AT_ONCE, Turns
from streaming.slices import SLICE
from streaming.testing.edge import make_principal
from tests.support import eventually
from tests.unit.streaming.fanout.test_hub import Edge, RecordingSocket, of_type

MANY = 3 * SLICE + 100
PARTS = 4
SYMBOLS = [{"exchange": "NSE", "symbol": f"S{n:04d}"} for n in range(MANY)]
FIRST, MIDDLE, LAST = (InstrumentKey("NSE", f"S{n:04d}") for n in (0, MANY // 2, MANY - 1))
WATCHED = (FIRST, MIDDLE, LAST)


class Story:
    """A long request of one client, with something done at each turn of the loop meanwhile."""

    def __init__(self) -> None:
        self.edge = Edge()
        self.edge.hub._turns = Turns(rounds=2)  # few rounds in which nothing happens
        self.client: Client
        self.sender: RecordingSocket
        self.turns = 0

    async def __aenter__(self) -> Story:
        await self.edge.hub.open()
        self.client, self.sender = self.edge.client()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.edge.hub.close()

    async def ask(
        self, action: str, at_turn: Callable[[int, asyncio.Task[None]], None], **fields: Any
    ) -> None:
        """Ask; call ``at_turn`` with the turn's number and the request at each turn until done."""
        self.turns = 0
        request = asyncio.create_task(self.edge.ask(self.client, action=action, **fields))
        while not request.done():
            at_turn(self.turns, request)
            self.turns += 1
            await asyncio.sleep(0)
        with contextlib.suppress(asyncio.CancelledError):
            await request

    async def subscribe(
        self, at_turn: Callable[[int, asyncio.Task[None]], None] = lambda *_: None
    ) -> None:
        await self.ask("subscribe", at_turn, symbols=SYMBOLS, mode=2)

    def tick(self, turn: int) -> None:
        for key in WATCHED:
            self.edge.link.tick("p1", key, FeedMode.QUOTE, ltp=100 + turn)

    async def prices(self, key: InstrumentKey) -> list[float]:
        """Return the prices of ``key`` that the client got, once it has got everything."""
        await eventually(lambda: not self.client.outbox)
        found = [each for each in self.sender.frames if each.get("symbol") == key.symbol]
        return [each["data"]["ltp"] for each in found if "data" in each]

    def kinds(self) -> list[str]:
        return [each.get("type", "") for each in self.sender.frames]


async def test_a_long_subscribe_leaves_turns_to_others() -> None:
    async with Story() as story:
        await story.subscribe()
        assert story.turns > 3 * PARTS
        await story.ask("unsubscribe", lambda *_: None, symbols=SYMBOLS)
        assert story.turns > PARTS
        await story.subscribe()
        await story.ask("unsubscribe_all", lambda *_: None)
        assert story.turns > PARTS
        assert story.edge.link.held == {}


async def test_one_answer_comes_first_and_no_newest_price_is_lost() -> None:
    async with Story() as story:
        await story.subscribe(lambda turn, _: story.tick(turn))
        last = story.turns - 1
        for key in WATCHED:
            prices = await story.prices(key)
            assert prices[-1] == (100 + last) / 100
            assert prices == sorted(set(prices))
        assert story.kinds()[0] == "subscribe"
        assert story.kinds().count("subscribe") == 1
        entries = story.sender.frames[0]["subscriptions"]
        assert [each["symbol"] for each in entries] == [each["symbol"] for each in SYMBOLS]
        assert {each["status"] for each in entries} == {"success"}
        assert not story.edge.hub._arrivals


async def turns_of_a_subscribe() -> int:
    async with Story() as story:
        await story.subscribe()
        return story.turns


async def test_a_refusal_counts_whenever_it_comes() -> None:
    """It is in the answer or behind it, and nothing of the symbol comes after it."""
    for at in range(0, await turns_of_a_subscribe(), 2):
        async with Story() as story:

            def refuse(turn: int, _: object, at: int = at, story: Story = story) -> None:
                story.tick(turn)
                if turn == at and story.edge.link.calls:
                    story.edge.link.refuse_later(
                        "p1", LAST, FeedMode.QUOTE, RefusalCode.BROKER_ERROR, "No."
                    )

            await story.subscribe(refuse)
            was_asked = len(story.edge.link.calls) >= PARTS
            story.tick(999)
            await eventually(lambda story=story: not story.client.outbox)
            told = [
                entry["status"]
                for frame in story.sender.frames
                for entry in frame.get("subscriptions", ())
                if entry["symbol"] == LAST.symbol
            ]
            held = {feed.key for feed in story.client.session.held}
            if told[-1] == "error":
                assert LAST not in held
                assert 10.99 not in await story.prices(LAST)
            else:
                assert not was_asked or LAST in held
            assert 10.99 in await story.prices(FIRST)


async def test_nothing_comes_of_an_account_that_is_lost_in_between() -> None:
    for at in range(0, await turns_of_a_subscribe(), 2):
        async with Story() as story:

            def lose(turn: int, _: object, at: int = at, story: Story = story) -> None:
                story.tick(turn)
                if turn == at:
                    nobody = msgspec.structs.replace(make_principal(1), accounts=())
                    story.edge.hub.follow(story.client, nobody)

            await story.subscribe(lose)
            await eventually(lambda story=story: story.edge.link.held == {})
            story.tick(999)
            assert story.client.session.held == {}
            for key in WATCHED:
                assert 10.99 not in await story.prices(key)


async def test_a_client_that_leaves_in_between_gives_everything_up() -> None:
    for at in range(0, await turns_of_a_subscribe(), 2):
        async with Story() as story:

            def leave(turn: int, request: asyncio.Task[None], at: int = at) -> None:
                if turn == at:
                    request.cancel()

            await story.subscribe(leave)
            story.edge.hub.leave(story.client)
            await eventually(lambda story=story: story.edge.link.held == {})
            assert not story.edge.hub._arrivals
            story.tick(1)
            assert story.edge.hub.ticks_unwanted == len(WATCHED)


@pytest.mark.parametrize(
    ("action", "fields"), [("unsubscribe", {"symbols": SYMBOLS}), ("unsubscribe_all", {})]
)
async def test_no_tick_follows_the_answer_to_a_long_unsubscribe(
    action: str, fields: dict[str, Any]
) -> None:
    async with Story() as story:
        await story.subscribe()
        story.sender.frames.clear()
        await story.ask(action, lambda turn, _: story.tick(turn), **fields)
        story.tick(999)
        await eventually(lambda: not story.client.outbox)
        answer = story.kinds().index("unsubscribe")
        assert all("data" not in each for each in story.sender.frames[answer:])
        assert len(json.dumps(story.sender.frames[answer])) > 50 * MANY
        assert story.edge.link.held == {}
        assert story.client.session.held == {}


async def test_many_clients_of_a_user_share_its_turns() -> None:
    """However many ask at once, a turn has one part of a request, and a neighbour's ping."""
    async with Story() as story:
        edge, now = story.edge, 0
        planned: Counter[int] = Counter()  # items, by turn of the loop
        crowd = [edge.client()[0] for _ in range(20)]
        for client in crowd:
            plan_items = client.session.plan_items

            def noted(plan: Any, items: Any, plan_items: Any = plan_items) -> None:
                planned[now] += len(items)
                plan_items(plan, items)

            client.session.plan_items = noted  # type: ignore[method-assign]
        neighbour, sender = edge.client(make_principal(2))
        wanted = json.dumps({"action": "subscribe", "symbols": SYMBOLS})
        requests = [asyncio.create_task(serve_frame(edge.hub, client, wanted)) for client in crowd]
        waited: list[int] = []
        while planned.total() < 3 * SLICE * len(crowd):
            ping = asyncio.create_task(serve_frame(edge.hub, neighbour, '{"action":"ping"}'))
            asked = now
            while not ping.done():
                await asyncio.sleep(0)
                now += 1
            waited.append(now - asked)
        assert max(planned.values()) <= SLICE
        assert max(waited) <= 4
        await eventually(lambda: len(of_type(sender, "pong")) == len(waited))
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)


async def test_who_leaves_with_much_leaves_a_part_in_a_turn() -> None:
    """Nothing reaches it from the first moment, whatever is left of it in the index."""
    async with Story() as story:
        await story.subscribe()
        hub, groups = story.edge.hub, story.edge.hub._groups
        assert len(groups) == MANY
        hub.leave(story.client)
        left = [len(groups)]
        story.tick(1)
        while len(groups):
            await asyncio.sleep(0)
            left.append(len(groups))
        assert max(before - after for before, after in pairwise(left)) <= SLICE
        assert not story.client.outbox
        assert await story.prices(FIRST) == []
        await eventually(lambda: story.edge.link.held == {})


class Sizes:
    """How much was done at a time, by what it was."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.of: dict[str, list[int]] = {}

    def note(self, owner: type, name: str) -> None:
        """Note how many things each call of a method is about."""
        original, sizes = getattr(owner, name), self.of.setdefault(name, [])

        def noted(self: Any, things: Any) -> Any:
            things = list(things)
            sizes.append(len(things))
            return original(self, things)

        self._patch.setattr(owner, name, noted)


async def test_what_follows_an_answer_is_done_a_part_in_a_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = Sizes(monkeypatch)
    sizes.note(Arrivals, "forget")
    sizes.note(ClientSession, "upstream")
    async with Story() as story:
        await story.ask("subscribe", nothing, symbols=SYMBOLS, mode=2)
        await story.ask("unsubscribe", nothing, symbols=SYMBOLS, mode=2)
        assert not story.client.session.held
    assert sum(sizes.of["forget"]) == sum(sizes.of["upstream"]) == MANY
    assert max(sizes.of["forget"] + sizes.of["upstream"]) <= SLICE


async def test_a_client_that_is_closed_leaves_its_lines_a_part_in_a_turn() -> None:
    async with Story() as story:
        await story.ask("subscribe", nothing, symbols=SYMBOLS, mode=2)
        hub, client = story.edge.hub, story.client
        hub.close_client(client, CloseCode.UNAUTHENTICATED, "key revoked")
        left = [len(hub._groups._held.get(client, ()))]
        story.edge.link.tick("p1", LAST, ltp=100)
        while left[-1]:
            await asyncio.sleep(0)
            left.append(len(hub._groups._held.get(client, ())))
        assert max(before - after for before, after in pairwise([MANY, *left])) <= SLICE
        assert not of_type(story.sender, "market_data")


@pytest.mark.parametrize("action", ["list_subscriptions", "unsubscribe_all", "subscribe"])
async def test_few_long_requests_of_a_user_are_under_way_at_a_time(
    action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    under_way, most = 0, 0

    async def counted(*arguments: Any) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await serve(*arguments)
        under_way -= 1

    async with Story() as story:
        clients = [story.client, *(story.edge.client()[0] for _ in range(9))]
        everything = json.dumps({"action": "subscribe", "symbols": SYMBOLS, "mode": 2})
        for client in clients:
            await serve_frame(story.edge.hub, client, everything)
        monkeypatch.setattr("streaming.gateway.requests.serve", counted)
        text = everything if action == "subscribe" else json.dumps({"action": action})
        await asyncio.gather(*(serve_frame(story.edge.hub, each, text) for each in clients))
    assert (under_way, most) == (0, LONG_AT_ONCE)


def nothing(turn: int, request: asyncio.Task[None]) -> None:
    """Let it be."""


def last_values() -> int:
    """Return how many messages with values there are in this process."""
    return sum(isinstance(it, TickMessage) for it in gc.get_objects())


async def test_the_last_values_of_long_requests_under_way_are_there_once() -> None:
    """Not once for each request, as they were when it asked: 7 MB each for 9,000 symbols."""
    gc.collect()
    others_messages = last_values()  # of whatever ran before in this process, and lasts
    async with Story() as story:
        keys = [InstrumentKey(each["exchange"], each["symbol"]) for each in SYMBOLS]
        for key in keys:
            story.edge.link.remember("p1", key)
        others = [story.edge.client()[0] for _ in range(2)]
        asking: list[asyncio.Task[None]] = []
        most = 0

        def meanwhile(turn: int, _: object) -> None:
            nonlocal most
            if not turn:
                wants = {"action": "subscribe", "symbols": SYMBOLS, "mode": 2}
                asking.extend(asyncio.create_task(story.edge.ask(each, **wants)) for each in others)
            # All have their answers, and none of those has been told.
            if len(story.edge.link.calls) == PARTS * (1 + len(others)) and not story.kinds():
                for key in keys:
                    story.edge.link.tick("p1", key)
                most = max(most, last_values() - others_messages)

        await story.subscribe(meanwhile)
        await asyncio.gather(*asking)
        assert MANY <= most < 1.5 * MANY


async def test_a_price_that_is_told_to_be_old_meanwhile_is_not_shown() -> None:
    """Nor when the feed is live again, as nobody says that it is still the last one."""
    async with Story() as story:
        for key in WATCHED:
            story.edge.link.remember("p1", key)
        told: list[int] = []

        def stop(turn: int, _: object) -> None:
            if not told and len(story.edge.link.calls) == PARTS:
                told.append(turn)
                story.edge.link.go_stale("p1", [FIRST])
                story.edge.link.go_live("p1", [FIRST])

        await story.subscribe(stop)
        assert told
        assert await story.prices(FIRST) == []
        assert len(await story.prices(MIDDLE)) == len(await story.prices(LAST)) == 1
