"""Tick objects: field names and values of the client protocol, section 3."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import DepthLevel, FeedMode, InstrumentKey, Tick
from streaming.wire.tick_json import InstrumentFrames, derive, encode_tick

KEY = InstrumentKey("NSE", "INFY")
_FULL = {
    "broker_token": "408065",
    "price_scale": 100,
    "ltp": 157370,
    "ltt_ms": 1717000000000,
    "ts_event_ms": 1717000000123,
    "open": 157000,
    "high": 158005,
    "low": 156000,
    "close": 156500,
    "volume": 1234567,
    "last_trade_quantity": 25,
    "avg_trade_price": 157233,
    "oi": 0,
    "bid_price": 157365,
    "ask_price": 157375,
    "bid_size": 10,
    "ask_size": 20,
    "total_buy_quantity": 123456,
    "total_sell_quantity": 654321,
    "bids": (DepthLevel(157365, 10, 2), DepthLevel(157360, 7)),
    "asks": (DepthLevel(157375, 20, 1),),
}
_LTP = {"symbol": "INFY", "exchange": "NSE", "ltp": 1573.7}
_LTP |= {"timestamp": 1717000000123, "ltt": 1717000000000}
_QUOTE = _LTP | {
    "open": 1570,
    "high": 1580.05,
    "low": 1560,
    "close": 1565,
    "volume": 1234567,
    "last_trade_quantity": 25,
    "last_quantity": 25,
    "ltq": 25,
    "avg_trade_price": 1572.33,
    "average_price": 1572.33,
    "change": 8.7,
    "change_percent": 0.5559,
    "oi": 0,
    "bid_price": 1573.65,
    "ask_price": 1573.75,
    "bid_size": 10,
    "ask_size": 20,
    "total_buy_quantity": 123456,
    "total_sell_quantity": 654321,
}
_BUY = [{"price": 1573.65, "quantity": 10, "orders": 2}, {"price": 1573.6, "quantity": 7}]
_SELL = [{"price": 1573.75, "quantity": 20, "orders": 1}]
_DEPTH = _QUOTE | {"depth": {"buy": _BUY, "sell": _SELL}, "bids": _BUY, "asks": _SELL}


def tick(mode: FeedMode, **changes: object) -> Tick:
    """A tick with every field, changed as told."""
    return Tick(mode=mode, **(_FULL | changes))  # type: ignore[arg-type]


def data(mode: FeedMode, **changes: object) -> Any:
    """The decoded ``data`` of such a tick."""
    return json.loads(encode_tick("zerodha", KEY, tick(mode, **changes)))["data"]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(FeedMode.LTP, _LTP), (FeedMode.QUOTE, _QUOTE), (FeedMode.DEPTH, _DEPTH)],
)
def test_each_mode_has_exactly_its_fields(mode, expected):
    """Envelope and data as the protocol's table gives them, aliases included."""
    assert json.loads(encode_tick("zerodha", KEY, tick(mode))) == {
        "type": "market_data",
        "symbol": "INFY",
        "exchange": "NSE",
        "mode": int(mode),
        "broker": "zerodha",
        "data": expected,
    }


def test_the_object_is_compact_and_starts_as_clients_search_for_it():
    """AmiBroker looks for the bytes of the symbol without a space after the colon."""
    body = encode_tick("zerodha", KEY, tick(FeedMode.DEPTH))
    assert body.startswith(b'{"type":"market_data","symbol":"INFY","exchange":"NSE","mode":3,')
    assert b" " not in body


def test_quantities_in_whole_units_are_integers():
    """SDKs format volume with %d; 1234567.0 would break them."""
    decoded = data(FeedMode.DEPTH)
    for name in ("volume", "ltq", "oi", "bid_size", "total_buy_quantity", "timestamp", "ltt"):
        assert type(decoded[name]) is int
    assert type(decoded["bids"][0]["quantity"]) is int


def test_fractional_quantities_are_scaled():
    """Crypto exchanges count in fractions."""
    decoded = data(FeedMode.DEPTH, quantity_scale=1000, oi=None)
    assert decoded["volume"] == 1234.567
    assert decoded["bid_size"] == 0.01
    assert decoded["bids"][0]["quantity"] == 0.01
    assert "oi" not in decoded


