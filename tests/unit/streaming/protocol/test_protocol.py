"""Frames in, typed requests out: every request, every refusal."""

from __future__ import annotations

import json
import sys
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import FeedMode
from streaming.protocol.parsing import (
    MAX_ITEMS,
    parse_mode,
    parse_request,
    parse_steps,
    split_suffix,
)
from streaming.protocol.vocabulary import (
    Authenticate,
    ErrorCode,
    GetBrokerInfo,
    GetSupportedBrokers,
    InvalidItem,
    ListSubscriptions,
    Ping,
    Pong,
    ProtocolError,
    Subscribe,
    SubscribeItem,
    SwitchOrders,
    SwitchStatus,
    Unsubscribe,
    UnsubscribeAll,
    UnsubscribeItem,
)
from streaming.slices import SLICE


def parse(**fields: Any) -> Any:
    return parse_request(json.dumps(fields))


def refusal(text: str) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        parse_request(text)
    return caught.value


@pytest.mark.parametrize("name", ["action", "type"])
@pytest.mark.parametrize("action", ["authenticate", "auth"])
@pytest.mark.parametrize("field", ["api_key", "apikey"])
def test_authenticate_has_two_names_for_everything(name: str, action: str, field: str) -> None:
    assert parse(**{name: action, field: "k"}) == Authenticate(api_key="k")


@pytest.mark.parametrize("key", [None, "", 1, [], "x" * 257])
def test_an_impossible_key_is_a_wrong_key(key: object) -> None:
    assert parse(action="authenticate", api_key=key).api_key == ""


def test_a_key_is_never_shown() -> None:
    assert "secret" not in repr(Authenticate(api_key="secret"))


@pytest.mark.parametrize("field", ["symbols", "instruments"])
def test_subscribe_takes_a_list_with_a_mode_each(field: str) -> None:
    request = parse(
        action="subscribe",
        mode=1,
        **{
            field: [
                {"symbol": "INFY", "exchange": "NSE"},
                {"symbol": "TCS", "exchange": "NSE", "mode": " depth "},
            ]
        },
    )
    assert request == Subscribe(
        items=[
            SubscribeItem("INFY", "NSE", FeedMode.LTP, 5),
            SubscribeItem("TCS", "NSE", FeedMode.DEPTH, 5),
        ]
    )


@pytest.mark.parametrize("field", ["depth", "depth_level"])
def test_subscribe_takes_a_single_symbol(field: str) -> None:
    request = parse(action="subscribe", symbol="INFY", exchange="NSE", mode="DEPTH", **{field: 20})
    assert request.items == [SubscribeItem("INFY", "NSE", FeedMode.DEPTH, 20)]


def test_subscribe_defaults_to_quote_with_five_levels() -> None:
    request = parse(type="subscribe", symbol="INFY", exchange="NSE")
    assert request.items == [SubscribeItem("INFY", "NSE", FeedMode.QUOTE, 5)]


def test_a_depth_suffix_counts_more_than_the_depth_field() -> None:
    request = parse(action="subscribe", symbol="RELIANCE:20", exchange="NSE", mode=3, depth=5)
    assert request.items == [SubscribeItem("RELIANCE:20", "NSE", FeedMode.DEPTH, 20)]


def test_what_is_asked_beside_a_suffix_counts_where_it_is_none() -> None:
    def own(**fields: object) -> tuple[int, int | None]:
        text = {"action": "subscribe", "symbol": "A:20", "exchange": "NSE", "mode": 3, **fields}
        request = parse_request(json.dumps(text))
        assert isinstance(request, Subscribe)
        (item,) = request.items
        assert isinstance(item, SubscribeItem)
        return item.depth_levels, item.own_depth_levels

    assert own() == (20, None)
    assert own(depth=50) == (20, 50)


@pytest.mark.parametrize(
    ("symbol", "expected"),
    [
        ("RELIANCE:20", ("RELIANCE", 20)),
        ("RELIANCE", ("RELIANCE", None)),
        (":20", (":20", None)),
        ("A:B", ("A:B", None)),
        ("A:1234", ("A:1234", None)),
        ("A:²", ("A:²", None)),
        ("A:", ("A:", None)),
    ],
)
def test_only_a_number_after_the_colon_is_a_depth_suffix(
    symbol: str, expected: tuple[str, int | None]
) -> None:
    assert split_suffix(symbol) == expected


@pytest.mark.parametrize(
    ("value", "mode"),
    [(1, 1), (2, 2), (3, 3), ("LTP", 1), ("Quote", 2), (" dEpTh\t", 3), ("quote", 2)],
)
def test_modes_are_numbers_or_names(value: object, mode: int) -> None:
    assert parse_mode(value) == mode


