"""Kite's instruments dump in OpenAlgo's names."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.exceptions import BrokerProtocolError
from brokers.masters import text as master_text
from brokers.types import InstrumentRow
from brokers.zerodha import symbols
from brokers.zerodha.config import CAPABILITIES
from tests.support import SHARED_DATA

HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
)


def parse_master(data: bytes) -> Iterator[InstrumentRow]:
    return symbols.parse_master(io.BytesIO(data))


def parse(*rows: str) -> list[InstrumentRow]:
    return list(parse_master((HEADER + "\n".join(rows)).encode()))


def named(row: str) -> tuple[str, str]:
    (parsed,) = parse(row)
    return parsed.exchange, parsed.symbol


def test_a_share() -> None:
    assert parse("408065,1594,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE") == [
        InstrumentRow(
            exchange="NSE",
            symbol="INFY",
            broker_token="408065",
            broker_symbol="INFY",
            name="INFOSYS",
            expiry="",
            strike="",
            lot_size="1",
            tick_size="0.05",
            instrument_type="EQ",
        )
    ]


def test_an_option() -> None:
    row = "1,1,NIFTY24MAR20800CE,NIFTY,0,2024-03-28,20800.0,0.05,50,CE,NFO-OPT,NFO"
    assert parse(row) == [
        InstrumentRow(
            exchange="NFO",
            symbol="NIFTY28MAR2420800CE",
            broker_token="1",
            broker_symbol="NIFTY24MAR20800CE",
            name="NIFTY",
            expiry="2024-03-28",
            strike="20800",
            lot_size="50",
            tick_size="0.05",
            instrument_type="CE",
        )
    ]


@pytest.mark.parametrize(
    ("row", "key"),
    [
        (
            "1,1,NIFTY24MARFUT,NIFTY,0,2024-03-28,0,0.05,50,FUT,NFO-FUT,NFO",
            ("NFO", "NIFTY28MAR24FUT"),
        ),
        (
            "1,1,USDINR24MAR83.25PE,USDINR,0,2024-03-26,83.25,0.0025,1,PE,CDS-OPT,CDS",
            ("CDS", "USDINR26MAR2483.25PE"),
        ),
        (
            "1,1,CRUDEOIL24APRFUT,CRUDEOIL,0,2024-04-19,0,1,100,FUT,MCX-FUT,MCX",
            ("MCX", "CRUDEOIL19APR24FUT"),
        ),
        # dumps without names: monthly, weekly and digits in the underlying
        (
            "1,1,BANKNIFTY18JAN23500CE,,0,2018-01-25,23500.0,0.05,40,CE,NFO-OPT,NFO",
            ("NFO", "BANKNIFTY25JAN1823500CE"),
        ),
        (
            "1,1,NIFTY2430720800PE,,0,2024-03-07,20800.0,0.05,50,PE,NFO-OPT,NFO",
            ("NFO", "NIFTY07MAR2420800PE"),
        ),
        (
            "1,1,360ONE24MARFUT,,0,2024-03-28,0,0.05,500,FUT,NFO-FUT,NFO",
            ("NFO", "360ONE28MAR24FUT"),
        ),
        ("1,1,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE", ("NSE_INDEX", "NIFTY")),
        ("1,1,NIFTY BANK,NIFTY BANK,0,,0,0,0,EQ,INDICES,NSE", ("NSE_INDEX", "BANKNIFTY")),
        ("1,1,NIFTY FIN SERVICE,,0,,0,0,0,EQ,INDICES,NSE", ("NSE_INDEX", "FINNIFTY")),
        ("1,1,NIFTY MID SELECT,,0,,0,0,0,EQ,INDICES,NSE", ("NSE_INDEX", "MIDCPNIFTY")),
        ("1,1,INDIA VIX,,0,,0,0,0,EQ,INDICES,NSE", ("NSE_INDEX", "INDIAVIX")),
        ("1,1,NIFTY PSU BANK,,0,,0,0,0,EQ,INDICES,NSE", ("NSE_INDEX", "NIFTYPSUBANK")),
        ("1,1,SENSEX,SENSEX,0,,0,0,0,EQ,INDICES,BSE", ("BSE_INDEX", "SENSEX")),
        ("1,1,BANKEX,,0,,0,0,0,EQ,INDICES,BSE", ("BSE_INDEX", "BANKEX")),
    ],
)
def test_names(row: str, key: tuple[str, str]) -> None:
    assert named(row) == key


def test_an_index_is_called_one() -> None:
    (row,) = parse("256265,1001,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE")
    assert row.instrument_type == "INDEX"
    assert row.broker_symbol == "NIFTY 50"


def test_exchanges_that_are_not_carried_are_left_out() -> None:
    future = "1,1,NIFTY26JANFUT,NIFTY,0,2026-01-27,0,0.5,1,FUT,NSEIX-FUT,NSEIX"
    assert parse(future, "2,2,X,,0,,,1,1,EQ,X,XYZ") == []


def test_indices_of_the_world_and_of_gift_city_are_one_exchange() -> None:
    rows = parse(
        "291849,1140,GIFT NIFTY,,0,,0,0,0,EQ,INDICES,NSEIX",
        "3001865,11726,US30,DOW JONES,0,,0,0,0,EQ,INDICES,GLOBAL",
        "3002121,11727,US 10YR YIELD,,0,,0,0,0,EQ,GLOBAL,GLOBAL",
    )
    assert [(row.exchange, row.symbol) for row in rows] == [
        ("GLOBAL_INDEX", "GIFTNIFTY"),
        ("GLOBAL_INDEX", "US30"),
        ("GLOBAL_INDEX", "US10YRYIELD"),
    ]
    assert {row.instrument_type for row in rows} == {"INDEX"}


def test_quoted_names_and_a_byte_order_mark() -> None:
    data = "\ufeff" + HEADER + '1,1,X,"A, B ""C""",0,,,0.05,1,EQ,NSE,NSE\r\n'
    (row,) = parse_master(data.encode())
    assert row.name == 'A, B "C"'


