"""Dhan's instruments master in OpenAlgo's names."""

from __future__ import annotations

import io

import pytest

from brokers.dhan.connection import DhanAdapter, DhanDepth20Adapter
from brokers.dhan.symbols import parse_master
from brokers.exceptions import BrokerProtocolError
from brokers.types import InstrumentRow

HEADER = (
    "SEM_EXM_EXCH_ID,SEM_SEGMENT,SEM_SMST_SECURITY_ID,SEM_INSTRUMENT_NAME,SEM_EXPIRY_CODE,"
    "SEM_TRADING_SYMBOL,SEM_LOT_UNITS,SEM_CUSTOM_SYMBOL,SEM_EXPIRY_DATE,SEM_STRIKE_PRICE,"
    "SEM_OPTION_TYPE,SEM_TICK_SIZE,SEM_EXPIRY_FLAG,SEM_EXCH_INSTRUMENT_TYPE,SEM_SERIES,"
    "SM_SYMBOL_NAME"
)
RELIANCE = "NSE,E,2885,EQUITY,0,RELIANCE,1.0,Reliance Industries,,,,10.0000,NA,ES,EQ,RELIANCE LTD"
NIFTY = "NSE,I,13,INDEX,0,NIFTY,1.0,Nifty 50,0001-01-01,,XX,0.0500,,INDEX,X,NIFTY"
OPTION = (
    "NSE,D,58662,OPTIDX,0,NIFTY-Mar2024-20800-CE,50.0,NIFTY 28 MAR 20800 CALL,"
    "2024-03-28 14:30:00,20800.00000,CE,5.0000,M,OP,NA,NIFTY"
)
FUTURE = (
    "NSE,D,35001,FUTIDX,0,NIFTY-Mar2024-FUT,50.0,NIFTY MAR FUT,2024-03-28 14:30:00,-0.01000,XX,"
    "5.0000,M,FUT,NA,NIFTY"
)


def read(*lines: str, header: str = HEADER) -> list[InstrumentRow]:
    return list(parse_master(io.BytesIO("\n".join((header, *lines, "")).encode())))


def test_the_specifications_rows() -> None:
    share, index = read(RELIANCE, NIFTY)
    assert share == InstrumentRow(
        exchange="NSE",
        symbol="RELIANCE",
        broker_token="NSE_EQ:2885",
        broker_symbol="RELIANCE",
        name="RELIANCE LTD",
        expiry="",
        strike="",
        lot_size="1",
        tick_size="0.1",
        instrument_type="EQ",
    )
    assert (index.exchange, index.symbol, index.broker_token) == ("NSE_INDEX", "NIFTY", "IDX_I:13")
    assert (index.tick_size, index.instrument_type, index.expiry) == ("0.05", "INDEX", "")


def test_a_strike_and_an_expiry_are_those_of_their_columns() -> None:
    (row,) = read(OPTION)
    assert (row.exchange, row.symbol) == ("NFO", "NIFTY28MAR2420800CE")
    assert (row.broker_token, row.strike, row.expiry) == ("NSE_FNO:58662", "20800", "2024-03-28")
    assert (row.lot_size, row.tick_size, row.instrument_type) == ("50", "0.05", "CE")