def test_what_the_broker_did_not_send_is_left_out():
    """No nulls anywhere, and receive time never stands in for the exchange's."""
    body = encode_tick("zerodha", KEY, Tick("1", FeedMode.DEPTH, 100, ltp=5))
    assert json.loads(body)["data"] == {"symbol": "INFY", "exchange": "NSE", "ltp": 0.05}
    empty = encode_tick("zerodha", KEY, Tick("1", FeedMode.DEPTH, 100, bids=()))
    assert json.loads(empty)["data"]["depth"] == {"buy": []}


@pytest.mark.parametrize("changes", [{"close": 0}, {"close": None}, {"ltp": None}])
def test_no_change_without_a_base(changes):
    """A change of an unknown or zero close is no number."""
    assert not {"change", "change_percent"} & data(FeedMode.QUOTE, **changes).keys()


@pytest.mark.parametrize(
    ("ltp", "close", "percent"),
    [(156500, 156500, 0), (1, 3, -66.6667), (2, 3, -33.3333), (200, 100, 100), (5, 1, 400)],
)
def test_change_is_exact_and_percent_has_four_decimals(ltp, close, percent):
    """Rounded once, from exact integers."""
    decoded = data(FeedMode.QUOTE, ltp=ltp, close=close)
    assert decoded["change"] == (ltp - close) / 100
    assert decoded["change_percent"] == percent


def test_symbols_are_escaped_to_ascii():
    """Quotes and letters of other alphabets cannot end the string or the frame."""
    key = InstrumentKey("NSE", 'A","mode":9,"é')
    body = encode_tick("zerodha", key, tick(FeedMode.DEPTH))
    assert body.isascii()
    assert json.loads(body)["symbol"] == json.loads(body)["data"]["symbol"] == key.symbol
    assert derive(body, FeedMode.LTP) == encode_tick("zerodha", key, tick(FeedMode.LTP))


@given(st.integers(0, 10**15 - 1), st.sampled_from([1, 100, 10_000, 10_000_000, 10**8]))
def test_prices_of_up_to_15_digits_are_exact(price, scale):
    """The shortest number that a 64-bit float prints is the broker's decimal itself."""
    body = encode_tick("b", KEY, Tick("1", FeedMode.LTP, scale, ltp=price))
    printed = json.loads(body, parse_float=Decimal, parse_int=Decimal)["data"]["ltp"]
    assert Fraction(printed) == Fraction(price, scale)


_number = st.none() | st.integers(0, 2**53)
_side = st.none() | st.lists(
    st.builds(DepthLevel, st.integers(0, 10**9), st.integers(0, 10**9), st.none() | st.just(3)),
    max_size=3,
).map(tuple)
_fields = st.fixed_dictionaries(
    {
        name: (_side if name in {"bids", "asks"} else _number)
        for name in _FULL
        if name not in {"broker_token", "price_scale"}
    }
)


@given(_fields, st.sampled_from([1, 1000]), st.sampled_from(["INFY", 'a"b', ',"depth":', "é/ &"]))
def test_deriving_a_lower_mode_is_encoding_at_that_mode(fields, quantity_scale, symbol):
    """Cutting the bytes equals encoding again; None only where nothing would be left."""
    frames = InstrumentFrames(broker="binance", key=InstrumentKey("X", symbol))

    def encoded(mode: FeedMode) -> bytes:
        return frames.encode(Tick("1", mode, 100, quantity_scale, **fields))

    for high in FeedMode:
        for low in FeedMode:
            derived = derive(encoded(high), low)
            if low > high:
                assert derived is None
            elif derived is None:
                left = json.loads(encoded(low))["data"].keys()
                needed = {"ltp"} if low == FeedMode.LTP else left - {"timestamp", "ltt"}
                assert not (left - {"symbol", "exchange"}) & needed
            else:
                assert derived == encoded(low)


def test_there_is_no_ltp_without_a_last_price():
    """A book ticker has bid and ask only."""
    body = encode_tick("b", KEY, Tick("1", FeedMode.QUOTE, 100, bid_price=5, ts_event_ms=1))
    assert derive(body, FeedMode.LTP) is None
    assert derive(body, FeedMode.QUOTE) == body


def test_there_is_no_quote_in_a_bare_order_book():
    """Names and times alone are not a quote."""
    body = encode_tick("b", KEY, Tick("1", FeedMode.DEPTH, 100, bids=(), ts_event_ms=1))
    assert derive(body, FeedMode.QUOTE) is None


@pytest.mark.parametrize("body", [b"", b"{}", b'{"mode":3}', b'{"a":1,"mode":3}'])
def test_foreign_bytes_cannot_be_derived(body):
    """Nothing is invented from an object that this module did not make."""
    assert derive(body, FeedMode.LTP) is None
