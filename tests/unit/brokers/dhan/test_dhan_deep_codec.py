"""Dhan's books of 20 and 200 levels, against the wire specification's vectors."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest

from brokers.dhan.deep_codec import DeepDecoder
from brokers.dhan.values import Disconnection
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick
from tests.unit.brokers.dhan.dhan_vectors import DHAN_DEEP_VECTORS

TOKEN = "NSE_EQ:1333"
FRAMES = {name: bytes.fromhex(text) for name, text in DHAN_DEEP_VECTORS.items()}
BIDS_20 = tuple(DepthLevel(157340 - 5 * at, 100 + at, 1 + at) for at in range(20))
BID, ASK = 41, 51


def side(
    code: int,
    rows: Sequence[tuple[float, int, int]],
    *,
    number: int | None = None,
    security_id: int = 1333,
) -> bytes:
    body = b"".join(struct.pack("<dII", *row) for row in rows)
    count = len(rows) if number is None else number
    return struct.pack("<hBBiI", 12 + len(body), code, 1, security_id, count) + body


def rows(first: float, count: int, step: float = 0.05) -> list[tuple[float, int, int]]:
    return [(first + step * at, 10 + at, 1 + at) for at in range(count)]


def levels(first: int, count: int, step: int = 5) -> tuple[DepthLevel, ...]:
    return tuple(DepthLevel(first + step * at, 10 + at, 1 + at) for at in range(count))


def book(bids: tuple[DepthLevel, ...] | None, asks: tuple[DepthLevel, ...] | None) -> Tick:
    return Tick(
        TOKEN,
        FeedMode.DEPTH,
        100,
        bid_price=bids[0].price if bids else None,
        bid_size=bids[0].quantity if bids else None,
        ask_price=asks[0].price if asks else None,
        ask_size=asks[0].quantity if asks else None,
        bids=bids,
        asks=asks,
    )


def test_the_vectors() -> None:
    assert DeepDecoder(levels=20).decode(FRAMES["bids_20"], 0) == [book(BIDS_20, None)]
    three = tuple(DepthLevel(157340 - 5 * at, 100 + at, 1 + at) for at in range(3))
    assert DeepDecoder(levels=200).decode(FRAMES["bids_200"], 0) == [book(three, None)]


def test_both_sides_of_a_frame_are_one_book() -> None:
    decoder = DeepDecoder(levels=20)
    frame = FRAMES["bids_20"] + side(ASK, rows(1573.7, 20), number=7)
    assert decoder.decode(frame, 0) == [book(BIDS_20, levels(157370, 20))]


def test_a_side_that_comes_alone_joins_the_other_one_of_a_watched_instrument() -> None:
    decoder = DeepDecoder(levels=200)
    bids, asks = side(BID, rows(1573.4, 2)), side(ASK, rows(1573.7, 3))
    decoder.decode(bids, 0)
    assert decoder.decode(asks, 0) == [book(None, levels(157370, 3))], "it was not watched"
    decoder.watch([TOKEN])
    decoder.decode(bids, 0)
    assert decoder.decode(asks, 0) == [book(levels(157340, 2), levels(157370, 3))]
    decoder.forget([TOKEN])
    assert decoder.decode(asks, 0) == [book(None, levels(157370, 3))]
    decoder.watch([TOKEN])
    decoder.decode(bids, 0)
    decoder.clear()
    assert decoder.decode(asks, 0) == [book(None, levels(157370, 3))]


def test_several_instruments_of_a_frame_are_books_of_their_own() -> None:
    frame = (
        side(BID, rows(10.0, 2))
        + side(ASK, rows(11.0, 2))
        + side(BID, rows(20.0, 1), security_id=7)
    )
    first, second = DeepDecoder(levels=200).decode(frame, 0)
    assert isinstance(second, Tick)
    assert (first, second.broker_token) == (book(levels(1000, 2), levels(1100, 2)), "NSE_EQ:7")


@pytest.mark.parametrize("count", [0, 1, 200])
def test_two_hundred_levels_come_in_as_many_rows_as_there_are(count: int) -> None:
    frame = side(BID, rows(100.0, count))
    assert DeepDecoder(levels=200).decode(frame, 0) == [book(levels(10000, count), None)]


def test_missing_levels_are_left_out() -> None:
    frame = side(BID, [*rows(10.0, 2), *[(0.0, 0, 0)] * 18])
    assert DeepDecoder(levels=20).decode(frame, 0) == [book(levels(1000, 2), None)]


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack("<hBBiIH", 14, 50, 0, 0, 0, 807),  # as documented
        struct.pack("<hBBiI", 12, 50, 0, 0, 807),  # as the official client reads it
        struct.pack("<hBBiIH", 14, 50, 0, 0, 807, 807),
    ],
)
def test_the_reason_of_a_disconnection_is_where_either_source_says(packet: bytes) -> None:
    decoder = DeepDecoder(levels=20)
    assert decoder.decode(packet, 0) == [Disconnection(807)]
    tick, ending = decoder.decode(FRAMES["bids_20"] + packet, 0)
    assert (tick, ending) == (book(BIDS_20, None), Disconnection(807))


def test_a_disconnection_without_a_reason_has_none() -> None:
    assert DeepDecoder(levels=20).decode(struct.pack("<hBBiI", 12, 50, 0, 0, 1), 0) == [
        Disconnection(0)
    ]


def test_a_cut_frame_is_refused() -> None:
    decoder = DeepDecoder(levels=20)
    for size in range(332):
        with pytest.raises(BrokerProtocolError):
            decoder.decode(FRAMES["bids_20"][:size], 0)


@pytest.mark.parametrize(
    "frame",
    [
        FRAMES["bids_20"] + b"\0",
        side(BID, rows(10.0, 19)),
        side(BID, rows(10.0, 21)),
        side(42, rows(10.0, 20)),
        struct.pack("<hBBiI", 8, BID, 1, 1, 0),
        struct.pack("<hBBiI", -1, BID, 1, 1, 0),
        side(BID, [(float("nan"), 1, 1), *rows(1.0, 19)]),
        side(BID, [(float("inf"), 1, 1), *rows(1.0, 19)]),
        side(BID, [(1e300, 1, 1), *rows(1.0, 19)]),
        FRAMES["bids_20"][:3] + b"\x09" + FRAMES["bids_20"][4:],
    ],
)
def test_what_breaks_the_layout_is_refused_as_a_whole(frame: bytes) -> None:
    decoder = DeepDecoder(levels=20)
    decoder.watch([TOKEN])
    with pytest.raises(BrokerProtocolError):
        decoder.decode(frame, 0)
    asks = side(ASK, rows(1573.7, 20))
    assert decoder.decode(asks, 0) == [book(None, levels(157370, 20))]


@pytest.mark.parametrize(
    "frame",
    [
        side(BID, rows(10.0, 2), number=3),
        side(BID, rows(10.0, 2), number=1),
        side(BID, rows(10.0, 201)),
        side(BID, (), number=2**32 - 1),
    ],
)
def test_a_number_of_rows_that_is_wrong_is_refused(frame: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        DeepDecoder(levels=200).decode(frame, 0)


def test_other_numbers_of_levels_are_not_offered() -> None:
    with pytest.raises(ValueError, match="20 or 200"):
        DeepDecoder(levels=50)
