"""Searches over instruments, in the order that a trader expects."""

from __future__ import annotations

from datetime import date

import pytest

from brokers.types import InstrumentRow
from pooling.instrument_search import search_instruments
from pooling.instruments import store_instruments
from pooling.models import SearchTier

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 21)


def cash(symbol: str, name: str = "", exchange: str = "NSE", kind: str = "EQ") -> InstrumentRow:
    return InstrumentRow(exchange, symbol, symbol, symbol, name, "", "", "1", "0.05", kind)


def derivative(symbol: str, expiry: str, kind: str, strike: str = "") -> InstrumentRow:
    return InstrumentRow("NFO", symbol, symbol, symbol, "", expiry, strike, "50", "0.05", kind)


@pytest.fixture(autouse=True)
def instruments() -> None:
    rows = [
        derivative("NIFTYNXT5024NOV26FUT", "2026-11-24", "FUT"),
        derivative("NIFTY29DEC26FUT", "2026-12-29", "FUT"),
        derivative("NIFTY24NOV26FUT", "2026-11-24", "FUT"),
        derivative("NIFTY29DEC2624000CE", "2026-12-29", "CE", "24000"),
        derivative("NIFTY24NOV2624100CE", "2026-11-24", "CE", "24100"),
        derivative("NIFTY24NOV2624000PE", "2026-11-24", "PE", "24000"),
        derivative("NIFTY24NOV2624000CE", "2026-11-24", "CE", "24000"),
        derivative("NIFTY20NOV2624000CE", "2026-11-20", "CE", "24000"),
        cash("NIFTYBEES", "NIPPON INDIA ETF NIFTY BEES"),
        cash("NIFTY", "NIFTY 50", "NSE_INDEX", "INDEX"),
        cash("SETFNIF50", "SBI ETF NIFTY 50"),
        cash("HDFCBANK", "HDFC BANK"),
        cash("BANKBARODA", "BANK OF BARODA"),
    ]
    store_instruments("zerodha", rows, today=TODAY)
    store_instruments("binance", [cash("NIFTYUSDT", "NIFTY/USDT", "BINANCE", "SPOT")])


def found(text: str, brokers: tuple[str, ...] = ("zerodha",), **options: object) -> list[str]:
    rows = search_instruments(brokers, text, **options)  # type: ignore[arg-type]
    return [row["symbol"] for row in rows]


def test_exact_then_shares_then_futures_then_options_nearest_first() -> None:
    assert found("nifty") == [
        "NIFTY",
        "NIFTYBEES",
        "SETFNIF50",
        "NIFTY24NOV26FUT",
        "NIFTY29DEC26FUT",
        "NIFTYNXT5024NOV26FUT",
        "NIFTY24NOV2624000CE",
        "NIFTY24NOV2624000PE",
        "NIFTY24NOV2624100CE",
        "NIFTY29DEC2624000CE",
    ]


@pytest.mark.parametrize(
    ("text", "symbols"),
    [
        ("NIFTY FUT", ["NIFTY24NOV26FUT", "NIFTY29DEC26FUT", "NIFTYNXT5024NOV26FUT"]),
        ("NIFTY 24000 CE", ["NIFTY24NOV2624000CE", "NIFTY29DEC2624000CE"]),
        ("nifty dec 24000", ["NIFTY29DEC2624000CE"]),
        ("NIFTYNXT50", ["NIFTYNXT5024NOV26FUT"]),
        ("NIFTY24NOV2624000PE", ["NIFTY24NOV2624000PE"]),
        ("bank", ["BANKBARODA", "HDFCBANK"]),
        ("bank hdfc", ["HDFCBANK"]),
        ("etf", ["NIFTYBEES", "SETFNIF50"]),
        ("EE", []),
        ("%", []),
        ("NIFTY20NOV2624000CE", []),
    ],
)
def test_words_narrow_and_names_are_found_by_the_begin_of_a_word(
    text: str, symbols: list[str]
) -> None:
    assert sorted(found(text)) == sorted(symbols)
    if "NIFTY" in text:
        assert found(text) == symbols


def test_several_brokers_are_one_list() -> None:
    assert found("nifty", ("zerodha", "binance"), limit=3) == ["NIFTY", "NIFTYBEES", "NIFTYUSDT"]
    assert found("nifty usdt", ("zerodha",)) == []


def test_an_exchange_and_a_limit_narrow() -> None:
    assert found("nifty", exchange="NFO", limit=2) == ["NIFTY24NOV26FUT", "NIFTY29DEC26FUT"]
    assert len(found("", limit=5)) == 5


def test_a_renamed_share_is_found_by_its_new_words_only() -> None:
    rows = [cash("HDFCBANK", "HOUSING DEVELOPMENT"), *(cash(f"X{n}") for n in range(9))]
    store_instruments("zerodha", rows, today=TODAY)
    assert found("housing") == ["HDFCBANK"]
    assert found("bank") == []
    assert SearchTier.of("CE") is SearchTier.OPTION
