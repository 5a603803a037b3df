"""The hub with a worker, a directory and clients in memory: who gets what, and in which order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from brokers.pool_service import Outcome, OutcomeState, RefusalCode, SubscriptionChange, Want
from brokers.types import FeedMode, InstrumentKey
from streaming.clients.batches import Cohort
from streaming.clients.client import Client
from streaming.edge_limits import EdgeLimits
from streaming.fanout.hub import GatewayHub
from streaming.gateway.requests import serve, serve_frame
from streaming.ports.directory import Principal
from streaming.protocol.parsing import parse_request
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import CloseCode
from streaming.testing.edge import FakeDirectory, FakeFeedLink, make_away, make_principal
from tests.support import eventually

INFY = InstrumentKey("NSE", "INFY")
TCS = InstrumentKey("NSE", "TCS")
LTP, QUOTE, DEPTH = FeedMode


class RecordingSocket:
    """A transport that keeps what it is given; ``congest`` makes it take nothing more."""

    def __init__(self) -> None:
        self.frames: list[dict[str, Any]] = []
        self.raw: list[str] = []
        self.closed: tuple[int, str] | None = None
        self.aborted: tuple[int, str] | None = None
        self._room = asyncio.Event()
        self._room.set()

    def congest(self) -> None:
        self._room.clear()

    async def send(self, payloads: Sequence[str]) -> None:
        await self._room.wait()
        self.raw.extend(payloads)
        self.frames.extend(json.loads(payload) for payload in payloads)

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    def abort(self, code: int, reason: str) -> None:
        self.aborted = (code, reason)


class Edge:
    """A hub with its fakes, and clients made in one line."""

    def __init__(self, **options: Any) -> None:
        self.link = FakeFeedLink()
        self.directory = FakeDirectory()
        self.limits = EdgeLimits(revalidate_seconds=60, stall_seconds=0.3)
        self.hub = GatewayHub(
            link=self.link, directory=self.directory, limits=self.limits, **options
        )

    def client(
        self, principal: Principal | None = None, cohort: Cohort | None = None
    ) -> tuple[Client, RecordingSocket]:
        sender = RecordingSocket()
        client = Client(
            client_id=self.hub.next_client_id(),
            address="a",
            socket=sender,
            limits=self.limits,
            cohort=cohort,
        )
        client.session.move(SessionState.AUTHENTICATING)
        client.session.admit(principal or make_principal(1))
        self.hub.enter(client)
        return client, sender

    async def ask(self, client: Client, **fields: Any) -> None:
        await serve(self.hub, client, parse_request(json.dumps(fields)))

    async def subscribe(self, client: Client, symbol: str, mode: int, **fields: Any) -> None:
        await self.ask(
            client, action="subscribe", symbol=symbol, exchange="NSE", mode=mode, **fields
        )


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    edge = Edge()
    await edge.hub.open()
    yield edge
    await edge.hub.close()


def of_type(sender: RecordingSocket, kind: str) -> list[dict[str, Any]]:
    return [frame for frame in sender.frames if frame.get("type") == kind]


async def test_answer_then_snapshot_then_ticks(edge: Edge) -> None:
    client, sender = edge.client()
    edge.link.remember("p1", INFY, ltp=100)
    await edge.subscribe(client, "INFY", 1)
    edge.link.tick("p1", INFY, ltp=200)
    await eventually(lambda: len(sender.frames) == 3)
    assert sender.frames[0]["type"] == "subscribe"
    assert [frame["data"]["ltp"] for frame in sender.frames[1:]] == [1.0, 2.0]


async def test_a_tick_between_snapshot_and_join_is_not_lost(edge: Edge) -> None:
    client, sender = edge.client()
    edge.link.remember("p1", INFY, ltp=100)
    edge.link.hold()
    asking = asyncio.create_task(edge.subscribe(client, "INFY", 2))
    await eventually(lambda: edge.link.calls)
    newer = edge.link.message("p1", INFY, ltp=300)
    edge.link.publish([newer])
    edge.link.resume()
    await asking
    await eventually(lambda: len(sender.frames) == 2)
    assert sender.frames[0]["type"] == "subscribe"
    assert sender.frames[1]["data"]["ltp"] == 3.0


async def test_a_snapshot_never_takes_a_reader_back_in_time(edge: Edge) -> None:
    client, sender = edge.client()
    await edge.subscribe(client, "INFY", 2)
    edge.link.remember("p1", INFY, ltp=100)
    edge.link.hold()
    asking = asyncio.create_task(edge.subscribe(client, "INFY", 2))
    await eventually(lambda: len(edge.link.calls) == 2)
    edge.link.publish([edge.link.message("p1", INFY, ltp=300)])
    edge.link.resume()
    await asking
    await eventually(lambda: len(of_type(sender, "subscribe")) == 2)
    prices = [frame["data"]["ltp"] for frame in of_type(sender, "market_data")]
    assert prices
    assert set(prices) == {3.0}


async def test_each_mode_gets_its_own_frame_with_its_own_fields(edge: Edge) -> None:
    client, sender = edge.client()
    for mode in (1, 2, 3):
        await edge.subscribe(client, "INFY", mode)
    edge.link.tick("p1", INFY, DEPTH)
    await eventually(lambda: len(of_type(sender, "market_data")) == 3)
    by_mode = {frame["mode"]: frame["data"] for frame in of_type(sender, "market_data")}
    assert set(by_mode[1]) == {"symbol", "exchange", "ltp", "timestamp", "ltt"}
    assert "volume" in by_mode[2]
    assert "depth" not in by_mode[2]
    assert by_mode[3]["depth"]["buy"]
    assert edge.link.held[("p1", client.id)][INFY] == Want(INFY, DEPTH, 5)


async def test_a_tick_of_a_lower_mode_reaches_only_those_that_it_serves(edge: Edge) -> None:
    client, sender = edge.client()
    await edge.subscribe(client, "INFY", 1)
    await edge.subscribe(client, "INFY", 3)
    edge.link.tick("p1", INFY, LTP)
    await edge.ask(client, action="ping")
    await eventually(lambda: of_type(sender, "pong"))
    assert [frame["mode"] for frame in of_type(sender, "market_data")] == [1]


async def test_the_same_frame_object_serves_every_client(edge: Edge) -> None:
    pairs = [edge.client() for _ in range(3)]
    for client, _ in pairs:
        await edge.subscribe(client, "INFY", 2)
    edge.link.tick("p1", INFY, DEPTH)
    await eventually(lambda: all(len(sender.raw) == 2 for _, sender in pairs))
    assert len({id(sender.raw[1]) for _, sender in pairs}) == 1


async def test_a_suffix_comes_back_in_ticks(edge: Edge) -> None:
    client, sender = edge.client()
    await edge.subscribe(client, "INFY:20", 3)
    edge.link.tick("p1", INFY, DEPTH)
    await eventually(lambda: of_type(sender, "market_data"))
    tick = of_type(sender, "market_data")[0]
    assert (tick["symbol"], tick["data"]["symbol"]) == ("INFY:20", "INFY:20")
    assert edge.link.held[("p1", client.id)][INFY].depth_levels == 20


async def test_an_exact_name_wins_over_the_suffix(edge: Edge) -> None:
    client, sender = edge.client()
    index = InstrumentKey("NSE", "SIXTY65:35")
    edge.directory.exact.add(index)
    await edge.subscribe(client, "SIXTY65:35", 2)
    edge.link.tick("p1", index)
    await eventually(lambda: of_type(sender, "market_data"))
    assert of_type(sender, "market_data")[0]["symbol"] == "SIXTY65:35"
    assert set(edge.link.held[("p1", client.id)]) == {index}


async def test_a_directory_that_fails_takes_a_number_for_a_depth(edge: Edge) -> None:
    client, sender = edge.client()
    edge.directory.failing = True
    await edge.subscribe(client, "INFY:20", 3)
    await eventually(lambda: sender.frames)
    assert sender.frames[0]["status"] == "success"
    assert set(edge.link.held[("p1", client.id)]) == {INFY}


async def test_no_tick_follows_the_answer_to_an_unsubscribe(edge: Edge) -> None:
    client, sender = edge.client()
    await edge.subscribe(client, "INFY", 1)
    await edge.subscribe(client, "INFY", 2)
    await eventually(lambda: len(sender.frames) == 2)
    edge.link.tick("p1", INFY)  # waits in the outbox when the unsubscribe comes
    await edge.ask(client, action="unsubscribe", symbol="INFY", exchange="NSE", mode=2)
    edge.link.tick("p1", INFY)
    await edge.ask(client, action="ping")
    await eventually(lambda: of_type(sender, "pong"))
    kinds = [(frame["type"], frame.get("mode")) for frame in sender.frames]
    answered = kinds.index(("unsubscribe", None))
    assert ("market_data", 2) not in kinds, "what still waited was purged"
    assert ("market_data", 1) in kinds[answered:]
    assert edge.link.held[("p1", client.id)][INFY].mode is LTP


async def test_ticks_of_one_users_pool_never_reach_another_user(edge: Edge) -> None:
    mine, my_sender = edge.client(make_principal(1))
    theirs, their_sender = edge.client(make_principal(2))
    await edge.subscribe(mine, "INFY", 2)
    await edge.subscribe(theirs, "INFY", 2)
    edge.link.tick("p1", INFY)
    await eventually(lambda: of_type(my_sender, "market_data"))
    await edge.ask(theirs, action="ping")
    await eventually(lambda: of_type(their_sender, "pong"))
    assert of_type(their_sender, "market_data") == []


async def test_orders_reach_only_those_who_asked_and_own_the_account(edge: Edge) -> None:
    asked, asked_sender = edge.client(make_principal(1))
    silent, silent_sender = edge.client(make_principal(1))
    other, other_sender = edge.client(make_principal(2))
    for client in (asked, other):
        await edge.ask(client, action="subscribe_orders")
    order = {
        "type": "evil",
        "order_id": "42",
        "tradingsymbol": "INFY",
        "status": "COMPLETE",
        "transaction_type": "BUY",
        "note": None,
    }
    edge.link.order("p1", order)
    await eventually(lambda: of_type(asked_sender, "order_update"))
    update = of_type(asked_sender, "order_update")[0]
    assert update["orderid"] == "42"
    assert update["order_status"] == "complete"
    assert update["action"] == "BUY"
    assert update["broker"] == "zerodha"
    assert "note" not in update
    for client, sender in ((silent, silent_sender), (other, other_sender)):
        await edge.ask(client, action="ping")
        await eventually(lambda sender=sender: of_type(sender, "pong"))
        assert of_type(sender, "order_update") == []
    await edge.ask(asked, action="unsubscribe_orders")
    edge.link.order("p1", order)
    await edge.ask(asked, action="ping")
    await eventually(lambda: of_type(asked_sender, "pong"))
    assert len(of_type(asked_sender, "order_update")) == 1


async def test_a_stale_feed_gives_no_snapshot(edge: Edge) -> None:
    client, sender = edge.client()
    edge.link.remember("p1", INFY)
    edge.link.remember("p1", TCS)
    edge.link.go_stale("p1", [INFY])
    await edge.subscribe(client, "INFY", 2)
    await edge.subscribe(client, "TCS", 2)
    await eventually(lambda: len(sender.frames) == 3)
    assert [frame["symbol"] for frame in of_type(sender, "market_data")] == ["TCS"]
    edge.link.go_stale("p1")
    await edge.subscribe(client, "TCS", 1)
    await edge.ask(client, action="list_subscriptions")
    await eventually(lambda: of_type(sender, "list_subscriptions"))
    assert len(of_type(sender, "market_data")) == 1


async def test_status_goes_to_those_who_asked(edge: Edge) -> None:
    client, sender = edge.client()
    silent, silent_sender = edge.client()
    await edge.subscribe(client, "INFY", 2)
    await edge.ask(client, action="subscribe_status")
    edge.link.go_stale("p1")
    edge.link.go_stale("p1", [INFY, TCS])
    edge.link.go_stale("p2")
    await eventually(lambda: len(of_type(sender, "feed")) == 3)
    now, pool, symbols = of_type(sender, "feed")
    assert now["status"] == "live"
    assert (pool["status"], pool["since"], pool["reason"]) == (
        "stale",
        1_700_000_000_000,
        "no data",
    )
    assert "symbols" not in pool
    assert (symbols["exchange"], symbols["symbols"]) == ("NSE", ["INFY"])
    await edge.ask(silent, action="ping")
    await eventually(lambda: of_type(silent_sender, "pong"))
    assert of_type(silent_sender, "feed") == []


async def test_the_listing_tells_states_and_ages(edge: Edge) -> None:
    client, sender = edge.client()
    edge.link.leave_pending(INFY)
    await edge.subscribe(client, "INFY", 2)
    await edge.subscribe(client, "TCS", 1)
    edge.link.tick("p1", TCS)
    await edge.ask(client, action="list_subscriptions", request_id="r")
    edge.link.confirm("p1", INFY, QUOTE)
    edge.link.go_stale("p1", [TCS])
    await edge.ask(client, action="list_subscriptions")
    await eventually(lambda: len(of_type(sender, "list_subscriptions")) == 2)
    first, second = of_type(sender, "list_subscriptions")
    assert first["request_id"] == "r"
    assert [entry["state"] for entry in first["subscriptions"]] == ["pending", "active"]
    assert "last_tick_age_ms" not in first["subscriptions"][0]
    assert first["subscriptions"][1]["last_tick_age_ms"] >= 0
    assert [entry["state"] for entry in second["subscriptions"]] == ["active", "stale"]


async def test_a_late_refusal_is_told_and_its_reference_given_up(edge: Edge) -> None:
    client, sender = edge.client()
    await edge.subscribe(client, "INFY", 2)
    edge.link.refuse_later("p1", INFY, LTP, RefusalCode.BROKER_ERROR, "The broker said no.")
    edge.link.tick("p1", INFY)
    await eventually(lambda: ("p1", client.id) not in edge.link.held)
    await eventually(lambda: len(sender.frames) == 2)
    assert sender.frames[1]["subscriptions"][0]["code"] == "BROKER_ERROR"
    assert edge.hub.ticks_unwanted == 1


async def test_a_refusal_that_overtakes_the_answer_counts(edge: Edge) -> None:
    client, sender = edge.client()
    edge.link.hold()
    asking = asyncio.create_task(edge.subscribe(client, "INFY", 2))
    await eventually(lambda: edge.link.calls)
    edge.link.refuse_later("p1", INFY, QUOTE, RefusalCode.BROKER_ERROR, "No.")
    edge.link.resume()
    await asking
    await eventually(lambda: sender.frames)
    assert sender.frames[0]["status"] == "error"
    assert client.session.held == {}


async def test_unknown_symbols_get_their_nearest_matches(edge: Edge) -> None:
    client, sender = edge.client()
    edge.directory.suggestions["INFI"] = ["INFY"]
    edge.link.refuse(InstrumentKey("NSE", "INFI"), RefusalCode.SYMBOL_NOT_FOUND, "Unknown.")
    await edge.subscribe(client, "INFI", 2)
    await eventually(lambda: sender.frames)
    assert sender.frames[0]["subscriptions"][0]["suggestions"] == ["INFY"]


async def test_a_broker_without_instruments_is_the_reason(edge: Edge) -> None:
    client, sender = edge.client()
    reason = "No instruments are loaded for Zerodha: run manage.py loadinstruments."
    edge.directory.not_listed["zerodha"] = reason
    edge.link.refuse(InstrumentKey("NSE", "INFI"), RefusalCode.SYMBOL_NOT_FOUND, "Unknown.")
    await edge.subscribe(client, "INFI", 2)
    await eventually(lambda: sender.frames)
    (entry,) = sender.frames[0]["subscriptions"]
    assert (entry["code"], entry["message"]) == ("SYMBOL_NOT_FOUND", reason)
    assert "suggestions" not in entry


async def test_suggestions_that_fail_cost_only_themselves(edge: Edge) -> None:
    client, sender = edge.client()
    edge.directory.fail()
    edge.link.refuse(InstrumentKey("NSE", "INFI"), RefusalCode.SYMBOL_NOT_FOUND, "Unknown.")
    await edge.subscribe(client, "INFI", 2)
    await eventually(lambda: sender.frames)
    assert sender.frames[0]["subscriptions"][0]["code"] == "SYMBOL_NOT_FOUND"


async def test_ticks_wait_for_each_other_only_while_all_clients_take_batches(edge: Edge) -> None:
    batched, _ = edge.client(cohort=edge.hub.batches.cohort(25))
    await edge.subscribe(batched, "INFY", 2)
    assert edge.hub.patience_seconds() == pytest.approx(0.005)
    direct, _ = edge.client()
    assert edge.hub.patience_seconds() == pytest.approx(0.005), "it reads nothing yet"
    await edge.subscribe(direct, "INFY", 2)
    assert edge.hub.patience_seconds() == 0.0
    edge.hub.leave(direct)
    assert edge.hub.patience_seconds() == pytest.approx(0.005)
    edge.hub.leave(batched)
    assert edge.hub.patience_seconds() == 0.0


async def test_ticks_wait_for_each_other_while_a_turn_for_each_fills_the_core() -> None:
    now, cpu = [0.0], [0.0]
    edge = Edge(clock=lambda: now[0], cpu_clock=lambda: cpu[0])
    await edge.hub.open()
    client, _ = edge.client()
    await edge.subscribe(client, "INFY", 2)
    for _ in range(100):
        edge.link.tick("p1", INFY, ltp=200)
        now[0] += 0.001
        cpu[0] += 0.0009
    assert edge.hub.patience_seconds() == pytest.approx(0.002)
    await edge.hub.close()


async def test_a_client_that_leaves_gives_everything_up(edge: Edge) -> None:
    client, _ = edge.client()
    await edge.subscribe(client, "INFY", 2)
    edge.hub.leave(client)
    edge.hub.leave(client)
    await eventually(lambda: edge.link.held == {})
    edge.link.tick("p1", INFY)
    assert edge.hub.ticks_unwanted == 1
    assert edge.hub.clients == set()


async def test_a_client_that_leaves_while_asking_gives_everything_up(edge: Edge) -> None:
    client, _ = edge.client()
    edge.link.hold()
    asking = asyncio.create_task(edge.subscribe(client, "INFY", 2))
    await eventually(lambda: edge.link.calls)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    edge.hub.leave(client)
    await eventually(lambda: ("release", "p1", client.id, None) in edge.link.calls)


async def test_a_revoked_principal_is_closed_and_hears_no_more(edge: Edge) -> None:
    principal = edge.directory.add_key("k", make_principal(1))
    client, sender = edge.client(principal)
    other, _ = edge.client(make_principal(2))
    await edge.subscribe(client, "INFY", 2)
    edge.directory.revoke("k")
    edge.hub.principals_changed([1])
    await eventually(lambda: sender.closed)
    assert sender.closed == (4401, "API key revoked")
    edge.link.tick("p1", INFY)
    await asyncio.sleep(0)
    assert of_type(sender, "market_data") == []
    assert other.session.state is SessionState.READY


async def test_a_directory_that_is_away_ends_nobody(edge: Edge) -> None:
    client, _ = edge.client(edge.directory.add_key("k", make_principal(1)))
    edge.directory.fail()
    edge.hub.principals_changed([1])
    await eventually(lambda: edge.directory.refreshes)
    assert client.session.state is SessionState.READY


async def test_a_lost_account_ends_its_subscriptions(edge: Edge) -> None:
    principal = edge.directory.add_key("k", make_principal(1))
    client, sender = edge.client(principal)
    await edge.subscribe(client, "INFY", 2)
    edge.directory.change(msgspec.structs.replace(principal, accounts=()))
    edge.hub.principals_changed([1])
    await eventually(lambda: edge.link.held == {})
    await eventually(lambda: len(sender.frames) == 2)
    assert sender.frames[1]["code"] == "BROKER_UNAVAILABLE"


async def test_whoever_lost_an_account_hears_why_and_no_price_of_it_afterwards(edge: Edge) -> None:
    principal = edge.directory.add_key("k", make_principal(1))
    client, sender = edge.client(principal)
    await edge.ask(client, action="subscribe_status")
    await edge.subscribe(client, "INFY", 2)
    edge.link.tick("p1", INFY, ltp=100)
    await eventually(lambda: of_type(sender, "market_data"))
    edge.directory.change(msgspec.structs.replace(principal, accounts=()))
    edge.hub.principals_changed([1])
    await eventually(lambda: len(of_type(sender, "feed")) == 2)
    assert feeds_told(sender)[1] == ("closed", "the broker account was removed", None)
    # Its pool closes later: that is somebody else's by now.
    edge.link.go_stale("p1")
    edge.link.tick("p1", INFY, ltp=200)
    await edge.subscribe(client, "INFY", 2)
    await eventually(lambda: len(of_type(sender, "subscribe")) == 3)
    assert of_type(sender, "subscribe")[2]["status"] == "error"
    assert len(of_type(sender, "market_data")) == 1
    assert len(of_type(sender, "feed")) == 2


def feeds_told(sender: RecordingSocket) -> list[tuple[Any, ...]]:
    return [(f["status"], f["reason"], f.get("symbols")) for f in of_type(sender, "feed")]


async def test_a_disabled_account_comes_back_by_itself(edge: Edge) -> None:
    principal = edge.directory.add_key("k", make_principal(1))
    client, sender = edge.client(principal)
    await edge.ask(client, action="subscribe_status")
    await edge.subscribe(client, "INFY", 2)
    edge.directory.change(make_away(principal))
    edge.hub.principals_changed([1])
    await eventually(lambda: len(of_type(sender, "subscribe")) == 2)
    edge.link.tick("p1", INFY, ltp=100)
    edge.link.go_stale("p1")
    await edge.subscribe(client, "TCS", 2)
    await edge.ask(client, action="list_subscriptions")
    await eventually(lambda: of_type(sender, "list_subscriptions"))
    listed = of_type(sender, "list_subscriptions")[0]["subscriptions"]
    assert [(line["state"], line["reason"]) for line in listed] == [
        ("stale", "It is switched off")
    ] * 2
    assert of_type(sender, "market_data") == []
    assert feeds_told(sender)[1:] == [
        ("stale", "it is switched off", ["INFY"]),
        ("stale", "it is switched off", ["TCS"]),
    ]
    edge.link.go_live("p1")
    edge.directory.change(principal)
    edge.hub.principals_changed([1])
    await eventually(lambda: len(of_type(sender, "subscribe")) == 4)
    edge.link.tick("p1", INFY, ltp=300)
    await eventually(lambda: len(of_type(sender, "market_data")) == 2)
    prices = [frame["data"]["ltp"] for frame in of_type(sender, "market_data")]
    assert prices == [1.0, 3.0]  # the pool vouches for its last value
    back = of_type(sender, "subscribe")[3]["subscriptions"]
    assert [(entry["symbol"], entry["state"]) for entry in back] == [
        ("INFY", "active"),
        ("TCS", "active"),
    ]
    assert feeds_told(sender)[3:] == [("live", "", None)]
    assert set(edge.link.held["p1", client.id]) == {INFY, TCS}


async def test_what_is_not_live_when_its_account_comes_back_is_told_by_name(edge: Edge) -> None:
    principal = edge.directory.add_key("k", make_principal(1))
    client, sender = edge.client(make_away(principal))
    edge.link.remember("p1", INFY, ltp=100)
    await edge.subscribe(client, "INFY", 2)
    await edge.ask(client, action="subscribe_status")
    await eventually(lambda: feeds_told(sender) == [("stale", "it is switched off", ["INFY"])])
    edge.link.go_stale("p1", (INFY,))
    edge.directory.change(principal)
    edge.hub.principals_changed([1])
    await eventually(lambda: len(of_type(sender, "subscribe")) == 2)
    assert feeds_told(sender)[1:] == [
        ("live", "", None),
        ("stale", "waiting for the first price", ["INFY"]),
    ]
    assert of_type(sender, "market_data") == []


async def test_a_client_that_takes_nothing_is_aborted_and_others_are_not(edge: Edge) -> None:
    slow, slow_sender = edge.client()
    healthy, healthy_sender = edge.client()
    for client in (slow, healthy):
        await edge.subscribe(client, "INFY", 2)
    await eventually(lambda: len(slow_sender.frames) == 1)
    slow_sender.congest()
    sent = 0

    def tick_until_aborted() -> bool:
        nonlocal sent
        edge.link.tick("p1", INFY)
        sent += 1
        return slow_sender.aborted is not None

    await eventually(tick_until_aborted)
    assert slow_sender.aborted == (4408, "too slow")
    assert edge.hub.slow_clients_closed == 1
    await eventually(lambda: len(of_type(healthy_sender, "market_data")) == sent)


async def test_closing_the_hub_closes_the_link_once(edge: Edge) -> None:
    await edge.hub.close()
    await edge.hub.close()
    assert edge.link.closed


class Clocks:
    """The hub's two clocks; ``move`` lets time pass."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.began_ms = time.time_ns() // 1_000_000

    def move(self, seconds: float) -> None:
        self.seconds += seconds

    def wall_ms(self) -> int:
        return self.began_ms + round((self.seconds - 1000.0) * 1000)