@pytest.mark.parametrize(
    "value", [0, 4, -1, "", "1", "full", True, False, 1.0, 2.0, None, [], [1], {}, 10**30]
)
def test_everything_else_is_an_invalid_mode(value: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        parse_mode(value)
    assert caught.value.code is ErrorCode.INVALID_MODE


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_a_null_mode_is_not_a_missing_one(action: str) -> None:
    error = refusal(f'{{"action":"{action}","symbol":"A","exchange":"NSE","mode":null}}')
    assert error.code is ErrorCode.INVALID_MODE


def test_one_bad_item_does_not_spoil_the_others() -> None:
    items = parse(
        action="subscribe",
        symbols=[
            {"symbol": "INFY", "exchange": "NSE"},
            {"symbol": "TCS", "exchange": "NSE", "mode": 4},
            {"symbol": 5, "exchange": "NSE"},
            "TCS",
            {"symbol": "X" * 65, "exchange": "NSE"},
            {"symbol": "ITC", "exchange": "E" * 21},
            {"symbol": "A\u0000B", "exchange": "NSE"},
            {"symbol": "ITC", "exchange": "NSE", "depth": "5"},
        ],
    ).items
    assert isinstance(items[0], SubscribeItem)
    assert [item.code for item in items[1:] if isinstance(item, InvalidItem)] == [
        ErrorCode.INVALID_MODE,
        *[ErrorCode.INVALID_PARAMETERS] * 6,
    ]
    assert items[1].symbol == "TCS"


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"symbol": "INFY"}, "'exchange' is missing; e.g. NSE."),
        ({"symbol": "INFY", "exchange": None}, "'exchange' is missing; e.g. NSE."),
        ({"symbol": "INFY", "exchange": " "}, "'exchange' is missing; e.g. NSE."),
        ({"exchange": "NSE"}, "'symbol' is missing; e.g. RELIANCE."),
        ({"symbol": "", "exchange": "NSE"}, "'symbol' is missing; e.g. RELIANCE."),
        ({"symbol": "INFY", "exchange": 5}, "'exchange' is text of 1 to 20 bytes, printable."),
    ],
)
def test_what_is_missing_is_told_as_missing(
    action: str, item: dict[str, object], words: str
) -> None:
    for fields in ({"symbols": [item]}, item if "symbol" in item else {"symbols": [item]}):
        (found,) = parse(action=action, **fields).items
        assert isinstance(found, InvalidItem)
        assert found.message == words


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_what_anybody_names_is_not_kept(action: str) -> None:
    """Who is asking is not known yet, and early versions of Python 3.12 never free such a name."""
    fields = {"action": action, "symbol": "NEVER-SEEN-1", "exchange": "NOWHERE-1"}
    (item,) = parse_request(json.dumps(fields)).items  # type: ignore[union-attr]
    assert sys.intern("NEVER-SEEN-" + str(1)) is not item.symbol
    assert sys.intern("NOWHERE-" + str(1)) is not item.exchange


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_an_exchange_is_taken_in_lower_case(action: str) -> None:
    (item,) = parse(action=action, symbols=[{"symbol": "INFY", "exchange": " nse_index "}]).items
    assert (item.symbol, item.exchange) == ("INFY", "NSE_INDEX")


def test_a_symbol_is_bounded_in_bytes() -> None:
    items = parse(action="subscribe", symbols=[{"symbol": "é" * 33, "exchange": "NSE"}]).items
    assert isinstance(items[0], InvalidItem)


def test_unsubscribe_takes_the_items_mode_then_the_requests_then_all() -> None:
    request = parse(
        action="unsubscribe", mode=2, symbols=[{"symbol": "A", "exchange": "N", "mode": 1}]
    )
    assert request == Unsubscribe(items=[UnsubscribeItem("A", "N", FeedMode.LTP)])
    request = parse(action="unsubscribe", mode=2, symbol="A", exchange="N")
    assert request.items == [UnsubscribeItem("A", "N", FeedMode.QUOTE)]
    request = parse(action="unsubscribe", symbol="A", exchange="N")
    assert request.items == [UnsubscribeItem("A", "N", None)]


@pytest.mark.parametrize(
    ("action", "request_type"),
    [
        ("unsubscribe_all", UnsubscribeAll),
        ("get_broker_info", GetBrokerInfo),
        ("get_supported_brokers", GetSupportedBrokers),
        ("list_subscriptions", ListSubscriptions),
        ("pong", Pong),
    ],
)
def test_requests_without_fields(action: str, request_type: type) -> None:
    assert parse(action=action, request_id="r") == request_type(request_id="r")


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("subscribe_orders", SwitchOrders(action="subscribe_orders", enabled=True)),
        ("unsubscribe_orders", SwitchOrders(action="unsubscribe_orders", enabled=False)),
        ("subscribe_status", SwitchStatus(action="subscribe_status", enabled=True)),
        ("unsubscribe_status", SwitchStatus(action="unsubscribe_status", enabled=False)),
    ],
)
def test_switches(action: str, expected: object) -> None:
    assert parse(action=action) == expected


def test_ping_keeps_what_comes_back() -> None:
    assert parse(action="ping", timestamp=17.5, _pingId="p") == Ping(timestamp=17.5, ping_id="p")
    assert parse(action="ping", timestamp=[1], _pingId="x" * 129) == Ping()


