"""What a client holds, what must be asked upstream, and what it is told."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import msgspec
import pytest

from brokers.pool_service import Outcome, OutcomeState, RefusalCode, Want
from brokers.types import FeedMode, InstrumentKey
from streaming.protocol.held import AccountsChange, Feed, Line
from streaming.protocol.parsing import parse_request
from streaming.protocol.session import ClientSession, SessionState, SubscribeResult
from streaming.protocol.subscribe_plan import Found
from streaming.protocol.vocabulary import Subscribe, Unsubscribe
from streaming.testing.edge import make_away, make_principal

INFY = InstrumentKey("NSE", "INFY")
TCS = InstrumentKey("NSE", "TCS")
LTP, QUOTE, DEPTH = FeedMode


@pytest.fixture
def session() -> ClientSession:
    session = ClientSession(max_instruments=3)
    session.move(SessionState.AUTHENTICATING)
    session.admit(make_principal(1))
    return session


def subscribe_request(*symbols: Any, **fields: Any) -> Subscribe:
    items = [s if isinstance(s, dict) else {"symbol": s, "exchange": "NSE"} for s in symbols]
    request = parse_request(json.dumps({"action": "subscribe", "symbols": items, **fields}))
    assert isinstance(request, Subscribe)
    return request


def unsubscribe_request(symbol: str, **fields: Any) -> Unsubscribe:
    text = json.dumps({"action": "unsubscribe", "symbol": symbol, "exchange": "NSE", **fields})
    request = parse_request(text)
    assert isinstance(request, Unsubscribe)
    return request


def accept(
    session: ClientSession, request: Subscribe, state: OutcomeState = OutcomeState.ACTIVE
) -> SubscribeResult:
    plan = session.plan_subscribe(request)
    outcomes = {
        Feed(pool_id, want.key): Outcome(want.key, state, want.mode)
        for pool_id, wants in plan.wants.items()
        for want in wants
    }
    return session.finish_subscribe(plan, Found(outcomes))


def reply_of(result: Any) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(result.reply)
    return reply


@pytest.mark.parametrize(
    ("state", "target"),
    [
        (SessionState.AWAITING_AUTH, SessionState.READY),
        (SessionState.READY, SessionState.AWAITING_AUTH),
        (SessionState.READY, SessionState.AUTHENTICATING),
        (SessionState.CLOSED, SessionState.READY),
    ],
)
def test_a_session_only_moves_forward(state: SessionState, target: SessionState) -> None:
    session = ClientSession()
    session.state = state
    with pytest.raises(ValueError, match="cannot go"):
        session.move(target)


def test_one_want_per_instrument_at_its_highest_mode(session: ClientSession) -> None:
    items = [{"symbol": "INFY", "exchange": "NSE", "mode": mode} for mode in (1, 3, 2)]
    plan = session.plan_subscribe(subscribe_request(*items))
    assert plan.wants == {"p1": [Want(INFY, DEPTH, 5)]}


def test_names_that_many_clients_hold_are_there_once() -> None:
    held = []
    for user in (1, 2):
        session = ClientSession()
        session.move(SessionState.AUTHENTICATING)
        session.admit(make_principal(user))
        accept(session, subscribe_request("INF" + "Y:20"))
        held += [feed.key for feed in session.held]
    first, second = held
    assert first.symbol is second.symbol
    assert first.exchange is second.exchange


def holding(text: str) -> ClientSession:
    """Return a client that holds what it asks for, in words of its own off the wire."""
    found = ClientSession()
    found.move(SessionState.AUTHENTICATING)
    found.admit(make_principal(1))
    hold(found, text)
    return found


def hold(session: ClientSession, text: str) -> None:
    request = parse_request(text)
    assert isinstance(request, Subscribe)
    accept(session, request)


def test_what_many_clients_hold_alike_is_there_once() -> None:
    """Names, feeds and claims: a user may hold a hundred thousand of them."""
    text = json.dumps({"action": "subscribe", "symbol": "INFYX", "exchange": "NSE", "mode": 2})
    one, other = holding(text), holding(text)
    ((first, held),), ((second, held_too),) = one.held.items(), other.held.items()
    assert first is second
    assert held is held_too


def test_what_one_client_gives_up_another_keeps_though_they_shared_it() -> None:
    text = json.dumps({"action": "subscribe", "symbol": "INFYX", "exchange": "NSE", "mode": 2})
    one, other = holding(text), holding(text)
    hold(one, text.replace("2", "1"))
    assert lines_of(one) == [{Line(QUOTE): 5, Line(LTP): 5}]
    assert lines_of(other) == [{Line(QUOTE): 5}]
    one.unsubscribe(unsubscribe_request("INFYX", mode=2))
    assert lines_of(one) == [{Line(LTP): 5}]
    assert lines_of(other) == [{Line(QUOTE): 5}]
    other.unsubscribe(unsubscribe_request("INFYX"))
    assert lines_of(one) == [{Line(LTP): 5}]
    assert lines_of(other) == []


def lines_of(session: ClientSession) -> list[dict[Line, int]]:
    return [dict(held.lines) for held in session.held.values()]


def test_what_a_client_holds_takes_little_memory() -> None:
    """So that all that a user may hold, 100,000 instruments, fits the process."""
    clients = 20
    names = [{"symbol": f"S{number:05d}", "exchange": "NSE"} for number in range(500)]
    text = json.dumps({"action": "subscribe", "mode": 2, "symbols": names})
    kept = [holding(text)]
    gc.collect()
    tracemalloc.start()
    try:
        kept += [holding(text) for _ in range(clients)]
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / (clients * len(names)) < 60  # bytes: an entry of a table; with its claim, 150
    assert sum(len(each.held) for each in kept) == (clients + 1) * len(names)


def test_what_is_granted_is_kept_once_until_it_is_sent() -> None:
    """As it is sent: beside it the entries of 9,000 symbols would take 2.4 MB."""
    names = [{"symbol": f"S{number:05d}", "exchange": "NSE"} for number in range(500)]
    asked = {"action": "subscribe", "mode": 2, "symbols": names}
    session = holding(json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"}))
    request = parse_request(json.dumps(asked))
    assert isinstance(request, Subscribe)
    plan = session.plan_subscribe(request)
    outcomes = {feed: Outcome(feed.key, OutcomeState.ACTIVE, QUOTE) for feed in plan.feeds}
    gc.collect()
    tracemalloc.start()
    try:
        session.prepare_answers(plan, len(names), Found(outcomes))
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(names) < 550  # bytes; with each entry beside it, 690
    assert (
        len(json.loads(session.finish_subscribe(plan, Found(outcomes)).reply)["subscriptions"])
        == 500
    )


def test_what_is_held_already_counts_in_the_next_want(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY", mode="depth", depth=20))
    plan = session.plan_subscribe(subscribe_request("INFY", mode="ltp"))
    assert plan.wants == {"p1": [Want(INFY, DEPTH, 20)]}


def test_the_answer_has_one_entry_per_item_in_order(session: ClientSession) -> None:
    result = accept(session, subscribe_request("TCS", "INFY", mode="ltp", request_id="r1"))
    reply = reply_of(result)
    assert reply["type"] == "subscribe"
    assert reply["status"] == "success"
    assert reply["request_id"] == "r1"
    assert reply["broker"] == "zerodha"
    assert reply["subscriptions"][0] == {
        "symbol": "TCS",
        "exchange": "NSE",
        "status": "success",
        "mode": 1,
        "depth": 5,
        "broker": "zerodha",
        "pool_id": "p1",
        "state": "active",
    }
    assert reply["subscriptions"][1]["symbol"] == "INFY"
    assert result.joined == [(Feed("p1", TCS), Line(LTP)), (Feed("p1", INFY), Line(LTP))]


def test_a_pending_subscription_is_accepted_and_says_so(session: ClientSession) -> None:
    reply = reply_of(accept(session, subscribe_request("INFY"), OutcomeState.PENDING))
    assert reply["subscriptions"][0]["status"] == "success"
    assert reply["subscriptions"][0]["state"] == "pending"


def test_a_refusal_carries_numbers_and_spoils_nothing_else(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY", "TCS"))
    numbers = {"max_connections": 3, "symbols_per_connection": 3000, "used": 9000}
    full = Outcome(
        TCS,
        OutcomeState.REFUSED,
        QUOTE,
        5,
        RefusalCode.MAX_CAPACITY_REACHED,
        "The pool is full.",
        numbers,
    )
    outcomes = {
        Feed("p1", INFY): Outcome(INFY, OutcomeState.ACTIVE, QUOTE),
        Feed("p1", TCS): full,
    }
    result = session.finish_subscribe(plan, Found(outcomes))
    reply = reply_of(result)
    assert reply["status"] == "partial"
    assert "code" not in reply
    refused = reply["subscriptions"][1]
    assert refused["status"] == "error"
    assert refused["code"] == "MAX_CAPACITY_REACHED"
    assert refused["details"] == numbers
    assert list(session.held) == [Feed("p1", INFY)]
    assert result.unsettled == []


def test_an_unknown_symbol_comes_with_its_nearest_matches(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFI"))
    feed = Feed("p1", InstrumentKey("NSE", "INFI"))
    outcome = Outcome(
        feed.key, OutcomeState.REFUSED, QUOTE, 5, RefusalCode.SYMBOL_NOT_FOUND, "Unknown."
    )
    result = session.finish_subscribe(plan, Found({feed: outcome}, {feed: ["INFY", "INFIBEAM"]}))
    reply = reply_of(result)
    assert reply["status"] == "error"
    assert reply["code"] == "SYMBOL_NOT_FOUND"
    assert reply["subscriptions"][0]["suggestions"] == ["INFY", "INFIBEAM"]
    assert "INFY" in reply["subscriptions"][0]["message"]


def test_an_exchange_that_no_account_trades_says_what_is_traded(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request({"symbol": "X", "exchange": "NYSE"}))
    assert plan.wants == {}
    entry = reply_of(session.finish_subscribe(plan, Found()))["subscriptions"][0]
    assert entry["code"] == "SYMBOL_NOT_FOUND"
    assert "NFO, NSE" in entry["message"]
    assert entry["message"].endswith(" Did you mean NSE?")


def test_depth_levels_that_the_broker_does_not_offer_are_refused(session: ClientSession) -> None:
    request = subscribe_request("INFY", mode="depth", depth=50)
    plan = session.plan_subscribe(request)
    entry = reply_of(session.finish_subscribe(plan, Found()))["subscriptions"][0]
    assert entry["code"] == "UNSUPPORTED_DEPTH_LEVEL"
    assert "5, 20" in entry["message"]


def test_depth_levels_do_not_matter_to_other_modes(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY", mode="quote", depth=50))
    assert plan.wants == {"p1": [Want(INFY, QUOTE, 5)]}


def test_a_suffix_comes_back_and_names_its_own_line(session: ClientSession) -> None:
    result = accept(session, subscribe_request("INFY:20", "INFY", mode="depth"))
    assert [entry["symbol"] for entry in reply_of(result)["subscriptions"]] == ["INFY:20", "INFY"]
    assert result.joined == [
        (Feed("p1", INFY), Line(DEPTH, ":20")),
        (Feed("p1", INFY), Line(DEPTH)),
    ]
    gone = session.unsubscribe(unsubscribe_request("INFY:20"))
    assert gone.lines == [(Feed("p1", INFY), Line(DEPTH, ":20"))]
    assert session.upstream(gone.feeds).wants == {"p1": [Want(INFY, DEPTH, 5)]}


def test_a_client_holds_a_bounded_number_of_instruments(session: ClientSession) -> None:
    accept(session, subscribe_request("A", "B"))
    reply = reply_of(accept(session, subscribe_request("A", "B", "C", "D", "C")))
    states = [entry.get("code", "ok") for entry in reply["subscriptions"]]
    assert states == ["ok", "ok", "ok", "SUBSCRIPTION_LIMIT", "ok"]


def test_a_refused_upgrade_keeps_what_was_held_and_says_it_again(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY", mode="ltp"))
    plan = session.plan_subscribe(subscribe_request("INFY", mode="depth"))
    feed = Feed("p1", INFY)
    refused = Outcome(INFY, OutcomeState.REFUSED, DEPTH, 5, RefusalCode.MAX_CAPACITY_REACHED)
    result = session.finish_subscribe(plan, Found({feed: refused}))
    assert session.held[feed].lines == {Line(LTP): 5}
    assert session.upstream(result.unsettled).wants == {"p1": [Want(INFY, LTP, 5)]}


def test_a_pool_without_an_answer_is_told_to_forget(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY"))
    result = session.finish_subscribe(plan, Found())
    assert reply_of(result)["code"] == "SERVER_ERROR"
    assert session.upstream(result.unsettled).releases == {"p1": [INFY]}


@pytest.mark.parametrize(
    ("fields", "left"),
    [({}, []), ({"mode": 2}, [1, 3]), ({"mode": "Depth"}, [1, 2])],
)
def test_unsubscribe_ends_one_mode_or_all(
    session: ClientSession, fields: dict[str, Any], left: list[int]
) -> None:
    for mode in (1, 2, 3):
        accept(session, subscribe_request("INFY", mode=mode))
    departure = session.unsubscribe(unsubscribe_request("INFY", **fields))
    reply = reply_of(departure)
    assert reply["status"] == "success"
    assert len(reply["successful"]) == 3 - len(left)
    held = session.held.get(Feed("p1", INFY))
    assert sorted(line.mode for line in held.lines) == left if held else left == []
    upstream = session.upstream(departure.feeds)
    if left:
        assert upstream.wants == {"p1": [Want(INFY, FeedMode(max(left)), 5)]}
    else:
        assert upstream.releases == {"p1": [INFY]}


def test_what_is_not_held_is_not_subscribed(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY", mode=1))
    reply = reply_of(session.unsubscribe(unsubscribe_request("INFY", mode=2)))
    assert reply["status"] == "error"
    assert reply["failed"][0]["code"] == "NOT_SUBSCRIBED"
    assert reply["failed"][0]["mode"] == 2
    assert reply["successful"] == []


def test_unsubscribe_all_leaves_nothing(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY", "TCS"))
    departure = session.unsubscribe_all("r")
    assert session.held == {}
    assert len(reply_of(departure)["successful"]) == 2
    assert session.upstream(departure.feeds).releases == {"p1": [INFY, TCS]}
    assert reply_of(session.unsubscribe_all(None))["status"] == "success"


def test_a_late_refusal_ends_only_the_modes_that_it_concerns(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY", mode=1), OutcomeState.PENDING)
    accept(session, subscribe_request("INFY", mode=3), OutcomeState.PENDING)
    refused = Outcome(INFY, OutcomeState.REFUSED, DEPTH, 5, RefusalCode.BROKER_ERROR, "No depth.")
    departure = session.take_outcomes("p1", [refused])
    assert departure is not None
    reply = reply_of(departure)
    assert reply["type"] == "subscribe"
    assert reply["status"] == "error"
    assert reply["subscriptions"][0]["code"] == "BROKER_ERROR"
    assert departure.lines == [(Feed("p1", INFY), Line(DEPTH))]
    assert session.take_outcomes("p1", [refused]) is None


def test_a_late_confirmation_makes_it_active(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"), OutcomeState.PENDING)
    assert not session.held[Feed("p1", INFY)].active
    assert session.take_outcomes("p1", [Outcome(INFY, OutcomeState.ACTIVE, QUOTE)]) is None
    assert session.held[Feed("p1", INFY)].active


def test_a_refusal_during_the_plan_beats_the_acceptance(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY"))
    refused = Outcome(INFY, OutcomeState.REFUSED, QUOTE, 5, RefusalCode.BROKER_ERROR, "No.")
    assert session.take_outcomes("p1", [refused]) is None
    accepted = {Feed("p1", INFY): Outcome(INFY, OutcomeState.PENDING, QUOTE)}
    result = session.finish_subscribe(plan, Found(accepted))
    assert reply_of(result)["status"] == "error"
    assert session.held == {}
    assert result.joined == []


def test_an_outcome_of_another_pool_changes_nothing(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    refused = Outcome(INFY, OutcomeState.REFUSED, LTP, 5, RefusalCode.BROKER_ERROR)
    assert session.take_outcomes("p2", [refused]) is None
    assert Feed("p1", INFY) in session.held


def test_lines_of_a_lost_account_end(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    departure = session.update_principal(make_principal(1, pool_id="other")).ended
    assert departure is not None
    assert reply_of(departure)["code"] == "BROKER_UNAVAILABLE"
    assert session.held == {}
    assert session.upstream(departure.feeds).releases == {"p1": [INFY]}


def test_an_account_lost_during_the_plan_is_not_joined(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY"))
    session.update_principal(make_principal(1, pool_id="other"))
    accepted = {Feed("p1", INFY): Outcome(INFY, OutcomeState.ACTIVE, QUOTE)}
    result = session.finish_subscribe(plan, Found(accepted))
    assert result.joined == []
    assert session.upstream(result.unsettled).releases == {"p1": [INFY]}


def test_lines_of_an_account_that_is_away_are_kept_and_told_why(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    change = session.update_principal(make_away(make_principal(1)))
    assert change.ended is None
    assert change.away is not None
    assert change.away.lines == [(Feed("p1", INFY), Line(QUOTE))]
    (entry,) = reply_of(change.away)["subscriptions"]
    assert (entry["status"], entry["state"]) == ("success", "pending")
    assert (entry["code"], entry["message"]) == ("BROKER_UNAVAILABLE", "It is switched off")
    assert not session.held[Feed("p1", INFY)].active
    assert session.update_principal(make_away(make_principal(1))) == AccountsChange(back=[])
    change = session.update_principal(make_away(make_principal(1), "it cannot be served"))
    assert change.away is not None
    assert "It cannot be served" in change.away.reply


def test_what_a_pool_says_while_its_account_is_away_comes_too_late(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    session.update_principal(make_away(make_principal(1)))
    assert session.take_outcomes("p1", [Outcome(INFY, OutcomeState.ACTIVE, QUOTE)]) is None
    assert not session.held[Feed("p1", INFY)].active


@pytest.mark.parametrize("exchanges", [{"NSE"}, set()], ids=["disabled", "nobody can tell what"])
def test_what_is_asked_for_while_the_account_is_away_is_kept(exchanges: set[str]) -> None:
    session = ClientSession()
    session.move(SessionState.AUTHENTICATING)
    session.admit(make_away(make_principal(1, exchanges=exchanges, depth_levels=())))
    plan = session.plan_subscribe(subscribe_request("INFY"))
    assert plan.wants == {}
    result = session.finish_subscribe(plan, Found())
    (entry,) = reply_of(result)["subscriptions"]
    assert (entry["state"], entry["message"]) == ("pending", "It is switched off")
    assert (result.joined, result.unsettled) == ([], [])
    assert result.away == [Feed("p1", INFY)]
    assert session.held_away() == [Feed("p1", INFY)]
    assert session.unsubscribe(unsubscribe_request("INFY")).lines


def come_back(session: ClientSession, *outcomes: Outcome) -> SubscribeResult:
    feeds = session.update_principal(make_principal(1)).back
    plan = session.plan_return(feeds)
    found = {Feed("p1", outcome.key): outcome for outcome in outcomes}
    return session.finish_subscribe(plan, Found(found))


def test_lines_come_back_with_their_account(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY:20", mode=3))
    accept(session, subscribe_request("INFY", "TCS"))
    session.update_principal(make_away(make_principal(1)))
    feeds = session.update_principal(make_principal(1)).back
    assert feeds == [Feed("p1", INFY), Feed("p1", TCS)]
    plan = session.plan_return(feeds)
    assert plan.wants == {"p1": [Want(INFY, DEPTH, 20), Want(TCS, QUOTE, 5)]}
    outcomes = {
        Feed("p1", INFY): Outcome(INFY, OutcomeState.ACTIVE, DEPTH, 20),
        Feed("p1", TCS): Outcome(TCS, OutcomeState.PENDING, QUOTE),
    }
    result = session.finish_subscribe(plan, Found(outcomes))
    assert result.joined == [
        (Feed("p1", INFY), Line(DEPTH, ":20")),
        (Feed("p1", INFY), Line(QUOTE)),
        (Feed("p1", TCS), Line(QUOTE)),
    ]
    entries = reply_of(result)["subscriptions"]
    assert [(entry["symbol"], entry["state"]) for entry in entries] == [
        ("INFY:20", "active"),
        ("INFY", "active"),
        ("TCS", "pending"),
    ]
    assert entries[2]["message"].startswith("The broker account is there again")
    active = session.take_outcomes("p1", [Outcome(TCS, OutcomeState.ACTIVE, QUOTE)])
    assert active is not None
    assert reply_of(active)["subscriptions"][0]["state"] == "active"


def test_what_is_refused_when_its_account_comes_back_ends(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    session.update_principal(make_away(make_principal(1)))
    refused = Outcome(INFY, OutcomeState.REFUSED, QUOTE, 5, RefusalCode.SYMBOL_NOT_FOUND, "no")
    result = come_back(session, refused)
    assert reply_of(result)["code"] == "SYMBOL_NOT_FOUND"
    assert session.held == {}
    assert session.upstream(result.unsettled).releases == {"p1": [INFY]}


def test_what_was_given_up_while_it_came_back_stays_given_up(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    session.update_principal(make_away(make_principal(1)))
    plan = session.plan_return(session.update_principal(make_principal(1)).back)
    session.unsubscribe(unsubscribe_request("INFY"))
    active = {Feed("p1", INFY): Outcome(INFY, OutcomeState.ACTIVE, QUOTE)}
    result = session.finish_subscribe(plan, Found(active))
    assert (result.reply, result.joined, session.held) == ("", [], {})
    assert session.upstream(result.unsettled).releases == {"p1": [INFY]}


def test_an_account_may_go_and_come_while_the_pools_are_asked(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY"))
    session.update_principal(make_away(make_principal(1)))
    active = {Feed("p1", INFY): Outcome(INFY, OutcomeState.ACTIVE, QUOTE)}
    result = session.finish_subscribe(plan, Found(active))
    assert reply_of(result)["subscriptions"][0]["state"] == "pending"
    assert (result.joined, result.away) == ([], [Feed("p1", INFY)])
    plan = session.plan_subscribe(subscribe_request("TCS"))
    session.update_principal(make_principal(1))
    result = session.finish_subscribe(plan, Found())
    assert result.joined == [(Feed("p1", TCS), Line(QUOTE))]
    assert session.upstream(result.unsettled).wants == {"p1": [Want(TCS, QUOTE, 5)]}


def test_asked_for_again_it_moves_to_another_account(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    away = make_away(make_principal(1)).away
    session.update_principal(msgspec.structs.replace(make_principal(1, pool_id="other"), away=away))
    result = accept(session, subscribe_request("INFY"))
    assert list(session.held) == [Feed("other", INFY)]
    assert session.upstream(result.unsettled).releases == {"p1": [INFY]}


def test_an_account_of_somebody_else_is_lost_and_not_away(session: ClientSession) -> None:
    accept(session, subscribe_request("INFY"))
    change = session.update_principal(make_away(make_principal(1, pool_id="other")))
    assert change.ended is not None
    assert change.away is None


def test_nine_thousand_symbols_in_one_request_are_planned_quickly() -> None:
    session = ClientSession()
    session.move(SessionState.AUTHENTICATING)
    session.admit(make_principal(1))
    request = subscribe_request(*[f"S{number}" for number in range(9000)], mode=3)
    assert len(accept(session, request).joined) == 9000
    assert len(accept(session, request).joined) == 9000


def no_room(key: InstrumentKey) -> Outcome:
    return Outcome(
        key,
        OutcomeState.PENDING,
        QUOTE,
        code=RefusalCode.MAX_CAPACITY_REACHED,
        message="all 2 places are taken",
        details={"capacity": 2},
    )


def test_what_lost_its_place_is_told_once_kept_and_told_when_it_is_back(
    session: ClientSession,
) -> None:
    accept(session, subscribe_request("INFY"))
    told = session.take_outcomes("p1", [no_room(INFY)])
    assert told is not None
    assert told.lines == []
    (entry,) = reply_of(told)["subscriptions"]
    assert (entry["status"], entry["code"]) == ("error", "MAX_CAPACITY_REACHED")
    assert (entry["state"], entry["details"]) == ("pending", {"capacity": 2})
    held = session.held[Feed("p1", INFY)]
    assert (held.active, held.waits) == (False, True)
    assert session.take_outcomes("p1", [no_room(INFY)]) is None

    assert session.take_outcomes("p1", [Outcome(INFY, OutcomeState.PENDING, QUOTE)]) is None
    told = session.take_outcomes("p1", [Outcome(INFY, OutcomeState.ACTIVE, QUOTE)])
    assert told is not None
    (entry,) = reply_of(told)["subscriptions"]
    assert (entry["status"], entry["state"]) == ("success", "active")
    held = session.held[Feed("p1", INFY)]
    assert (held.active, held.waits) == (True, False)
    assert session.take_outcomes("p1", [Outcome(INFY, OutcomeState.ACTIVE, QUOTE)]) is None


def test_what_lost_its_place_while_it_was_asked_for_is_an_error_that_stays(
    session: ClientSession,
) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY"))
    session.take_outcomes("p1", [no_room(INFY)])
    accepted = {Feed("p1", INFY): Outcome(INFY, OutcomeState.PENDING, QUOTE)}
    result = session.finish_subscribe(plan, Found(accepted))
    (entry,) = reply_of(result)["subscriptions"]
    assert (entry["status"], entry["code"]) == ("error", "MAX_CAPACITY_REACHED")
    assert session.held[Feed("p1", INFY)].waits


def test_a_name_that_ends_takes_every_mode_of_it_along(session: ClientSession) -> None:
    """Else the last price of an expired contract would stand for ever."""
    for mode in (1, 3):
        accept(session, subscribe_request("INFY", mode=mode))
    accept(session, subscribe_request("TCS"))
    (pool_id,) = {feed.pool_id for feed in session.held}
    ended = Outcome(
        INFY, OutcomeState.REFUSED, LTP, 5, RefusalCode.SYMBOL_EXPIRED, "NSE:INFY expired"
    )
    departure = session.take_outcomes(pool_id, [ended])
    assert departure is not None
    told = reply_of(departure)["subscriptions"]
    assert [(each["symbol"], each["mode"], each["code"]) for each in told] == [
        ("INFY", 1, "SYMBOL_EXPIRED"),
        ("INFY", 3, "SYMBOL_EXPIRED"),
    ]
    assert [feed.key for feed in session.held] == [TCS]


def delay(message: str, code: RefusalCode | None = RefusalCode.BROKER_ERROR) -> Outcome:
    return Outcome(INFY, OutcomeState.PENDING, QUOTE, 5, code, message)


def test_why_a_subscription_is_not_active_yet_is_told_with_the_answer(
    session: ClientSession,
) -> None:
    """``pending`` has a reason wherever one is known."""
    plan = session.plan_subscribe(subscribe_request("INFY", mode=2))
    (feed,) = plan.feeds
    outcome = delay("the pool is paused", RefusalCode.BROKER_UNAVAILABLE)
    result = session.finish_subscribe(plan, Found({feed: outcome}))
    (entry,) = json.loads(result.reply)["subscriptions"]
    assert (entry["status"], entry["state"]) == ("success", "pending")
    assert (entry["code"], entry["message"]) == ("BROKER_UNAVAILABLE", "The pool is paused")
    assert session.take_outcomes("p1", [outcome]) is None, "it is known"


def test_a_reason_that_comes_later_is_told_once_and_so_is_its_end(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY", mode=2))
    (feed,) = plan.feeds
    session.finish_subscribe(plan, Found({feed: Outcome(INFY, OutcomeState.PENDING, QUOTE)}))
    told = session.take_outcomes("p1", [delay("maintenance")])
    assert told is not None
    (entry,) = json.loads(told.reply)["subscriptions"]
    assert (entry["status"], entry["state"]) == ("success", "pending")
    assert (entry["code"], entry["message"]) == ("BROKER_ERROR", "Maintenance")
    assert not told.lines
    assert session.take_outcomes("p1", [delay("maintenance")]) is None
    active = Outcome(INFY, OutcomeState.ACTIVE, QUOTE)
    told = session.take_outcomes("p1", [active])
    assert told is not None
    (entry,) = json.loads(told.reply)["subscriptions"]
    assert (entry["status"], entry["state"]) == ("success", "active")
    assert session.take_outcomes("p1", [active]) is None


def test_a_name_that_ends_in_a_number_is_no_depth(session: ClientSession) -> None:
    """Exact names win over the suffix: in the want, the answer, the list and the unsubscribe."""
    index = InstrumentKey("NSE", "SIXTY65:35")
    for mode, depth in (("quote", None), ("depth", 20)):
        fields = {} if depth is None else {"depth": depth}
        request = subscribe_request("SIXTY65:35", mode=mode, **fields)
        plan = session.plan_subscribe(request, {index})
        (want,) = plan.wants["p1"]
        assert (want.key, want.depth_levels) == (index, depth or 5)
        outcome = Outcome(want.key, OutcomeState.ACTIVE, want.mode)
        result = session.finish_subscribe(plan, Found({Feed("p1", want.key): outcome}))
        (entry,) = reply_of(result)["subscriptions"]
        assert (entry["status"], entry["symbol"]) == ("success", "SIXTY65:35")
        assert [line.suffix for _, line in result.joined] == [""]
    deeper = session.plan_subscribe(subscribe_request("SIXTY65:35:20", mode="depth"), {index})
    assert [want.key for want in deeper.wants["p1"]] == [index]
    gone = session.unsubscribe(unsubscribe_request("SIXTY65:35", mode="quote"))
    assert gone.lines == [(Feed("p1", index), Line(QUOTE))]
    session.unsubscribe(unsubscribe_request("SIXTY65:35"))
    assert not session.held


def test_a_name_that_nobody_lists_so_has_a_suffix(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY:20", mode="depth"), {TCS})
    assert [(want.key, want.depth_levels) for want in plan.wants["p1"]] == [(INFY, 20)]


def test_what_comes_late_is_kept_under_the_name_that_was_asked_for(session: ClientSession) -> None:
    plan = session.plan_subscribe(subscribe_request("INFY"))
    (feed,) = plan.feeds
    said = Outcome(InstrumentKey("NSE", "INFY"), OutcomeState.ACTIVE, QUOTE)
    session.take_outcomes("p1", [said])
    assert plan.late == {feed: said}
    assert plan.late[feed].key is feed.key
