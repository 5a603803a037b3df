"""Binance's requests, limits and pings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.binance.session import MAX_STREAMS, Answer, Pings, RequestRate, StreamSession

KNOWN = {"btcusdt@bookTicker", "btcusdt@aggTrade"}


def ask(session: StreamSession, method: str, params: Any = None, id: Any = 1) -> Answer:
    request = {"method": method, "id": id} | ({} if params is None else {"params": params})
    return session.handle(json.dumps(request))


@pytest.fixture
def session() -> StreamSession:
    return StreamSession(known=KNOWN, combined=True)


def test_subscribe_list_and_unsubscribe_answer_as_documented(session: StreamSession):
    names = sorted(KNOWN)
    assert ask(session, "SUBSCRIBE", names).reply == b'{"result":null,"id":1}'
    assert json.loads(ask(session, "LIST_SUBSCRIPTIONS", id=3).reply) == {"result": names, "id": 3}
    assert ask(session, "UNSUBSCRIBE", names[:1], "a7").reply == b'{"result":null,"id":"a7"}'
    assert list(filter(session.__contains__, names)) == names[1:]


def test_properties_can_be_read_and_set(session: StreamSession):
    assert ask(session, "GET_PROPERTY", ["combined"]).reply == b'{"result":true,"id":1}'
    assert ask(session, "SET_PROPERTY", ["combined", False]).reply == b'{"result":null,"id":1}'
    assert session.combined is False


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("SET_PROPERTY", ["colour", True], 0),
        ("SET_PROPERTY", ["combined", 1], 1),
        ("SET_PROPERTY", ["combined"], 2),
        ("GET_PROPERTY", [], 2),
        ("SUBSCRIBE", [], 2),
        ("SUBSCRIBE", [7], 2),
        ("SUBSCRIBE", None, 2),
        ("SUBSCRIBE", "btcusdt@trade", 2),
        ("DANCE", [], 2),
    ],
)
def test_bad_requests_get_the_documented_code(session: StreamSession, method, params, code):
    answer = ask(session, method, params)
    assert json.loads(answer.reply)["code"] == code
    assert answer.malformed == 1
    assert len(session) == 0


@pytest.mark.parametrize("id", [2**63, "x" * 37, "a b", 1.5, [1]])
def test_bad_ids_are_refused(session: StreamSession, id: Any):
    assert json.loads(ask(session, "SUBSCRIBE", ["btcusdt@trade"], id).reply)["code"] == 2
    assert len(session) == 0


@pytest.mark.parametrize(
    "message", ["", "{", b"\xff", '{"x":' + "[" * 100_000], ids=["0", "{", "ff", "deep"]
)
def test_what_is_no_json_gets_code_3(session: StreamSession, message: str | bytes):
    assert json.loads(session.handle(message).reply)["code"] == 3


@given(st.binary(max_size=60))
def test_any_bytes_get_an_answer(message: bytes):
    session = StreamSession(known=KNOWN, combined=True)
    assert json.loads(session.handle(message).reply)["code"] in (2, 3)


def test_the_limit_of_streams_refuses_the_whole_request(session: StreamSession):
    ask(session, "SUBSCRIBE", [f"s{number}@trade" for number in range(MAX_STREAMS)])
    answer = ask(session, "SUBSCRIBE", ["one@trade", "more@trade"], 19)
    assert json.loads(answer.reply) == {
        "error": {"code": 4, "msg": "Too many subscriptions"},
        "id": 19,
    }
    assert (answer.over_limit, len(session)) == (2, MAX_STREAMS)


def test_manners_are_counted(session: StreamSession):
    first = ask(session, "SUBSCRIBE", ["btcusdt@aggTrade", "btcusdt@aggTrade", "nobody@trade"])
    assert (first.duplicates, first.unknown, first.subscribed) == (1, 1, True)
    again = ask(session, "SUBSCRIBE", ["btcusdt@aggTrade"])
    assert (again.duplicates, again.subscribed) == (1, False)
    assert ask(session, "UNSUBSCRIBE", ["stranger@trade"]).not_subscribed == 1


def test_five_messages_in_any_second_are_allowed():
    rate = RequestRate()
    assert all(rate.allows(0.5 + 0.1 * number) for number in range(5))
    assert not rate.allows(1.49)
    assert RequestRate().allows(0)


def test_the_window_slides():
    rate = RequestRate()
    assert all(rate.allows(number * 0.21) for number in range(100))


def test_a_pong_must_copy_a_ping_to_count():
    pings = Pings(interval_seconds=20, timeout_seconds=60, now=0)
    assert not pings.is_due(19.9)
    assert pings.is_due(20)
    pings.sent(b"20", 20)
    assert not pings.is_due(39)
    pings.sent(b"40", 40)
    pings.answered(b"")
    assert pings.is_overdue(80.1)
    pings.answered(b"20")
    assert not pings.is_overdue(99)
    assert pings.is_overdue(100.1)


def test_a_pong_answers_the_pings_before_it():
    pings = Pings(interval_seconds=1, timeout_seconds=5, now=0)
    pings.sent(b"1", 1)
    pings.sent(b"2", 2)
    pings.answered(b"2")
    assert not pings.is_overdue(1_000)