@pytest.mark.parametrize(
    "row",
    [
        "abc,1,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE",
        "-5,1,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE",
        "4294967296,1,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE",
        ",1,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE",
        "1,1,,INFOSYS,0,,,0.05,1,EQ,NSE,NSE",
        "1,1,NIFTY24MARFUT,NIFTY,0,,0,0.05,50,FUT,NFO-FUT,NFO",
        "1,1,FUT,,0,2024-03-28,0,0.05,50,FUT,NFO-FUT,NFO",
        "1,1,INFY",
    ],
)
def test_a_broken_row_names_its_line(row: str) -> None:
    with pytest.raises(BrokerProtocolError, match="line 3"):
        parse("408065,1594,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE", row)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\0",
        b"<html>no</html>",
        b"a,b\n1,2\n",
        b"\xff\xfe",
        b"\x1f\x8b",
        gzip.compress(b"x", mtime=0)[:-3],
    ],
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        list(parse_master(data))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_dump_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    """A small file that unpacks to gigabytes stops at the bound."""
    monkeypatch.setattr(master_text, "MAX_MASTER_BYTES", 1000)
    with pytest.raises(BrokerProtocolError, match="larger than"):
        list(parse_master(pack((HEADER + "," * 2000).encode())))


def test_broken_gzip_data_is_refused() -> None:
    data = bytearray(gzip.compress(HEADER.encode()))
    data[-8] ^= 0xFF
    with pytest.raises(BrokerProtocolError, match="broken compression"):
        list(parse_master(bytes(data)))


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_raise_our_error_only(data: bytes, headed: bool) -> None:
    with contextlib.suppress(BrokerProtocolError):
        list(parse_master(HEADER.encode() + data if headed else data))


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="recorded data is not at hand")
@pytest.mark.parametrize("name", ["kite_instruments_all.csv", "kite_instruments_nse.csv"])
def test_real_rows_plain_and_gzipped(name: str) -> None:
    """Every row of the served file is carried, under a name of its own."""
    data = (SHARED_DATA / name).read_bytes()
    rows = list(parse_master(data))
    assert len(rows) == len(data.decode().splitlines()) - 1
    assert len({(row.exchange, row.symbol) for row in rows}) == len(rows)
    assert {row.exchange for row in rows} <= CAPABILITIES.exchanges
    assert list(parse_master(gzip.compress(data, mtime=0))) == rows
