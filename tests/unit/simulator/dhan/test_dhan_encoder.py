"""Dhan's packets and master, byte for byte, against the wire specification's vectors."""

from __future__ import annotations

import csv
import struct
from collections.abc import Callable
from datetime import date

import pytest

from brokers.simulator.dhan import encoder
from brokers.simulator.dhan.encoder import DhanName, encode_book, encode_master, name_of
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Quote
from tests.unit.brokers.dhan.dhan_vectors import DHAN_DEEP_VECTORS, DHAN_VECTORS

SECOND = 1_700_000_000
# Of the vectors: bids from 1573.40 downwards, asks from 1573.70 upwards, in ticks from the last.
LEVELS = (
    *(Level(-6 - at, 100 + at, 1 + at) for at in range(5)),
    *(Level(at, 200 + at, 2 + at) for at in range(5)),
)


def listed(segment: Segment = Segment.NSE, token: int = 1333, **fields: object) -> ListedInstrument:
    row = {
        "segment": segment,
        "exchange_token": token,
        "tradingsymbol": "HDFCBANK",
        "name": "HDFCBANK",
        "exchange": segment.name,
        "base_price": 100,
        "tick": 5,
    }
    return ListedInstrument(**(row | fields))  # type: ignore[arg-type]


def quote_of(item: ListedInstrument) -> Quote:
    return Quote(
        instrument=item,
        last_price=157370,
        last_quantity=7,
        average_price=157037,
        volume=1192471,
        total_buy_quantity=256443,
        total_sell_quantity=363009,
        open=156915,
        high=157500,
        low=156105,
        close=156780,
        last_trade_time=SECOND,
        exchange_time=SECOND,
        oi=54321,
        oi_day_high=60000,
        oi_day_low=50000,
        levels=LEVELS,
    )


def vector(name: str, close_at: int | None = None) -> bytes:
    """Return a vector, without its close: before the market has closed there is none."""
    frame = bytearray.fromhex(DHAN_VECTORS[name])
    if close_at is not None:
        struct.pack_into("<f", frame, close_at, 0.0)
    return bytes(frame)


@pytest.mark.parametrize(
    ("encode", "expected"),
    [
        (lambda quote: encoder.encode_ticker(quote, ahead_seconds=0), vector("ticker")),
        (encoder.encode_previous_close, vector("prev_close")),
        (lambda quote: encoder.encode_quote(quote, ahead_seconds=0), vector("quote", 38)),
        (lambda quote: encoder.encode_full(quote, ahead_seconds=0), vector("full", 50)),
        (encoder.encode_version_1_depth, vector("market_depth_v1")),
        (lambda quote: encoder.encode_status(), vector("status")),
        (lambda quote: encoder.encode_disconnection(805), vector("disconnect")),
    ],
)
def test_packets_equal_the_vectors(encode: Callable[[Quote], bytes], expected: bytes) -> None:
    assert encode(quote_of(listed())) == expected


def test_open_interest_equals_its_vector() -> None:
    item = listed(Segment.NFO, 58662)
    assert encoder.encode_open_interest(quote_of(item)) == vector("oi")


def test_a_trades_time_is_indian_by_default() -> None:
    ours = encoder.encode_ticker(quote_of(listed()))
    (traded,) = struct.unpack_from("<I", ours, 12)
    assert traded == SECOND + 19_800


def test_a_deep_book_is_five_rows_of_200_and_twenty_of_20() -> None:
    quote = quote_of(listed())
    short = encode_book(quote, 200)
    assert struct.unpack_from("<hBBiI", short) == (92, 41, 1, 1333, 5)
    assert struct.unpack_from("<hBBiI", short, 92) == (92, 51, 1, 1333, 5)
    assert rows(short[12:92])[:3] == rows(bytes.fromhex(DHAN_DEEP_VECTORS["bids_200"])[12:])
    long = encode_book(quote, 20)
    assert len(long) == 2 * 332
    expected = bytes.fromhex(DHAN_DEEP_VECTORS["bids_20"])
    assert rows(long[12:332]) == rows(expected[12:])[:5] + [(0.0, 0, 0)] * 15


def rows(body: bytes) -> list[tuple[float, int, int]]:
    """Return the rows of a side; the vectors' prices are sums of floats."""
    return [(round(price, 2), *rest) for price, *rest in struct.iter_unpack("<dII", body)]


def test_the_end_of_a_deep_book_has_its_reason_in_both_places() -> None:
    packet = encoder.encode_deep_disconnection(807)
    assert struct.unpack("<hBBiIH", packet) == (14, 50, 0, 0, 807, 807)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (listed(), DhanName("NSE_EQ", "1333", 1)),
        (listed(Segment.NFO), DhanName("NSE_FNO", "1333", 2)),
        (listed(Segment.CDS), DhanName("NSE_CURRENCY", "1333", 3)),
        (listed(Segment.BSE), DhanName("BSE_EQ", "1333", 4)),
        (listed(Segment.MCX), DhanName("MCX_COMM", "1333", 5)),
        (listed(Segment.BCD), DhanName("BSE_CURRENCY", "1333", 7)),
        (listed(Segment.BFO), DhanName("BSE_FNO", "1333", 8)),
        (listed(Segment.NCO), None),
        (
            listed(Segment.INDICES, exchange="NSE", tradingsymbol="NIFTY 50"),
            DhanName("IDX_I", "13", 0),
        ),
        (listed(Segment.INDICES, 7, exchange="BSE"), DhanName("IDX_I", "7", 0)),
    ],
)
def test_segments_have_their_names_and_numbers(
    item: ListedInstrument, name: DhanName | None
) -> None:
    assert name_of(item) == name


def test_what_dhan_does_not_have_is_an_error_and_not_in_the_master() -> None:
    item = listed(Segment.NCO)
    with pytest.raises(ValueError, match="HDFCBANK"):
        encoder.encode_ticker(quote_of(item))
    assert encode_master([item]).count(b"\n") == 1


def test_the_master_is_the_compact_one() -> None:
    option = listed(
        Segment.NFO,
        58662,
        tradingsymbol="NIFTY24MAR20800CE",
        name="NIFTY",
        expiry=date(2024, 3, 28),
        strike=20800.0,
        instrument_type="CE",
        lot_size=50,
    )
    index = listed(
        Segment.INDICES, tradingsymbol="NIFTY 50", name="NIFTY 50", exchange="NSE", tick=1
    )
    text = encode_master([listed(), index, option]).decode()
    share, index_row, option_row = csv.DictReader(text.splitlines())
    assert (share["SEM_EXM_EXCH_ID"], share["SEM_SEGMENT"]) == ("NSE", "E")
    assert (share["SEM_SMST_SECURITY_ID"], share["SEM_TICK_SIZE"]) == ("1333", "5.0000")
    assert (share["SEM_TRADING_SYMBOL"], share["SEM_SERIES"]) == ("HDFCBANK", "EQ")
    assert (index_row["SEM_TRADING_SYMBOL"], index_row["SEM_TICK_SIZE"]) == ("NIFTY", "0.0100")
    assert option_row["SEM_TRADING_SYMBOL"] == "NIFTY-Mar2024-20800-CE"
    assert option_row["SEM_EXPIRY_DATE"] == "2024-03-28 14:30:00"
    assert (option_row["SEM_STRIKE_PRICE"], option_row["SEM_OPTION_TYPE"]) == ("20800.00000", "CE")
