"""Fyers' symbol masters in OpenAlgo's names."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import pytest

from brokers.exceptions import BrokerProtocolError
from brokers.fyers.symbols import parse_masters
from brokers.types import InstrumentRow

SBIN = {
    0: "10100000003045",
    1: "STATE BANK OF INDIA",
    2: "0",
    3: "1",
    4: "0.05",
    9: "NSE:SBIN-EQ",
    10: "10",
    11: "10",
    12: "3045",
    13: "SBIN",
    15: "-1.0",
    16: "XX",
}
NIFTY = {0: "101000000026000", 1: "NIFTY50-INDEX", 2: "10", 9: "NSE:NIFTY50-INDEX", 13: "NIFTY"}
OPTION = {
    0: "101124032858662",
    1: "NIFTY 28 Mar 24 20800 CE",
    2: "14",
    3: "50",
    8: "1711620000",  # 10:00 UTC on the day
    9: "NSE:NIFTY24MAR20800CE",
    13: "NIFTY",
    15: "20800.0",
    16: "CE",
}
FUTURE = OPTION | {9: "NSE:NIFTY24MARFUT", 2: "11", 15: "-1.0", 16: "XX"}


def line(change: dict[int, str]) -> str:
    cells = SBIN | change
    return ",".join(cells.get(at, "") for at in range(21))


def rows(*changes: dict[int, str], names: Mapping[str, str] | None = None) -> list[InstrumentRow]:
    files = [io.BytesIO("\n".join(map(line, changes)).encode())]
    if names is not None:
        files.append(io.BytesIO(json.dumps(names).encode()))
    return list(parse_masters(files))


def test_a_share_loses_its_series() -> None:
    assert rows({}) == [
        InstrumentRow(
            exchange="NSE",
            symbol="SBIN",
            broker_token="sf|nse_cm|3045",
            broker_symbol="NSE:SBIN-EQ",
            name="STATE BANK OF INDIA",
            expiry="",
            strike="",
            lot_size="1",
            tick_size="0.05",
            instrument_type="EQ",
        )
    ]


@pytest.mark.parametrize(
    ("fytoken", "ticker", "symbol", "token"),
    [
        ("10100000001", "NSE:X-BE", "X", "sf|nse_cm|1"),
        ("10100000001", "NSE:M&M-EQ", "M&M", "sf|nse_cm|1"),
        ("10100000001", "NSE:BAJAJ-AUTO-EQ", "BAJAJ-AUTO", "sf|nse_cm|1"),
        ("10100000001", "NSE:SGBAUG24-GB", "SGBAUG24-GB", "sf|nse_cm|1"),
        ("1210000000500325", "BSE:RELIANCE-A", "RELIANCE", "sf|bse_cm|500325"),
        ("1210000000532977", "BSE:BAJAJ-AUTO-A", "BAJAJ-AUTO", "sf|bse_cm|532977"),
        ("1210000000532977", "BSE:PLAIN", "PLAIN", "sf|bse_cm|532977"),
    ],
)
def test_shares_have_the_exchanges_names(
    fytoken: str, ticker: str, symbol: str, token: str
) -> None:
    (row,) = rows({0: fytoken, 9: ticker})
    assert (row.exchange, row.symbol, row.broker_token) == (ticker[:3], symbol, token)


@pytest.mark.parametrize(
    ("change", "exchange", "symbol", "token"),
    [
        (OPTION, "NFO", "NIFTY28MAR2420800CE", "sf|nse_fo|58662"),
        (OPTION | {16: "PE", 15: "20850.50"}, "NFO", "NIFTY28MAR2420850.5PE", "sf|nse_fo|58662"),
        (FUTURE, "NFO", "NIFTY28MAR24FUT", "sf|nse_fo|58662"),
        (FUTURE | {0: "101224032812", 13: "USDINR"}, "CDS", "USDINR28MAR24FUT", "sf|cde_fo|12"),
        (FUTURE | {0: "112024032812", 13: "GOLD"}, "MCX", "GOLD28MAR24FUT", "sf|mcx_fo|12"),
        (FUTURE | {0: "102024032812", 13: "GOLD"}, "NCO", "GOLD28MAR24FUT", "sf|nse_com|12"),
        (OPTION | {0: "121124032812"}, "BFO", "NIFTY28MAR2420800CE", "sf|bse_fo|12"),
        (FUTURE | {0: "121224032812", 13: "USDINR"}, "BCD", "USDINR28MAR24FUT", "sf|bcs_fo|12"),
    ],
)
def test_derivatives_have_openalgos_names(
    change: dict[int, str], exchange: str, symbol: str, token: str
) -> None:
    (row,) = rows(change)
    assert (row.exchange, row.symbol, row.broker_token) == (exchange, symbol, token)
    assert (row.expiry, row.lot_size) == ("2024-03-28", "50")


def test_an_expiry_is_a_day_in_india() -> None:
    (row,) = rows(FUTURE | {8: "1711649999"})  # half a second before midnight in India
    assert row.expiry == "2024-03-28"
    (row,) = rows(FUTURE | {8: "1711650600"})
    assert row.expiry == "2024-03-29"


@pytest.mark.parametrize(
    ("ticker", "exchange", "symbol", "token"),
    [
        ("NSE:NIFTY50-INDEX", "NSE_INDEX", "NIFTY", "if|nse_cm|Nifty 50"),
        ("NSE:NIFTYBANK-INDEX", "NSE_INDEX", "BANKNIFTY", "if|nse_cm|Nifty Bank"),
        ("NSE:FINNIFTY-INDEX", "NSE_INDEX", "FINNIFTY", "if|nse_cm|Nifty Fin Service"),
        ("NSE:INDIAVIX-INDEX", "NSE_INDEX", "INDIAVIX", "if|nse_cm|India VIX"),
        ("NSE:NIFTY100 EQL WGT-INDEX", "NSE_INDEX", "NIFTY100EQLWGT", "if|nse_cm|NIFTY100 EQL WGT"),
        ("BSE:SENSEX-INDEX", "BSE_INDEX", "SENSEX", "if|bse_cm|SENSEX"),
        ("BSE:SNSX50-INDEX", "BSE_INDEX", "SENSEX50", "if|bse_cm|SNSX50"),
    ],
)
def test_indices_have_their_own_exchanges_and_names_on_the_socket(
    ticker: str, exchange: str, symbol: str, token: str
) -> None:
    fytoken = "121000000010" if ticker.startswith("BSE") else "101000000010"
    (row,) = rows(NIFTY | {0: fytoken, 9: ticker})
    assert (row.exchange, row.symbol, row.broker_token) == (exchange, symbol, token)
    assert row.instrument_type == "INDEX"


def test_the_mapping_of_index_names_counts_wherever_it_stands() -> None:
    names = {"NSE:NIFTY50-INDEX": "Nifty Fifty", "NSE:NIFTYIT-INDEX": "Nifty IT"}
    found = rows(NIFTY, NIFTY | {9: "NSE:NIFTYIT-INDEX"}, names=names)
    assert [row.broker_token for row in found] == ["if|nse_cm|Nifty Fifty", "if|nse_cm|Nifty IT"]


def test_several_masters_and_several_in_one_file_are_one() -> None:
    files = [line({}), line(OPTION)]
    apart = list(parse_masters([io.BytesIO(text.encode()) for text in files]))
    together = list(parse_masters([io.BytesIO("\n".join(files).encode())]))
    assert apart == together
    assert [row.symbol for row in apart] == ["SBIN", "NIFTY28MAR2420800CE"]


def test_what_is_not_traded_or_not_known_is_left_out() -> None:
    assert rows({0: "10130000001"}, {0: "10120000001", 9: "NSE:USDINR"}) == []
    assert rows(NIFTY | {0: "112000000010", 9: "MCX:BULLDEX-INDEX"}) == []


@pytest.mark.parametrize(
    "change",
    [
        {0: "1010000000"},
        {0: "1010000000x"},
        {0: "1" * 31},
        {9: "SBIN"},
        OPTION | {8: ""},
        OPTION | {8: "soon"},
        OPTION | {8: "9" * 12},
        OPTION | {8: "253402300799"},  # where no zone east of Greenwich has a day for it
        OPTION | {15: "-1.0"},
        OPTION | {13: ""},
        NIFTY | {9: "NSE:-INDEX"},
        NIFTY | {9: "NSE:A|B-INDEX"},
    ],
)
def test_a_broken_row_names_its_line(change: dict[int, str]) -> None:
    with pytest.raises(BrokerProtocolError, match="line 2"):
        rows({}, change)


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"\xff\xfe", b'{"a":1}', b'{"a":', b"[" * 9999, b"{" + b" " * 2**20 + b"}"],
)
def test_a_file_of_something_else_is_refused(content: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        list(parse_masters([io.BytesIO(content)]))


def test_an_empty_file_has_no_rows() -> None:
    assert list(parse_masters([io.BytesIO(b"")])) == []
