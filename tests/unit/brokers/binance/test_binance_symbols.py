"""Binance's exchange information in OpenAlgo's names."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.binance.symbols import parse_master
from brokers.exceptions import BrokerProtocolError
from brokers.types import InstrumentRow
from tests.support import SHARED_DATA

BTCUSDT: dict[str, Any] = {
    "symbol": "BTCUSDT",
    "status": "TRADING",
    "baseAsset": "BTC",
    "quoteAsset": "USDT",
    "filters": [
        {"filterType": "PRICE_FILTER", "minPrice": "0.01", "tickSize": "0.01000000"},
        {"filterType": "LOT_SIZE", "stepSize": "0.00001000"},
    ],
}


def parse(*symbols: object) -> list[InstrumentRow]:
    return list(parse_master(json.dumps({"symbols": symbols}).encode()))


def test_a_pair() -> None:
    assert parse(BTCUSDT) == [
        InstrumentRow(
            exchange="BINANCE",
            symbol="BTCUSDT",
            broker_token="btcusdt",
            broker_symbol="BTCUSDT",
            name="BTC/USDT",
            expiry="",
            strike="",
            lot_size="0.00001",
            tick_size="0.01",
            instrument_type="SPOT",
        )
    ]


def test_only_what_is_trading() -> None:
    assert parse({**BTCUSDT, "status": "BREAK"}, {**BTCUSDT, "status": "HALT"}) == []


def test_missing_filters_leave_steps_open() -> None:
    (row,) = parse({**BTCUSDT, "filters": []})
    assert (row.lot_size, row.tick_size) == ("", "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"symbols":{}}',
        b'{"symbols":[{"symbol":1}]}',
        b'{"code":-1003,"msg":"Too many requests"}',
        b"[" * 100_000,
    ],
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        list(parse_master(data))


@given(st.binary(max_size=100))
def test_random_bytes_raise_our_error_only(data: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        list(parse_master(data))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="recorded data is not at hand")
def test_the_real_answer() -> None:
    """Each trading symbol of the recorded answer is carried, under a name of its own."""
    line = (SHARED_DATA / "capture_BINANCE.rest.0").read_bytes().splitlines()[0]
    data = line[line.index(b"{") :]
    trading = [s["symbol"] for s in json.loads(data)["symbols"] if s["status"] == "TRADING"]
    rows = list(parse_master(data))
    assert [row.symbol for row in rows] == trading
    assert len(set(trading)) == len(trading) == 1262
