"""The local exchange's own encoder, against the wire spec's vectors."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Quote
from brokers.simulator.upstox.encoder import (
    FrameType,
    MarketStatus,
    UpstoxMode,
    encode_feed,
    encode_frame,
    encode_market_info,
    key_of,
)
from tests.unit.brokers.upstox.upstox_vectors import UPSTOX_VECTORS

OPTION = ListedInstrument(
    segment=Segment.NFO,
    exchange_token=45450,
    tradingsymbol="NIFTY24MAR20800CE",
    name="NIFTY",
    exchange="NFO",
    base_price=1,
    tick=5,
    instrument_type="CE",
    expiry=date(2024, 3, 28),
    strike=20800.0,
    lot_size=75,
)
QUOTE = Quote(
    instrument=OPTION,
    last_price=21930,
    open=0,
    high=0,
    low=0,
    close=49405,
    last_quantity=75,
    last_trade_time=1_740_729_552,
    levels=(Level(0, 0, 0),) * 10,
)


def test_the_vector_of_the_markets() -> None:
    statuses = {"MCX_FO": MarketStatus.NORMAL_CLOSE, "NSE_EQ": MarketStatus.NORMAL_OPEN}
    frame = encode_market_info(statuses, 1_732_775_008_661)
    assert frame.hex() == UPSTOX_VECTORS["market_info"]


def test_the_vector_of_ltpc() -> None:
    """All but the milliseconds of the last trade, of which the market knows none."""
    feed = encode_feed(QUOTE, UpstoxMode.LTPC)
    frame = encode_frame(FrameType.LIVE_FEED, {key_of(OPTION): feed}, 1_740_729_566_039)
    assert len(frame) == len(UPSTOX_VECTORS["ltpc"]) // 2
    stamp = b"\x10\xd3\x9e\xc4\xdc\xd4\x32"  # 1740729552723
    ours = b"\x10\x80\x99\xc4\xdc\xd4\x32"
    assert frame.replace(ours, stamp).hex() == UPSTOX_VECTORS["ltpc"]


def test_zeros_are_left_out() -> None:
    silent = replace(QUOTE, last_price=0, close=0, last_quantity=0, last_trade_time=0)
    assert encode_feed(silent, UpstoxMode.LTPC) == b"\n\x00"
    assert encode_frame(FrameType.INITIAL_FEED, {}, 0) == b""


@pytest.mark.parametrize(
    ("item", "key"),
    [
        (OPTION, "NSE_FO|45450"),
        (replace(OPTION, segment=Segment.CDS), "NCD_FO|45450"),
        (replace(OPTION, segment=Segment.NCO), "NSE_COM|45450"),
        (
            replace(OPTION, segment=Segment.INDICES, tradingsymbol="NIFTY 50", exchange="NSE"),
            "NSE_INDEX|Nifty 50",
        ),
        (
            replace(OPTION, segment=Segment.INDICES, tradingsymbol="SENSEX", exchange="BSE"),
            "BSE_INDEX|SENSEX",
        ),
        (replace(OPTION, segment=Segment.BSE), "BSE_EQ|INE000045450"),
    ],
)
def test_keys(item: ListedInstrument, key: str) -> None:
    assert key_of(item) == key