@pytest.mark.parametrize(("text", "expected"), [("ping", Ping()), (" pong\n", Pong())])
def test_bare_words_are_tolerated(text: str, expected: object) -> None:
    assert parse_request(text) == expected


@pytest.mark.parametrize("action", ["subscribe", "unsubscribe"])
def test_a_long_request_is_parsed_in_steps_to_the_same_end(action: str) -> None:
    items = [{"symbol": f"S{n}", "exchange": "NSE"} for n in range(2 * SLICE + 7)]
    items[SLICE] = {"symbol": "", "exchange": "NSE"}  # one that is wrong, in the second step
    text = json.dumps({"action": action, "symbols": items, "request_id": "a"})
    steps, counts = parse_steps(text), []
    while True:
        try:
            counts.append(next(steps))
        except StopIteration as done:
            request = done.value
            break
    assert counts == [SLICE, 7]
    assert request == parse_request(text)
    assert [each.symbol for each in request.items] == [each["symbol"] for each in items]
    with pytest.raises(StopIteration):
        next(parse_steps('{"action":"ping"}'))


@pytest.mark.parametrize("junk", ["[", "{"])
def test_a_frame_full_of_brackets_is_not_built(junk: str) -> None:
    """A mebibyte of them would hold everybody up for a tenth of a second."""
    closed = {"[": "[]", "{": "{}"}[junk]
    frame = '{"action":"ping","x":[' + ",".join([closed] * 30_000) + "]}"
    error = refusal(frame)
    assert error.code is ErrorCode.INVALID_JSON
    assert "instruments" in error.message


def test_as_many_symbols_as_one_request_names_may_each_carry_an_object_of_their_own() -> None:
    items = [{"symbol": f"S{n}", "exchange": "NSE", "x": {"y": 1}} for n in range(MAX_ITEMS)]
    request = parse_request(json.dumps({"action": "subscribe", "symbols": items}))
    assert isinstance(request, Subscribe)
    assert len(request.items) == MAX_ITEMS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        '"text"',
        "1",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"action":"subscribe","symbols":' + "[" * 100_000,
        '{"request_id":' + "9" * 50_000 + "}",
        '{"action":"ping","timestamp":1e999}',
        '{"action":"\ud800"}',
        '{"action":"\\ud800"}',
    ],
)
def test_what_is_no_json_object_is_invalid_json(text: str) -> None:
    error = refusal(text)
    assert error.code is ErrorCode.INVALID_JSON
    assert "Error" not in error.message


@pytest.mark.parametrize("action", [None, 5, "", "fly", ["ping"], "x" * 10_000])
def test_an_unknown_action_is_named_in_a_bounded_message(action: object) -> None:
    error = refusal(json.dumps({"action": action, "request_id": 7}))
    assert error.code is ErrorCode.INVALID_ACTION
    assert len(error.message) < 400
    assert error.request_id == 7


@pytest.mark.parametrize("symbols", [[], {}, "INFY", 5, None])
def test_a_request_without_instruments_is_refused(symbols: object) -> None:
    error = refusal(json.dumps({"action": "subscribe", "symbols": symbols}))
    assert error.code is ErrorCode.INVALID_PARAMETERS


def test_a_request_has_a_bounded_number_of_instruments() -> None:
    item = {"symbol": "A", "exchange": "N"}
    assert len(parse(action="subscribe", symbols=[item] * 10_000).items) == 10_000
    error = refusal(json.dumps({"action": "subscribe", "symbols": [item] * 10_001}))
    assert error.code is ErrorCode.INVALID_PARAMETERS


@pytest.mark.parametrize("request_id", ["x" * 129, 1.5, [1], {}, True])
def test_a_request_id_is_short_text_or_an_integer(request_id: object) -> None:
    error = refusal(json.dumps({"action": "ping", "request_id": request_id}))
    assert error.code is ErrorCode.INVALID_PARAMETERS
    assert error.request_id is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["symbol", "exchange", "mode", "depth", "symbols", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["symbols", "symbol", "exchange", "mode", "depth", "request_id", "_pingId"]
        ),
        json_values,
    ),
    st.sampled_from(["subscribe", "unsubscribe", "ping", "authenticate", "unsubscribe_all"]),
)
def test_any_fields_give_a_request_or_a_coded_refusal(fields: dict[str, Any], action: str) -> None:
    text = json.dumps({**fields, "action": action})
    try:
        request = parse_request(text)
    except ProtocolError as error:
        msgspec.json.encode([error.code, error.message, error.request_id])
    else:
        msgspec.json.encode(request)


def test_a_long_request_takes_little_memory_once_it_is_parsed() -> None:
    """What it was made of is let go of on the way, and an exchange is there once."""
    names = [{"symbol": f"S{number:05d}", "exchange": "NSE"} for number in range(9000)]
    text = json.dumps({"action": "subscribe", "mode": 2, "symbols": names})
    parse_request(text)
    tracemalloc.start()
    try:
        request = parse_request(text)
        taken, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(request, Subscribe)
    assert request.items[0].exchange is request.items[-1].exchange
    assert taken / len(names) < 150
    assert most / len(names) < 350
