"""Kite's packets, byte for byte, against the wire specification and Zerodha's own packets."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Quote
from brokers.simulator.zerodha.encoder import Mode, encode_frame, encode_packet
from tests.support import SHARED_DATA

SECOND = 1_625_461_887  # 2021-07-05 05:11:27 UTC
FULL = (
    "000100b800063a01000266ba000000070002656d001232170003e9bb00058a01000264f30002673c000261c9000264"
    "6c60e2947f00000000000000000000000060e2947f000000050002669c000100000000008c00026674000200000000"
    "00020002666f00010000000000db0002666a00070000000000320002666500010000000000ac000266ba0003000000"
    "00002c000266bf000300000000012e000266c9000300000000008d000266ce00020000000002d4000266d300050000"
)


def instrument(segment: Segment, exchange_token: int, tick: int = 5) -> ListedInstrument:
    return ListedInstrument(
        segment=segment,
        exchange_token=exchange_token,
        tradingsymbol="X",
        name="X",
        exchange="X",
        base_price=100,
        tick=tick,
    )


def priced(item: ListedInstrument, price: int, **fields: Any) -> Quote:
    defaults = {"open": price, "high": price, "low": price, "close": price}
    return Quote(instrument=item, last_price=price, **(defaults | fields))


INFY = priced(
    instrument(Segment.NSE, 1594),
    157370,
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
    levels=(
        *(Level(-6, 5, 1), Level(-14, 140, 2), Level(-15, 2, 1), Level(-16, 219, 7)),
        *(Level(-17, 50, 1), Level(0, 172, 3), Level(1, 44, 3), Level(3, 302, 3)),
        *(Level(4, 141, 2), Level(5, 724, 5)),
    ),
)
NIFTY_50 = priced(
    instrument(Segment.INDICES, 1001, tick=1),
    2345675,
    open=2340000,
    high=2350000,
    low=2330010,
    close=2338000,
    exchange_time=SECOND,
)


@pytest.mark.parametrize(
    ("quote", "mode", "frame"),
    [
        (INFY, Mode.LTP, "0001000800063a01000266ba"),
        (
            INFY,
            Mode.QUOTE,
            "0001002c00063a01000266ba000000070002656d001232170003e9bb00058a01000264f30002673c"
            "000261c90002646c",
        ),
        (INFY, Mode.FULL, FULL),
        (
            NIFTY_50,
            Mode.QUOTE,
            "0001001c0003e9090023cacb0023dbb000238d9a0023b4a00023acd000001dfb",
        ),
        (
            NIFTY_50,
            Mode.FULL,
            "000100200003e9090023cacb0023dbb000238d9a0023b4a00023acd000001dfb60e2947f",
        ),
        (priced(instrument(Segment.CDS, 9999), 832_575_000), Mode.LTP, "0001000800270f0331a01618"),
        (priced(instrument(Segment.BCD, 9999), 832_575), Mode.LTP, "0001000800270f06000cb43f"),
        (priced(instrument(Segment.NCO, 9999), 1_234_500), Mode.LTP, "0001000800270f0c0012d644"),
    ],
    ids=["ltp", "quote", "full", "index-quote", "index-full", "cds", "bcd", "nco"],
)
def test_frames_equal_the_vectors_of_the_specification(quote: Quote, mode: Mode, frame: str):
    assert encode_frame([encode_packet(quote, mode)]).hex() == frame


def test_index_change_is_signed():
    falling = priced(NIFTY_50.instrument, 1_000, close=1_036)
    assert encode_packet(falling, Mode.QUOTE)[-4:] == b"\xff\xff\xff\xdc"


def test_a_frame_counts_its_packets():
    packets = [encode_packet(INFY, Mode.LTP), encode_packet(NIFTY_50, Mode.QUOTE)]
    frame = encode_frame(packets)
    assert frame[:2] == b"\x00\x02"
    assert frame[2:] == b"".join(packets)


def test_a_value_beyond_32_bits_is_an_error_and_not_a_wrong_packet():
    with pytest.raises(struct.error):
        encode_packet(priced(INFY.instrument, 2**32), Mode.LTP)


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="recorded data is not here")
def test_full_packet_equals_the_one_that_zerodha_publishes():
    published = base64.b64decode((SHARED_DATA / "kite_ticker_full.packet").read_bytes())
    assert encode_packet(INFY, Mode.FULL)[2:] == published[-184:]
