"""Searches over instruments, in the order that a trader expects."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from brokers.types import InstrumentRow
from pooling.instruments.loader import store_instruments
from pooling.instruments.search import search_instruments
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


def found(text: str, brokers: tuple[str, ...] = ("zerodha",), **options: Any) -> list[str]:
    rows = search_instruments(brokers, text, **options)
    return [row["symbol"] for row in rows]


def test_exact_then_shares_then_futures_then_options_nearest_first() -> None:
    assert found("nifty") == [
        "NIFTY",
        "NIFTYBEES",
        "SETFNIF50",
        "NIFTY24NOV26FUT",
        "NIFTY29DEC26FUT",
        "NIFTYNXT5024NOV26FUT",
        "NIFTY24NOV2624100CE",
        "NIFTY24NOV2624000CE",
        "NIFTY24NOV2624000PE",
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
        ("24000 nifty CE", ["NIFTY24NOV2624000CE", "NIFTY29DEC2624000CE"]),
        ("ce 24000 NIFTY", ["NIFTY24NOV2624000CE", "NIFTY29DEC2624000CE"]),
        ("24000 call", ["NIFTY24NOV2624000CE", "NIFTY29DEC2624000CE"]),
        ("24100 CE", ["NIFTY24NOV2624100CE"]),
        ("24100CE", ["NIFTY24NOV2624100CE"]),
        ("24100", ["NIFTY24NOV2624100CE"]),
        ("NIFTY24100CE", ["NIFTY24NOV2624100CE"]),
        ("nifty24100", ["NIFTY24NOV2624100CE"]),
        ("NIFTY 24100CE", ["NIFTY24NOV2624100CE"]),
        ("NIFTY 241", ["NIFTY24NOV2624100CE"]),
        ("NIFTY PE", ["NIFTY24NOV2624000PE"]),
        ("puts nifty", ["NIFTY24NOV2624000PE"]),
        ("fut nifty", ["NIFTY24NOV26FUT", "NIFTY29DEC26FUT", "NIFTYNXT5024NOV26FUT"]),
        ("NIFTYFUT", ["NIFTY24NOV26FUT", "NIFTY29DEC26FUT", "NIFTYNXT5024NOV26FUT"]),
        ("NIFTY dec FUT", ["NIFTY29DEC26FUT"]),
        (
            "NIFTY OPT",
            [
                "NIFTY24NOV2624100CE",
                "NIFTY24NOV2624000CE",
                "NIFTY24NOV2624000PE",
                "NIFTY29DEC2624000CE",
            ],
        ),
        ("bees nifty", ["NIFTYBEES"]),
        ("nifty bees etf", ["NIFTYBEES"]),
        ("NIFTY 50", ["NIFTY", "SETFNIF50", "NIFTYNXT5024NOV26FUT"]),
        ("nifty nfo fut", ["NIFTY24NOV26FUT", "NIFTY29DEC26FUT", "NIFTYNXT5024NOV26FUT"]),
        ("NIFTY bse", []),
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


@pytest.fixture
def chains() -> None:
    """Give NIFTY four weeks and two months of strikes; a share trades at both exchanges."""
    days = ("2026-11-24", "2026-12-01", "2026-12-08", "2026-12-29", "2027-01-26")
    rows = [
        derivative(f"NIFTY{stamp(day)}{strike}{side}", day, side, str(strike))
        for day in days
        for strike in range(23_000, 25_050, 50)
        for side in ("CE", "PE")
    ]
    rows += [
        msgspec.structs.replace(
            derivative(f"RELIANCE{stamp(day)}{strike}CE", day, "CE", str(strike)), exchange=exchange
        )
        for exchange, day in (("BFO", "2026-11-24"), ("NFO", "2026-11-26"))
        for strike in range(1_000, 1_500, 20)
    ]
    rows += [cash("RELIANCE", "RELIANCE INDUSTRIES", exchange) for exchange in ("BSE", "NSE")]
    rows += [cash("TCS", "TATA CONSULTANCY", exchange) for exchange in ("BSE", "NSE")]
    rows += [cash("BSEAUTO", "AUTO", "BSE_INDEX", "INDEX"), cash("NIFTY", "NIFTY 50", "NSE_INDEX")]
    rows = [
        msgspec.structs.replace(row, broker_token=f"{row.exchange}|{row.symbol}") for row in rows
    ]
    store_instruments("zerodha", rows, today=TODAY, is_forced=True)


def stamp(day: str) -> str:
    months = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
    year, month, number = day.split("-")
    return f"{number}{months[int(month) - 1]}{year[2:]}"


def at_market(price: float) -> dict[str, Any]:
    """Let the pool know the price of NIFTY."""
    return {"prices": lambda keys: {key: price for key in keys if key.symbol == "NIFTY"}}


@pytest.mark.usefixtures("chains")
def test_strikes_begin_at_the_last_price_and_go_outwards() -> None:
    assert found("NIFTY CE", limit=5, **at_market(24_130.0)) == [
        "NIFTY24NOV2624150CE",
        "NIFTY24NOV2624100CE",
        "NIFTY24NOV2624200CE",
        "NIFTY24NOV2624050CE",
        "NIFTY24NOV2624250CE",
    ]
    assert found("NIFTY OPT", limit=3, **at_market(23_000.0)) == [
        "NIFTY24NOV2623000CE",
        "NIFTY24NOV2623000PE",
        "NIFTY24NOV2623050CE",
    ]


@pytest.mark.usefixtures("chains")
def test_strikes_begin_in_the_middle_where_no_price_is_known() -> None:
    assert found("NIFTY CE", limit=3) == [
        "NIFTY24NOV2624000CE",
        "NIFTY24NOV2623950CE",
        "NIFTY24NOV2624050CE",
    ]


@pytest.mark.usefixtures("chains")
def test_a_strike_comes_with_each_expiry_the_nearest_first() -> None:
    for text in ("24100 CE", "24100 NIFTY CE", "NIFTY24100CE", "NIFTY 24100 CE"):
        assert found(text, limit=5) == [
            "NIFTY24NOV2624100CE",
            "NIFTY01DEC2624100CE",
            "NIFTY08DEC2624100CE",
            "NIFTY29DEC2624100CE",
            "NIFTY26JAN2724100CE",
        ], text


@pytest.mark.usefixtures("chains")
def test_weekly_and_monthly_expiries() -> None:
    def days(text: str) -> list[str]:
        rows = search_instruments(["zerodha"], text, limit=1000)
        return sorted({row["expiry"].isoformat() for row in rows})

    assert days("NIFTY WEEKLY") == ["2026-12-01", "2026-12-08"]
    assert days("monthly nifty") == ["2026-11-24", "2026-12-29", "2027-01-26"]
    assert days("NIFTY WEEKLY 24100 CE") == ["2026-12-01", "2026-12-08"]
    assert found("NIFTY WEEKLY", limit=1, **at_market(24_101.0)) == ["NIFTY01DEC2624100CE"]


@pytest.mark.usefixtures("chains")
def test_nse_comes_before_bse_and_a_preferred_exchange_before_both() -> None:
    def first(text: str, **options: Any) -> tuple[str, str]:
        (row,) = search_instruments(["zerodha"], text, limit=1, **options)
        return row["exchange"], row["symbol"]

    for symbol in ("RELIANCE", "TCS"):
        assert first(symbol) == ("NSE", symbol)
        assert first(symbol[:3]) == ("NSE", symbol)
        assert first(symbol, preferred="BSE") == ("BSE", symbol)
        assert first(f"{symbol} bse") == ("BSE", symbol)
    assert first("consultancy") == ("NSE", "TCS")
    assert first("RELIANCE CE") == ("NFO", "RELIANCE26NOV261240CE"), "BFO expires earlier"
    assert first("RELIANCE CE", preferred="BSE")[0] == "BFO"
    assert first("RELIANCE bse CE")[0] == "BFO"
    assert first("RELIANCE bfo")[0] == "BFO"


@pytest.mark.usefixtures("chains")
def test_an_index_is_found_by_what_its_exchange_calls_it() -> None:
    assert found("AUTO")[0] == "BSEAUTO"
    assert found("AUTO", exchange="BSE_INDEX") == ["BSEAUTO"]
    assert found("nifty50", exchange="NSE_INDEX") == ["NIFTY"]


@pytest.mark.usefixtures("chains")
def test_expiry_strike_and_kind_stand_apart() -> None:
    (row,) = search_instruments(["zerodha"], "NIFTY 24100 PE", limit=1)
    assert (row["underlying"], row["instrument_type"]) == ("NIFTY", "PE")
    assert (row["expiry"], row["strike"]) == (date(2026, 11, 24), 24_100.0)


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