@asynccontextmanager
async def edge_in_time() -> AsyncIterator[tuple[Edge, Clocks]]:
    clocks = Clocks()
    edge = Edge(clock=lambda: clocks.seconds, wall_clock_ms=clocks.wall_ms)
    await edge.hub.open()
    try:
        yield edge, clocks
    finally:
        await edge.hub.close()


async def listed(edge: Edge, client: Client, sender: RecordingSocket) -> list[dict[str, Any]]:
    before = len(of_type(sender, "list_subscriptions"))
    await edge.ask(client, action="list_subscriptions")
    await eventually(lambda: len(of_type(sender, "list_subscriptions")) > before)
    entries: list[dict[str, Any]] = of_type(sender, "list_subscriptions")[-1]["subscriptions"]
    return entries


async def test_a_line_that_falls_silent_beside_others_says_since_when() -> None:
    async with edge_in_time() as (edge, clocks):
        client, sender = edge.client()
        await edge.subscribe(client, "INFY", 2)
        await edge.subscribe(client, "TCS", 1)
        for second in range(75):
            if second < 45:
                edge.link.tick("p1", INFY)
                fell_silent_ms = clocks.wall_ms()
            edge.link.tick("p1", TCS)
            clocks.move(1)
            if second % 5 == 4:
                edge.hub.lines.look()
        infy, tcs = await listed(edge, client, sender)
        assert infy["quiet_since"] == pytest.approx(fell_silent_ms, abs=2)
        assert infy["reason"] == "no tick for 25 s, though it ticked often before"
        assert infy["last_tick_age_ms"] == 31_000
        assert infy["state"] == "active", "its link lives and the broker carries it"
        assert {"quiet_since", "reason"}.isdisjoint(tcs)


