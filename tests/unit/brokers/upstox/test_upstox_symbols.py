"""Upstox's instruments master in OpenAlgo's names."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from brokers.exceptions import BrokerProtocolError
from brokers.types import InstrumentRow
from brokers.upstox.symbols import parse_master

RELIANCE: dict[str, Any] = {
    "segment": "NSE_EQ",
    "name": "RELIANCE INDUSTRIES LTD",
    "exchange": "NSE",
    "isin": "INE002A01018",
    "instrument_type": "EQ",
    "instrument_key": "NSE_EQ|INE002A01018",
    "lot_size": 1,
    "freeze_quantity": 100000.0,
    "exchange_token": "2885",
    "tick_size": 5.0,
    "trading_symbol": "RELIANCE",
    "short_name": "Reliance Industries",
    "qty_multiplier": 1.0,
}
OPTION: dict[str, Any] = {
    "weekly": False,
    "segment": "NSE_FO",
    "name": "NIFTY",
    "exchange": "NSE",
    "expiry": 1711650599000,  # 28 March 2024, 23:59:59 in India
    "instrument_type": "CE",
    "underlying_symbol": "NIFTY",
    "asset_symbol": "NIFTY",
    "instrument_key": "NSE_FO|45450",
    "lot_size": 50,
    "minimum_lot": 50,
    "tick_size": 5.0,
    "strike_price": 20800.0,
    "trading_symbol": "NIFTY 20800 CE 28 MAR 24",
}
FUTURE = {
    **{name: value for name, value in OPTION.items() if name != "strike_price"},
    "instrument_type": "FUT",
}


def rows_of(*rows: dict[str, Any], pack: bool = True) -> list[InstrumentRow]:
    content = json.dumps(rows).encode()
    return list(parse_master(io.BytesIO(gzip.compress(content) if pack else content)))


def one(row: dict[str, Any], **changes: Any) -> InstrumentRow:
    (found,) = rows_of({**row, **changes})
    return found


@pytest.mark.parametrize("pack", [True, False])
def test_a_share(pack: bool) -> None:
    assert rows_of(RELIANCE, pack=pack) == [
        InstrumentRow(
            exchange="NSE",
            symbol="RELIANCE",
            broker_token="NSE_EQ|INE002A01018",
            broker_symbol="RELIANCE",
            name="RELIANCE INDUSTRIES LTD",
            expiry="",
            strike="",
            lot_size="1",
            tick_size="0.05",
            instrument_type="EQ",
        )
    ]


def test_an_option_and_a_future() -> None:
    option, future = rows_of(OPTION, FUTURE)
    assert (option.exchange, option.symbol) == ("NFO", "NIFTY28MAR2420800CE")
    assert (option.expiry, option.strike, option.lot_size) == ("2024-03-28", "20800", "50")
    assert (future.symbol, future.strike) == ("NIFTY28MAR24FUT", "")
    assert future.instrument_type == "FUT"


def test_a_day_is_indias() -> None:
    assert one(OPTION, expiry=1711564200000).expiry == "2024-03-28"  # its first second
    assert one(OPTION, expiry=1711564199000).expiry == "2024-03-27"


def test_a_currency_keeps_its_quarter_paise() -> None:
    row = one(
        OPTION,
        segment="NCD_FO",
        instrument_key="NCD_FO|1",
        underlying_symbol="USDINR",
        strike_price=83.25,
        tick_size=0.25,
    )
    assert (row.exchange, row.symbol) == ("CDS", "USDINR28MAR2483.25CE")
    assert row.tick_size == "0.0025"


@pytest.mark.parametrize(
    ("key", "exchange", "symbol"),
    [
        ("NSE_INDEX|Nifty 50", "NSE_INDEX", "NIFTY"),
        ("NSE_INDEX|Nifty Bank", "NSE_INDEX", "BANKNIFTY"),
        ("NSE_INDEX|Nifty Fin Service", "NSE_INDEX", "FINNIFTY"),
        ("NSE_INDEX|India VIX", "NSE_INDEX", "INDIAVIX"),
        ("NSE_INDEX|NIFTY MID SELECT", "NSE_INDEX", "MIDCPNIFTY"),
        ("BSE_INDEX|SENSEX", "BSE_INDEX", "SENSEX"),
        ("BSE_INDEX|SNSX50", "BSE_INDEX", "SENSEX50"),
    ],
)
def test_indices(key: str, exchange: str, symbol: str) -> None:
    segment = key.partition("|")[0]
    row = one(
        {"segment": segment, "instrument_key": key, "instrument_type": "INDEX", "name": "x"},
        trading_symbol="x",
    )
    assert (row.exchange, row.symbol, row.instrument_type) == (exchange, symbol, "INDEX")
    assert (row.lot_size, row.tick_size) == ("0", "0")


@pytest.mark.parametrize(
    ("segment", "series", "symbol"),
    [
        ("NSE_EQ", "BE", "RELIANCE"),
        ("NSE_EQ", "GS", "RELIANCE-GS"),
        ("BSE_EQ", "A", "RELIANCE"),
    ],
)
def test_a_series_that_is_no_share_shows(segment: str, series: str, symbol: str) -> None:
    row = one(RELIANCE, segment=segment, instrument_type=series, instrument_key=f"{segment}|X")
    assert row.symbol == symbol


@pytest.mark.parametrize(
    ("segment", "exchange"),
    [("BSE_FO", "BFO"), ("BCD_FO", "BCD"), ("MCX_FO", "MCX"), ("NSE_COM", "NCO")],
)
def test_segments_are_exchanges(segment: str, exchange: str) -> None:
    assert one(FUTURE, segment=segment, instrument_key=f"{segment}|1").exchange == exchange


def test_what_is_not_declared_is_left_out() -> None:
    index = {**RELIANCE, "segment": "GLOBAL_INDEX", "instrument_key": "GLOBAL_INDEX|DOW"}
    odd = {**RELIANCE, "segment": "MCX_FO", "instrument_key": "MCX_FO|1", "instrument_type": "COM"}
    assert rows_of(index, odd) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instrument_key": "NSE_EQ|1"}, "key"),
        ({"instrument_key": "NSE_FO|\n"}, "key"),
        ({"expiry": None}, "expiry"),
        ({"expiry": -5}, "expiry"),
        ({"expiry": 10**17}, "expiry"),
        ({"expiry": 253_402_300_799_000}, "expiry"),  # no day in any zone east of Greenwich
        ({"underlying_symbol": None, "asset_symbol": ""}, "underlying"),
        ({"strike_price": -1}, "decimal"),
        ({"strike_price": "NaN"}, "larger"),
        ({"strike_price": 1e300}, "larger"),
        ({"strike_price": "1e999999999"}, "larger"),
        ({"segment": 5}, "segment"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BrokerProtocolError, match=words):
        rows_of(FUTURE, {**OPTION, **changes})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"\xff\xfe",
        b"[" * 100_000,
        b"\x1f\x8b",
        gzip.compress(b"[]" * 99, mtime=0)[:-9],
    ],
)
def test_what_is_no_master_is_refused(content: bytes) -> None:
    with pytest.raises(BrokerProtocolError, match="instruments master"):
        list(parse_master(io.BytesIO(content)))


def test_a_master_that_unpacks_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokers.upstox.symbols.MAX_MASTER_BYTES", 1_000)
    with pytest.raises(BrokerProtocolError, match="larger"):
        list(parse_master(io.BytesIO(gzip.compress(b" " * 1_001))))
