"""Angel One's frames and master, byte for byte, against the wire specification's vectors."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from datetime import date

import pytest

from brokers.simulator.angel.encoder import (
    AngelMode,
    AngelName,
    encode_master,
    encode_tick,
    name_of,
)
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Quote
from tests.unit.brokers.angel.angel_vectors import ANGEL_VECTORS

SECOND, VECTOR_MS = 1_700_000_000, 1_700_000_000_123
TIME, OI_CHANGE, CIRCUITS = 35, slice(139, 147), slice(347, 379)
LEVELS = (
    *(Level(-1 - at, 100 + at, 1 + at) for at in range(5)),
    *(Level(1 + at, 200 + at, 2 + at) for at in range(5)),
)


def listed(segment: Segment = Segment.NSE, token: int = 2885, **fields: object) -> ListedInstrument:
    row = {
        "segment": segment,
        "exchange_token": token,
        "tradingsymbol": "RELIANCE",
        "name": "RELIANCE",
        "exchange": segment.name,
        "base_price": 100,
        "tick": 5,
    }
    return ListedInstrument(**(row | fields))  # type: ignore[arg-type]


def quote_of(item: ListedInstrument) -> Quote:
    return Quote(
        instrument=item,
        last_price=245055,
        last_quantity=10,
        average_price=244980,
        volume=1234567,
        total_buy_quantity=11111,
        total_sell_quantity=22222,
        open=244000,
        high=246000,
        low=243500,
        close=244100,
        last_trade_time=SECOND,
        exchange_time=SECOND,
        oi=54321,
        levels=LEVELS,
    )


def vector(name: str) -> bytearray:
    """Return a vector whose exchange time is a whole second, as the market's are."""
    frame = bytearray.fromhex(ANGEL_VECTORS[name])
    at = TIME if name != "depth20" else 27
    assert struct.unpack_from("<q", frame, at) == (VECTOR_MS,)
    struct.pack_into("<q", frame, at, SECOND * 1000)
    return frame


def test_ltp_and_quote_equal_the_vectors_of_the_specification() -> None:
    quote = quote_of(listed())
    assert encode_tick(quote, AngelMode.LTP, 1001) == vector("ltp")
    assert encode_tick(quote, AngelMode.QUOTE, 1002) == vector("quote")


def test_snap_quote_equals_the_vector_but_for_what_the_market_does_not_have() -> None:
    frame = bytearray(encode_tick(quote_of(listed(Segment.NFO, 58662)), AngelMode.SNAP_QUOTE, 1003))
    expected = vector("snap")
    for part in (OI_CHANGE, CIRCUITS):
        frame[part] = expected[part]
    assert frame == expected


def test_twenty_levels_are_five_of_the_market_and_go_on() -> None:
    quote = quote_of(listed())
    frame = encode_tick(quote, AngelMode.DEPTH_20)
    expected = vector("depth20")
    assert len(frame) == len(expected)
    assert frame[:35] == expected[:35]
    assert frame[43:93] == expected[43:93]
    rows = [
        row
        for side in (quote.bids(20), quote.asks(20))
        for row in side + [(0, 0, 0)] * (20 - len(side))
    ]
    assert [struct.unpack_from("<iih", frame, 43 + 10 * at) for at in range(40)] == [
        (quantity, price, orders) for price, quantity, orders in rows
    ]


def test_levels_that_are_not_there_are_zeros() -> None:
    cheap = replace(quote_of(listed()), last_price=8 * listed().tick)
    assert len(cheap.bids(20)) < 20
    frame = encode_tick(cheap, AngelMode.DEPTH_20)
    assert frame[43 + 10 * len(cheap.bids(20)) : 243] == bytes(10 * (20 - len(cheap.bids(20))))


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (listed(), AngelName(1, "2885")),
        (listed(Segment.NFO), AngelName(2, "2885")),
        (listed(Segment.BSE), AngelName(3, "2885")),
        (listed(Segment.BFO), AngelName(4, "2885")),
        (listed(Segment.MCX), AngelName(5, "2885")),
        (listed(Segment.CDS), AngelName(13, "2885")),
        (listed(Segment.BCD), None),
        (listed(Segment.NCO), None),
        (
            listed(Segment.INDICES, exchange="NSE", tradingsymbol="NIFTY 50"),
            AngelName(1, "99926000"),
        ),
        (listed(Segment.INDICES, 7, exchange="BSE"), AngelName(3, "99900007")),
    ],
)
def test_segments_have_their_numbers(item: ListedInstrument, name: AngelName | None) -> None:
    assert name_of(item) == name


def test_what_angel_does_not_have_is_an_error_and_not_in_the_master() -> None:
    item = listed(Segment.BCD)
    with pytest.raises(ValueError, match="RELIANCE"):
        encode_tick(quote_of(item), AngelMode.LTP)
    assert json.loads(encode_master([item])) == []


def test_the_master_is_all_text_with_prices_in_paise() -> None:
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
    index = listed(Segment.INDICES, tradingsymbol="NIFTY 50", name="NIFTY 50", exchange="NSE")
    share, index_row, option_row = json.loads(encode_master([listed(), index, option]))
    assert share == {
        "token": "2885",
        "symbol": "RELIANCE-EQ",
        "name": "RELIANCE",
        "expiry": "",
        "strike": "-1.000000",
        "lotsize": "1",
        "instrumenttype": "",
        "exch_seg": "NSE",
        "tick_size": "5.000000",
    }
    assert (index_row["symbol"], index_row["instrumenttype"]) == ("Nifty 50", "AMXIDX")
    assert option_row["symbol"] == "NIFTY28MAR2420800CE"
    assert (option_row["expiry"], option_row["strike"]) == ("28MAR2024", "2080000.000000")
    assert (option_row["instrumenttype"], option_row["exch_seg"]) == ("OPTIDX", "NFO")
