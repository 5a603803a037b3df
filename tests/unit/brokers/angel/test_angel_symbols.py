"""Angel One's instruments master in OpenAlgo's names."""

from __future__ import annotations

import json
from datetime import date

import pytest

from brokers.angel.symbols import parse_master
from brokers.exceptions import BrokerProtocolError
from brokers.simulator.angel.encoder import encode_master, name_of
from brokers.simulator.listing import build_listing
from brokers.types import InstrumentRow

SBIN = {
    "token": "3045",
    "symbol": "SBIN-EQ",
    "name": "SBIN",
    "expiry": "",
    "strike": "-1.000000",
    "lotsize": "1",
    "instrumenttype": "",
    "exch_seg": "NSE",
    "tick_size": "5.000000",
}
NIFTY = {"token": "99926000", "symbol": "Nifty 50", "name": "NIFTY", "instrumenttype": "AMXIDX"}
OPTION = {
    "token": "58662",
    "symbol": "NIFTY28MAR2420800CE",
    "name": "NIFTY",
    "expiry": "28MAR2024",
    "strike": "2080000.000000",
    "lotsize": "50",
    "instrumenttype": "OPTIDX",
    "exch_seg": "NFO",
}
FUTURE = OPTION | {"symbol": "NIFTY28MAR24FUT", "strike": "-1.000000", "instrumenttype": "FUTIDX"}


def rows(*changes: dict[str, str]) -> list[InstrumentRow]:
    return list(parse_master(json.dumps([SBIN | change for change in changes]).encode()))


def test_a_share_loses_its_series() -> None:
    assert rows({}) == [
        InstrumentRow(
            exchange="NSE",
            symbol="SBIN",
            broker_token="1:3045",
            broker_symbol="SBIN-EQ",
            name="SBIN",
            expiry="",
            strike="",
            lot_size="1",
            tick_size="0.05",
            instrument_type="EQ",
        )
    ]


@pytest.mark.parametrize(
    ("change", "exchange", "symbol", "token", "strike", "expiry"),
    [
        ({"symbol": "XYZ-BE"}, "NSE", "XYZ", "1:3045", "", ""),
        ({"symbol": "718GS2033-GS"}, "NSE", "718GS2033-GS", "1:3045", "", ""),
        ({"symbol": "SBIN", "exch_seg": "BSE"}, "BSE", "SBIN", "3:3045", "", ""),
        (NIFTY, "NSE_INDEX", "NIFTY", "1:99926000", "", ""),
        (NIFTY | {"symbol": "Nifty Bank"}, "NSE_INDEX", "BANKNIFTY", "1:99926000", "", ""),
        (NIFTY | {"symbol": "India VIX"}, "NSE_INDEX", "INDIAVIX", "1:99926000", "", ""),
        (
            NIFTY | {"symbol": "SENSEX", "exch_seg": "BSE"},
            "BSE_INDEX",
            "SENSEX",
            "3:99926000",
            "",
            "",
        ),
        (OPTION, "NFO", "NIFTY28MAR2420800CE", "2:58662", "20800", "2024-03-28"),
        (FUTURE, "NFO", "NIFTY28MAR24FUT", "2:58662", "", "2024-03-28"),
        (
            OPTION
            | {
                "symbol": "USDINR24MAR82.25PE",
                "name": "USDINR",
                "exch_seg": "CDS",
                "instrumenttype": "OPTCUR",
                "strike": "822500000.000000",
            },
            "CDS",
            "USDINR28MAR2482.25PE",
            "13:58662",
            "82.25",
            "2024-03-28",
        ),
        (
            OPTION | {"exch_seg": "BFO", "name": "SENSEX", "strike": "7400050.000000"},
            "BFO",
            "SENSEX28MAR2474000.5CE",
            "4:58662",
            "74000.5",
            "2024-03-28",
        ),
        (
            FUTURE | {"exch_seg": "MCX", "name": "GOLD", "instrumenttype": "FUTCOM"},
            "MCX",
            "GOLD28MAR24FUT",
            "5:58662",
            "",
            "2024-03-28",
        ),
    ],
)
def test_names_are_openalgos(
    change: dict[str, str], exchange: str, symbol: str, token: str, strike: str, expiry: str
) -> None:
    (row,) = rows(change)
    assert (row.exchange, row.symbol, row.broker_token) == (exchange, symbol, token)
    assert (row.strike, row.expiry) == (strike, expiry)


def test_a_currencys_tick_is_a_quarter_of_a_paisa() -> None:
    (row,) = rows(FUTURE | {"exch_seg": "CDS", "tick_size": "0.250000"})
    assert row.tick_size == "0.0025"


@pytest.mark.parametrize(
    "change",
    [
        {"exch_seg": "NYSE"},
        {"exch_seg": "NFO"},
        {"instrumenttype": "COMDTY", "exch_seg": "MCX"},
        {"instrumenttype": "AMXIDX", "exch_seg": "NCDEX"},
        {"instrumenttype": "UNDCUR", "exch_seg": "CDS"},
    ],
)
def test_what_is_not_traded_there_is_left_out(change: dict[str, str]) -> None:
    assert rows(change) == []


@pytest.mark.parametrize(
    "change",
    [
        {"token": ""},
        {"token": "1x"},
        {"token": "²"},
        {"symbol": ""},
        OPTION | {"expiry": ""},
        OPTION | {"expiry": "31FEB2024"},
        OPTION | {"expiry": "28MAI2024"},
        OPTION | {"strike": "-1.000000"},
        OPTION | {"symbol": "NIFTY28MAR2420800XX"},
        OPTION | {"name": ""},
    ],
)
def test_a_row_that_cannot_be_used_is_named(change: dict[str, str]) -> None:
    with pytest.raises(BrokerProtocolError, match="row 1"):
        rows({}, change)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'[{"token":"1"}]', b"<html>", b"\xff[]"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        list(parse_master(data))


def test_the_local_exchanges_master_is_read() -> None:
    """Every instrument that Angel has, under the name that the listing gives it."""
    listing = build_listing(today=date(2026, 1, 5), size=1_000)
    parsed = {row.broker_token: row for row in parse_master(encode_master(listing))}
    names = {f"{name[0]}:{name[1]}": item for item in listing if (name := name_of(item))}
    assert set(parsed) == set(names)
    for token, item in names.items():
        row = parsed[token]
        scale = item.segment.price_scale
        assert float(row.tick_size) * scale == pytest.approx(item.tick)
        assert float(row.strike or 0) == item.strike
        assert row.expiry == (item.expiry.isoformat() if item.expiry else "")
        assert row.lot_size == str(item.lot_size)
    assert len({(row.exchange, row.symbol) for row in parsed.values()}) == len(parsed)
    found = {(row.exchange, row.symbol) for row in parsed.values()}
    assert {("NSE_INDEX", "NIFTY"), ("NSE_INDEX", "BANKNIFTY"), ("BSE_INDEX", "SENSEX")} <= found