async def test_an_acknowledgement_alone_keeps_no_line_active() -> None:
    async with edge_in_time() as (edge, clocks):
        client, sender = edge.client()
        await edge.subscribe(client, "INFY", 2)
        subscribed_ms = clocks.wall_ms()
        clocks.move(24)
        (entry,) = await listed(edge, client, sender)
        assert entry["state"] == "active"
        clocks.move(2)
        (entry,) = await listed(edge, client, sender)
        assert entry["state"] == "pending"
        assert entry["reason"] == "subscribed, no price yet"
        assert entry["quiet_since"] == pytest.approx(subscribed_ms, abs=2)
        edge.link.tick("p1", INFY)
        (entry,) = await listed(edge, client, sender)
        assert entry["state"] == "active"
        assert {"quiet_since", "reason"}.isdisjoint(entry)


async def test_a_newcomer_is_told_how_old_the_value_is_that_it_begins_with() -> None:
    async with edge_in_time() as (edge, _):
        client, sender = edge.client()
        edge.link.remember("p1", INFY, age_seconds=3600)
        edge.link.remember("p1", TCS, age_seconds=20)
        await edge.subscribe(client, "INFY", 2)
        await edge.subscribe(client, "TCS", 2)
        await eventually(lambda: len(of_type(sender, "subscribe")) == 2)
        infy, tcs = (reply["subscriptions"][0] for reply in of_type(sender, "subscribe"))
        assert infy["last_tick_age_ms"] == pytest.approx(3_600_000, abs=10_000)
        assert "last_tick_age_ms" not in tcs
        infy, tcs = await listed(edge, client, sender)
        assert infy["last_tick_age_ms"] == pytest.approx(3_600_000, abs=10_000)
        assert infy["reason"] == "no tick for 60 s"
        assert tcs["last_tick_age_ms"] == pytest.approx(20_000, abs=10_000)


