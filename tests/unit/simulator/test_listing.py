"""The local exchange's instruments master."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokers.simulator.listing import CSV_HEADER, Segment, build_listing, expiry_code, to_csv

TODAY = date(2026, 1, 5)

KNOWN = {
    ("NSE", "RELIANCE"): 738561,
    ("NSE", "TCS"): 2953217,
    ("NSE", "INFY"): 408065,
    ("NSE", "SBIN"): 779521,
    ("NSE", "HDFCBANK"): 341249,
    ("NSE", "ICICIBANK"): 1270529,
    ("NSE", "ITC"): 424961,
    ("NSE", "NIFTY 50"): 256265,
    ("NSE", "NIFTY BANK"): 260105,
    ("BSE", "RELIANCE"): 128083204,
    ("BSE", "SENSEX"): 265,
}


def test_there_are_ten_thousand_instruments_with_kites_own_tokens():
    listing = build_listing(today=TODAY)
    by_name = {(item.exchange, item.tradingsymbol): item.instrument_token for item in listing}
    assert len(listing) == len(by_name) == len(set(by_name.values())) == 10_000
    assert KNOWN.items() <= by_name.items()


def test_every_segment_and_so_every_price_divisor_is_listed():
    counts = Counter(item.segment for item in build_listing(today=TODAY))
    assert set(counts) == set(Segment)
    assert {segment: segment.price_scale for segment in Segment if segment.price_scale != 100} == {
        Segment.CDS: 10_000_000,
        Segment.BCD: 10_000,
        Segment.NCO: 10_000,
    }


@settings(max_examples=40, deadline=None)
@given(st.dates(date(2000, 1, 1), date(2090, 1, 1)))
def test_all_expiries_are_ahead_and_symbols_unique_on_any_day(today: date):
    listing = build_listing(today=today, size=2_000)
    assert all(item.expiry is None or item.expiry > today for item in listing)
    assert len({(item.exchange, item.tradingsymbol) for item in listing}) == 2_000


@pytest.mark.parametrize(
    ("expiry", "code"),
    [
        (date(2026, 1, 6), "26106"),
        (date(2026, 1, 27), "26JAN"),
        (date(2026, 10, 6), "26O06"),
        (date(2026, 11, 10), "26N10"),
        (date(2024, 12, 5), "24D05"),
        (date(2024, 12, 26), "24DEC"),
    ],
)
def test_expiries_are_spelt_as_kite_does(expiry: date, code: str):
    assert expiry_code(expiry) == code


def test_csv_has_kites_header_and_rows_that_read_back():
    listing = build_listing(today=TODAY)
    text = to_csv(listing)
    assert text.splitlines()[0] == CSV_HEADER
    rows = list(csv.DictReader(io.StringIO(text)))
    for item, row in zip(listing, rows, strict=True):
        scale = item.segment.price_scale
        assert int(row["instrument_token"]) == int(row["exchange_token"]) * 256 + item.segment
        assert round(float(row["tick_size"]) * scale) == item.tick
        assert float(row["strike"]) == item.strike
        assert row["expiry"] == (item.expiry.isoformat() if item.expiry else "")
    rows_by_symbol = {row["tradingsymbol"]: row for row in rows}
    assert rows_by_symbol["NIFTY 50"]["segment"] == "INDICES"
    assert rows_by_symbol["NIFTY26JANFUT"]["segment"] == "NFO-FUT"
    assert rows_by_symbol["NIFTY26JAN24100CE"]["segment"] == "NFO-OPT"
    assert rows_by_symbol["ITC26JAN472.5PE"]["strike"] == "472.5"
    assert rows_by_symbol["USDINR26JANFUT"]["tick_size"] == "0.0025"


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_impossible_sizes_are_refused(size: int):
    with pytest.raises(ValueError, match="size must be at"):
        build_listing(today=TODAY, size=size)