@pytest.mark.parametrize(
    ("line", "exchange", "symbol", "token"),
    [
        (FUTURE, "NFO", "NIFTY28MAR24FUT", "NSE_FNO:35001"),
        (
            OPTION.replace("NIFTY-Mar2024", "BAJAJ-AUTO-Mar2024"),
            "NFO",
            "BAJAJ-AUTO28MAR2420800CE",
            "NSE_FNO:58662",
        ),
        (OPTION.replace("NIFTY-Mar2024", "M&M-Mar2024"), "NFO", "M&M28MAR2420800CE", None),
        (OPTION.replace("NSE,D", "BSE,D"), "BFO", "NIFTY28MAR2420800CE", "BSE_FNO:58662"),
        (
            OPTION.replace("NSE,D", "NSE,C")
            .replace("OPTIDX", "OPTCUR")
            .replace("NIFTY-", "USDINR-")
            .replace("20800.00000", "84.25000"),
            "CDS",
            "USDINR28MAR2484.25CE",
            "NSE_CURRENCY:58662",
        ),
        (FUTURE.replace("NSE,D", "BSE,C"), "BCD", "NIFTY28MAR24FUT", "BSE_CURRENCY:35001"),
        (
            FUTURE.replace("NSE,D", "MCX,M").replace("NIFTY-Mar2024", "GOLD-05Apr2024"),
            "MCX",
            "GOLD28MAR24FUT",
            "MCX_COMM:35001",
        ),
        (
            FUTURE.replace("NSE,D", "NSE,M").replace("FUTIDX", "FUTCOM"),
            "NCO",
            "NIFTY28MAR24FUT",
            "NSE_COMM:35001",
        ),
        (FUTURE.replace("NIFTY-Mar2024-FUT", "NIFTY-ODD"), "NFO", "NIFTY28MAR24FUT", None),
        (RELIANCE.replace("NSE,E", "BSE,E").replace(",EQ,", ",A,"), "BSE", "RELIANCE", None),
        (RELIANCE.replace(",EQ,", ",BE,"), "NSE", "RELIANCE", None),
        (NIFTY.replace("NIFTY,1.0", "INDIA VIX,1.0"), "NSE_INDEX", "INDIAVIX", None),
        (NIFTY.replace("NIFTY,1.0", "Nifty Bank,1.0"), "NSE_INDEX", "BANKNIFTY", None),
        (NIFTY.replace("NSE,I,13", "BSE,I,51"), "BSE_INDEX", "NIFTY", "IDX_I:51"),
        (NIFTY.replace("NSE,I,13", "MCX,I,5"), "MCX_INDEX", "NIFTY", "IDX_I:5"),
    ],
)
def test_names_are_openalgos(line: str, exchange: str, symbol: str, token: str | None) -> None:
    (row,) = read(line)
    assert (row.exchange, row.symbol) == (exchange, symbol)
    assert token is None or row.broker_token == token


def test_a_companys_warrants_and_bonds_are_not_its_share() -> None:
    """They have its trading symbol, and another series."""
    share = RELIANCE.replace("RELIANCE,1.0", "ELECTCAST,1.0")
    warrant = share.replace("2885", "18116").replace(",EQ,", ",W1,")
    assert [row.symbol for row in read(share, warrant)] == ["ELECTCAST", "ELECTCAST-W1"]


@pytest.mark.parametrize(
    "line",
    [
        RELIANCE.replace("NSE,E", "NCDEX,M"),
        RELIANCE.replace("EQUITY", "DEBENTURE"),
        "",
    ],
)
def test_what_the_feed_does_not_have_is_left_out(line: str) -> None:
    assert read(line) == []


def test_each_feed_lists_what_it_has() -> None:
    master = "\n".join((HEADER, RELIANCE, NIFTY, OPTION)).encode()
    assert len(list(DhanAdapter.parse_master(io.BytesIO(master)))) == 3
    rows = DhanDepth20Adapter.parse_master(io.BytesIO(master))
    assert [row.exchange for row in rows] == ["NSE", "NFO"]


@pytest.mark.parametrize(
    "line",
    [
        RELIANCE.replace("2885", ""),
        RELIANCE.replace("2885", "28x"),
        RELIANCE.replace("2885", "²"),
        RELIANCE.replace("2885", str(2**32)),
        RELIANCE.replace("RELIANCE,1.0", ",1.0"),
        RELIANCE.rpartition(",")[0],
        OPTION.replace("2024-03-28 14:30:00", ""),
        OPTION.replace("2024-03-28", "2024-02-31"),
        OPTION.replace("20800.00000", "-1"),
        OPTION.replace(",CE,", ",XX,"),
        FUTURE.replace("NIFTY-Mar2024-FUT", ""),
        FUTURE.replace("NIFTY-Mar2024-FUT", "-FUT"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(line: str) -> None:
    with pytest.raises(BrokerProtocolError, match="line 3"):
        read(RELIANCE, line)


@pytest.mark.parametrize("data", [b"", b"{}", b"a,b\n1,2\n", b"<html>", b"\xff\xfe"])
def test_another_file_is_refused(data: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        list(parse_master(io.BytesIO(data)))