async def test_a_value_that_was_fetched_late_is_as_old_as_it_is() -> None:
    async with edge_in_time() as (edge, _):
        client, sender = edge.client()
        await edge.subscribe(client, "INFY", 2)
        message = edge.link.message("p1", INFY)
        old_us = message.ts_received_us - 3_600_000_000
        edge.hub.on_values([message._replace(ts_received_us=old_us)])
        (entry,) = await listed(edge, client, sender)
        assert entry["last_tick_age_ms"] == pytest.approx(3_600_000, abs=10_000)


async def test_what_waits_for_room_stays_held_and_is_listed_as_pending(edge: Edge) -> None:
    """Lowered limits end nothing: the client is told, keeps it, and has it again later."""
    client, sender = edge.client()
    await edge.subscribe(client, "INFY", 2)
    code = RefusalCode.MAX_CAPACITY_REACHED
    waits = Outcome(INFY, OutcomeState.PENDING, QUOTE, 5, code, "no room")
    edge.link.go_stale("p1", [INFY])
    edge.link.emit(SubscriptionChange("p1", [waits]))
    await edge.ask(client, action="list_subscriptions")
    await eventually(lambda: of_type(sender, "list_subscriptions"))
    (listed,) = of_type(sender, "list_subscriptions")[0]["subscriptions"]
    assert listed["state"] == "waiting for room"
    entries = [e for reply in of_type(sender, "subscribe") for e in reply["subscriptions"]]
    assert [e.get("code") for e in entries] == [None, "MAX_CAPACITY_REACHED"]
    edge.link.go_live("p1", [INFY])
    edge.link.confirm("p1", INFY, QUOTE)
    edge.link.tick("p1", INFY)
    await eventually(lambda: of_type(sender, "market_data"))


async def test_no_further_request_is_served_while_answers_wait(edge: Edge) -> None:
    """A client that asks on without reading has no more than one answer too many waiting."""
    edge.limits = EdgeLimits(max_unsent_bytes=1, stall_seconds=30)
    client, sender = edge.client()
    other, _ = edge.client(make_principal(2))
    sender.congest()

    async def ask_on(client: Client) -> None:
        for number in range(50):
            await serve_frame(edge.hub, client, f'{{"action":"ping","_pingId":{number}}}')

    asking = asyncio.create_task(ask_on(client))
    await eventually(lambda: not client.outbox.has_room())
    await ask_on(other)  # whoever reads is served meanwhile
    assert not asking.done()
    assert client.outbox.control_frames == 1
    sender._room.set()
    await asking
    await eventually(lambda: len(of_type(sender, "pong")) == 50)
    assert not client.outbox.overflowed


@pytest.mark.parametrize("how", ["closed", "aborted", "gone"])
async def test_who_waits_for_room_goes_on_when_the_client_ends(edge: Edge, how: str) -> None:
    edge.limits = EdgeLimits(max_unsent_bytes=1, stall_seconds=30)
    client, sender = edge.client()
    sender.congest()
    client.send("first")
    await eventually(lambda: not client.outbox)
    client.send("second")
    waiting = asyncio.create_task(client.wait_for_room())
    await asyncio.sleep(0)
    assert not waiting.done()
    if how == "closed":
        edge.hub.close_client(client, CloseCode.RATE_LIMITED, "closed")
    elif how == "aborted":
        edge.hub.abort_slow(client)
    else:
        edge.hub.leave(client)
    await asyncio.wait_for(waiting, 10)
