"""Fyers' frames: the wire spec's vectors, and what a decoder may and may not remember."""

from __future__ import annotations

import struct

import pytest

from brokers.exceptions import BrokerProtocolError
from brokers.fyers.answers import CustomMessage, Reply
from brokers.fyers.codec import Data, FyersDecoder
from brokers.fyers.requests import encode_ack, encode_auth, encode_mode, encode_topics
from brokers.types import DepthLevel, FeedMode, Tick
from tests.unit.brokers.fyers.fyers_frames import NONE, data, lite, snapshot, update
from tests.unit.brokers.fyers.fyers_vectors import FYERS_REQUESTS, FYERS_VECTORS

SBIN, NIFTY = "sf|nse_cm|3045", "if|nse_cm|Nifty 50"
BOOK = "dp|nse_cm|3045"
FRAMES = {name: bytes.fromhex(text) for name, text in FYERS_VECTORS.items()}
FEED = (*range(100, 112), 700, *range(113, 121))
LEVELS = (*range(95, 85, -1), *range(201, 221))


def decoder(mode: FeedMode = FeedMode.QUOTE, *tokens: str) -> FyersDecoder:
    made = FyersDecoder()
    for token in tokens or (SBIN,):
        made.track(token, mode)
    return made


def ticks(made: FyersDecoder, *records: bytes) -> list[Tick]:
    message = made.decode(data(*records))
    assert isinstance(message, Data)
    return message.ticks


def test_the_snapshot_vector() -> None:
    message = decoder(FeedMode.QUOTE, SBIN, NIFTY).decode(FRAMES["feed_snapshot"])
    assert message == Data(
        1,
        [
            Tick(
                SBIN,
                FeedMode.QUOTE,
                100,
                ltp=73140,
                ltt_ms=1_704_273_001_000,
                ts_event_ms=1_704_273_002_000,
                open=73140,
                high=73440,
                low=72490,
                close=73045,
                volume=23_491_195,
                last_trade_quantity=2,
                avg_trade_price=73059,
                oi=0,
                bid_price=73130,
                ask_price=73140,
                bid_size=300,
                ask_size=37,
                total_buy_quantity=28_301_400,
                total_sell_quantity=11_084_300,
            ),
            Tick(
                NIFTY,
                FeedMode.QUOTE,
                100,
                ltp=2_345_675,
                ts_event_ms=1_704_273_002_000,
                open=2_340_000,
                high=2_350_000,
                low=2_330_010,
                close=2_338_000,
            ),
        ],
        0,
    )


def test_the_depth_vector_is_one_tick_with_the_feed() -> None:
    made = decoder(FeedMode.DEPTH)
    made.decode(data(snapshot(SBIN, (73140, *FEED[1:]), number=9)))
    message = made.decode(FRAMES["feed_depth"])
    assert isinstance(message, Data)
    (tick,) = message.ticks
    assert (tick.mode, tick.ltp, tick.volume, tick.oi) == (FeedMode.DEPTH, 73140, 101, 700)
    assert tick.bids == tuple(DepthLevel(73130 - 5 * at, 100 + at, 1 + at) for at in range(5))
    assert tick.asks == tuple(DepthLevel(73140 + 5 * at, 200 + at, 6 + at) for at in range(5))
    assert (tick.bid_price, tick.bid_size, tick.ask_price, tick.ask_size) == (
        *(73130, 100, 73140, 200),
    )


def test_the_update_and_lite_vectors_change_what_was_before() -> None:
    made = decoder(FeedMode.QUOTE, SBIN, NIFTY)
    made.decode(FRAMES["feed_snapshot"])
    message = made.decode(FRAMES["feed_update"])
    assert isinstance(message, Data)
    share, index = message.ticks
    assert (share.ltp, share.volume, share.bid_price) == (73150, 23_491_200, 73130)
    assert (share.ltt_ms, share.ts_event_ms) == (1_704_273_003_000, 1_704_273_004_000)
    assert (index.ltp, index.high) == (2_345_700, 2_350_000)
    message = made.decode(FRAMES["feed_lite"])
    assert message == Data(4, [Tick(SBIN, FeedMode.LTP, 100, ltp=73160)], 0)
    assert isinstance(message, Data)
    assert message.ticks[0].mode is FeedMode.LTP, "a 1 would be equal"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("auth_ok", Reply(1, "K", 2)),
        ("auth_bad", Reply(1, "N", 0)),
        ("sub_ok", Reply(4, "K")),
        ("unsub_ok", Reply(5, "K")),
        ("mode_ok", Reply(12, "K")),
        ("custom_51", CustomMessage(51001, "Symbol limit exceeded", 4)),
    ],
)
def test_the_vectors_of_answers(name: str, meant: Reply | CustomMessage) -> None:
    assert decoder().decode(FRAMES[name]) == meant


def test_requests_are_those_of_the_official_client_but_for_its_wrong_lengths() -> None:
    ours = {
        "auth": encode_auth("HSMKEY123", "PythonSDK-3.2.0"),
        "full": encode_mode(11, is_lite=False),
        "lite": encode_mode(11, is_lite=True),
        "subscribe": encode_topics([SBIN, NIFTY], 11),
        "ack": encode_ack(2),
    }
    for name, frame in ours.items():
        assert frame[2:].hex() == FYERS_REQUESTS[name][4:]
        assert int.from_bytes(frame[:2], "big") == len(frame) - 2
    end = encode_topics([SBIN], 11, is_end=True)
    assert end[2] == 5
    assert end[3:] == encode_topics([SBIN], 11)[3:]


def test_an_echo_of_our_ping_says_nothing() -> None:
    assert decoder().decode(bytes.fromhex("00010b")) is None


@pytest.mark.parametrize(
    ("mode", "with_book"),
    [(FeedMode.LTP, False), (FeedMode.QUOTE, False), (FeedMode.DEPTH, True)],
)
def test_a_tick_is_of_the_mode_that_is_wanted(mode: FeedMode, with_book: bool) -> None:
    made = decoder(mode)
    records = [snapshot(BOOK, LEVELS, number=2)] if with_book else []
    (*_, tick) = ticks(made, *records, snapshot(SBIN, FEED))
    assert tick.mode is mode
    assert (tick.ltp, tick.ltt_ms, tick.ts_event_ms) == (100, 102_000, 103_000)
    assert (tick.open is None) == (mode is FeedMode.LTP)
    assert (tick.bids is None) == (mode is not FeedMode.DEPTH)


def test_every_field_of_the_feed_is_where_it_belongs() -> None:
    (tick,) = ticks(decoder(), snapshot(SBIN, FEED))
    assert tick == Tick(
        SBIN,
        FeedMode.QUOTE,
        100,
        ltp=100,
        volume=101,
        ltt_ms=102_000,
        ts_event_ms=103_000,
        bid_size=104,
        ask_size=105,
        bid_price=106,
        ask_price=107,
        last_trade_quantity=108,
        total_buy_quantity=109,
        total_sell_quantity=110,
        avg_trade_price=111,
        oi=700,
        low=113,
        high=114,
        open=119,
        close=120,
    )


@pytest.mark.parametrize(
    ("multiplier", "precision", "scale"), [(1, 0, 1), (1000, 4, 10_000_000), (100, 2, 10_000)]
)
def test_the_scale_comes_with_the_snapshot(multiplier: int, precision: int, scale: int) -> None:
    record = snapshot(SBIN, FEED, multiplier=multiplier, precision=precision)
    (tick,) = ticks(decoder(), record)
    assert (tick.ltp, tick.price_scale) == (100, scale)


@pytest.mark.parametrize(("multiplier", "precision"), [(0, 2), (1, 10), (1, 255)])
def test_a_scale_that_is_none_is_refused(multiplier: int, precision: int) -> None:
    with pytest.raises(BrokerProtocolError, match="scale"):
        ticks(decoder(), snapshot(SBIN, FEED, multiplier=multiplier, precision=precision))


def test_what_has_had_no_snapshot_makes_no_tick() -> None:
    """An update or a lite record before it, of another socket, or of another number."""
    made = decoder(FeedMode.LTP)
    assert made.decode(data(update(FEED), lite(5))) == Data(1, [], 2)
    ticks(made, snapshot(SBIN, FEED))
    assert made.decode(data(update(FEED, number=2), lite(5, number=3))) == Data(1, [], 2)
    made.reset()
    made.track(SBIN, FeedMode.LTP)
    assert made.decode(data(update(FEED), lite(5))) == Data(1, [], 2)


def test_a_book_without_a_last_price_makes_no_tick() -> None:
    made = decoder(FeedMode.DEPTH)
    assert ticks(made, snapshot(BOOK, LEVELS, number=2), update(LEVELS, number=2)) == []
    assert ticks(made, snapshot(SBIN, (NONE, *FEED[1:]))) == []
    (tick,) = ticks(made, lite(42))
    assert (tick.mode, tick.ltp) == (FeedMode.LTP, 42)
    (tick,) = ticks(made, update((43, *(NONE,) * 20)))
    assert (tick.mode, tick.ltp) == (FeedMode.DEPTH, 43)


def test_a_feed_without_its_book_is_a_quote() -> None:
    (tick,) = ticks(decoder(FeedMode.DEPTH), snapshot(SBIN, FEED))
    assert (tick.mode, tick.bids) == (FeedMode.QUOTE, None)


def test_a_book_says_no_time() -> None:
    made = decoder(FeedMode.DEPTH)
    ticks(made, snapshot(SBIN, FEED))
    (tick,) = ticks(made, snapshot(BOOK, LEVELS, number=2))
    assert (tick.ts_event_ms, tick.ltt_ms) == (None, 102_000)
    (tick,) = ticks(made, update((NONE,) * 21))
    assert tick.ts_event_ms == 103_000


def test_a_book_of_another_scale_is_not_mixed_with_the_feed() -> None:
    made = decoder(FeedMode.DEPTH)
    ticks(made, snapshot(SBIN, FEED))
    (tick,) = ticks(made, snapshot(BOOK, LEVELS, number=2, precision=4))
    assert (tick.mode, tick.bids) == (FeedMode.QUOTE, None)


def test_every_field_of_a_last_price_is_where_it_belongs() -> None:
    made = decoder(FeedMode.LTP, SBIN, NIFTY)
    (share,) = ticks(made, snapshot(SBIN, FEED))
    assert share == Tick(SBIN, FeedMode.LTP, 100, ltp=100, ltt_ms=102_000, ts_event_ms=103_000)
    (index,) = ticks(made, snapshot(NIFTY, (1, 2, 3, 4, 5, 6), number=2))
    assert index == Tick(NIFTY, FeedMode.LTP, 100, ltp=1, ts_event_ms=3000)
    assert share.mode is index.mode is FeedMode.LTP, "a 1 would be equal"


def test_an_index_has_depth_without_a_book() -> None:
    made = decoder(FeedMode.DEPTH, NIFTY)
    (tick,) = ticks(made, snapshot(NIFTY, (1, 2, 3, 4, 5, 6)))
    assert tick == Tick(
        NIFTY, FeedMode.DEPTH, 100, ltp=1, close=2, ts_event_ms=3000, high=4, low=5, open=6
    )


def test_what_is_not_known_is_none_and_never_zero() -> None:
    (tick,) = ticks(decoder(), snapshot(SBIN, (100, *(NONE,) * 20)))
    assert tick == Tick(SBIN, FeedMode.QUOTE, 100, ltp=100)
    (tick,) = ticks(decoder(FeedMode.DEPTH, NIFTY), snapshot(NIFTY, (7, *(NONE,) * 5)))
    assert tick == Tick(NIFTY, FeedMode.DEPTH, 100, ltp=7)


def test_fewer_fields_leave_the_rest_unknown_and_further_ones_are_ignored() -> None:
    made = decoder()
    (tick,) = ticks(made, snapshot(SBIN, FEED[:2]))
    assert (tick.volume, tick.close) == (101, None)
    (tick,) = ticks(made, update((*FEED, 1, 2, 3)))
    assert (tick.volume, tick.close) == (101, 120)
    (tick,) = ticks(made, update((99,)))
    assert (tick.ltp, tick.close) == (99, 120)


@pytest.mark.parametrize("field", [1, 9, 10, 12])
def test_a_sum_that_has_left_its_bits_is_not_known(field: int) -> None:
    values = list(FEED)
    values[field] = -5
    (tick,) = ticks(decoder(), snapshot(SBIN, values))
    sums = (tick.volume, tick.total_buy_quantity, tick.total_sell_quantity, tick.oi)
    assert sums.count(None) == 1


def test_prices_may_be_negative() -> None:
    values = [-value if at in (0, 6, 7, 11, 13) else value for at, value in enumerate(FEED)]
    (tick,) = ticks(decoder(), snapshot(SBIN, values))
    assert (tick.ltp, tick.bid_price, tick.low, tick.volume) == (-100, -106, -113, 101)


@pytest.mark.parametrize("field", [2, 3, 4, 5, 8])
def test_another_quantity_or_time_that_is_negative_breaks_the_frame(field: int) -> None:
    values = list(FEED)
    values[field] = -1
    with pytest.raises(BrokerProtocolError, match="negative"):
        ticks(decoder(FeedMode.LTP), snapshot(SBIN, values))


@pytest.mark.parametrize("field", range(10, 30))
def test_a_negative_quantity_of_the_book_breaks_the_frame(field: int) -> None:
    values = list(LEVELS)
    values[field] = -1
    with pytest.raises(BrokerProtocolError, match="negative"):
        ticks(decoder(FeedMode.DEPTH), snapshot(BOOK, values))


def test_levels_that_are_not_there_are_left_out() -> None:
    made = decoder(FeedMode.DEPTH)
    values = list(LEVELS)
    values[3] = values[13] = values[23] = 0
    values[4] = NONE
    values[16] = NONE
    values[27] = NONE
    *_, tick = ticks(made, snapshot(BOOK, values, number=2), snapshot(SBIN, FEED))
    assert tick.bids == (
        DepthLevel(95, 201, 211),
        DepthLevel(94, 202, 212),
        DepthLevel(93, 203, 213),
    )
    assert tick.asks == (
        DepthLevel(90, 206, 216),
        DepthLevel(88, 208, None),
        DepthLevel(87, 209, 219),
        DepthLevel(86, 210, 220),
    )
    (tick,) = ticks(made, update((0,) * 30, number=2))
    assert (tick.bids, tick.asks, tick.bid_price) == ((), (), None)


def test_a_level_without_a_price_is_none_whatever_its_quantity() -> None:
    made = decoder(FeedMode.DEPTH)
    *_, tick = ticks(made, snapshot(SBIN, FEED), snapshot(BOOK, (0,) * 10 + (5,) * 20, number=2))
    assert (tick.bids, tick.asks, tick.bid_price, tick.bid_size) == ((), (), None, None)


PRICES_AT = (0, 6, 7, 11, 13, 14, 19, 20)


def test_a_price_of_zero_is_none_and_takes_its_quantity_along() -> None:
    """As before the first trade, with the close of the day before or without."""
    values = [0 if at in PRICES_AT[:-1] else value for at, value in enumerate(FEED)]
    (tick,) = ticks(decoder(), snapshot(SBIN, values))
    assert (tick.ltp, tick.open, tick.high, tick.low, tick.avg_trade_price) == (None,) * 5
    assert (tick.bid_price, tick.ask_price, tick.bid_size, tick.ask_size) == (None,) * 4
    assert (tick.close, tick.volume) == (FEED[20], FEED[1])
    (tick,) = ticks(decoder(), snapshot(SBIN, (*values[:20], 0)))
    assert tick.close is None
    (tick,) = ticks(decoder(FeedMode.LTP), snapshot(SBIN, values))
    assert tick.ltp is None
    made = decoder(FeedMode.LTP)
    assert [tick.ltp for tick in ticks(made, snapshot(SBIN, FEED), lite(0))] == [100, None]
    for mode in (FeedMode.LTP, FeedMode.QUOTE):
        (tick,) = ticks(decoder(mode, NIFTY), snapshot(NIFTY, (0, 0, 3, 0, 0, 0)))
        assert tick == Tick(NIFTY, mode, 100, ts_event_ms=3000)


@pytest.mark.parametrize("broken", [b"\x63", b"\x55\0\1\x15\0"])
def test_a_broken_frame_leaves_everything_as_it_was(broken: bytes) -> None:
    """Also the records before the broken one, and numbers that it gave to other topics."""
    made = decoder(FeedMode.DEPTH, SBIN, NIFTY)
    ticks(made, snapshot(SBIN, FEED), snapshot(BOOK, LEVELS, number=2))
    bad = (
        update((55, *(NONE,) * 20)),
        update((96, *(NONE,) * 29), number=2),
        snapshot(NIFTY, (1, 2, 3, 4, 5, 6), number=1),
        snapshot(SBIN, FEED, number=4, precision=3),
        snapshot("sf|nse_cm|1", FEED, number=2),
        broken,
    )
    with pytest.raises(BrokerProtocolError):
        made.decode(data(*bad))
    (tick,) = ticks(made, update((NONE,) * 21))
    assert (tick.broker_token, tick.ltp, tick.price_scale, tick.mode) == (
        *(SBIN, 100, 100, FeedMode.DEPTH),
    )
    (tick,) = ticks(made, update((NONE,) * 30, number=2))
    assert tick.bid_price == 95
    assert made.decode(data(update((NONE,) * 21, number=4))) == Data(1, [], 1)


def test_a_number_that_is_given_to_another_topic_is_no_longer_the_first_ones() -> None:
    made = decoder(FeedMode.LTP, SBIN, NIFTY)
    ticks(made, snapshot(SBIN, FEED))
    ticks(made, snapshot(NIFTY, (7, 2, 3, 4, 5, 6)))
    assert [tick.broker_token for tick in ticks(made, lite(8))] == [NIFTY]
    ticks(made, snapshot("sf|nse_cm|1", FEED))
    assert made.decode(data(lite(8))) == Data(1, [], 1)


def test_a_topic_that_is_given_another_number_no_longer_has_the_first_one() -> None:
    made = decoder(FeedMode.LTP)
    ticks(made, snapshot(SBIN, FEED), snapshot(SBIN, FEED, number=2))
    assert made.decode(data(lite(8), update(FEED))) == Data(1, [], 2)
    assert len(ticks(made, lite(8, number=2))) == 1


def test_the_order_of_a_numbers_bytes_does_not_matter() -> None:
    made = decoder(FeedMode.LTP)
    record = snapshot(SBIN, FEED, number=0x0102)
    assert len(ticks(made, record, lite(1, number=0x0102))) == 2
    assert made.decode(data(lite(1, number=0x0201))) == Data(1, [], 1)


def test_a_lite_record_of_a_book_changes_nothing() -> None:
    made = decoder(FeedMode.DEPTH)
    ticks(made, snapshot(SBIN, FEED), snapshot(BOOK, LEVELS, number=2))
    assert made.decode(data(lite(8, number=2))) == Data(1, [], 1)
    (tick,) = ticks(made, update((NONE,) * 30, number=2))
    assert tick.bid_price == 95


def test_late_records_of_what_has_ended_are_nothing_unknown() -> None:
    made = decoder(FeedMode.DEPTH)
    ticks(made, snapshot(SBIN, FEED), snapshot(BOOK, LEVELS, number=2))
    made.track(SBIN, FeedMode.QUOTE)
    assert made.decode(data(update(LEVELS, number=2))) == Data(1, [], 0)
    made.drop(SBIN)
    made.drop(SBIN)
    assert made.decode(data(update(FEED), lite(1))) == Data(1, [], 0)
    late = snapshot(SBIN, FEED, number=5)
    assert made.decode(data(late, update(FEED, number=5))) == Data(1, [], 0)


def test_what_is_subscribed_again_waits_for_a_snapshot() -> None:
    made = decoder(FeedMode.QUOTE)
    ticks(made, snapshot(SBIN, FEED))
    made.drop(SBIN)
    made.track(SBIN, FeedMode.QUOTE)
    assert ticks(made, update((7, *(NONE,) * 20))) == []
    assert made.current(SBIN) is None


def test_what_is_known_is_told_at_the_mode_that_is_wanted_now() -> None:
    made = decoder(FeedMode.LTP)
    ticks(made, snapshot(SBIN, FEED))
    made.track(SBIN, FeedMode.QUOTE)
    tick = made.current(SBIN)
    assert tick is not None
    assert (tick.mode, tick.close) == (FeedMode.QUOTE, 120)
    made.track(SBIN, FeedMode.DEPTH)
    assert made.current(SBIN) is None
    ticks(made, snapshot(BOOK, LEVELS, number=2))
    tick = made.current(SBIN)
    assert tick is not None
    assert tick.bids


@pytest.mark.parametrize("name", FYERS_VECTORS)
def test_every_truncation_is_refused(name: str) -> None:
    frame = FRAMES[name]
    for size in range(len(frame)):
        with pytest.raises(BrokerProtocolError):
            decoder(FeedMode.DEPTH, SBIN, NIFTY).decode(frame[:size])


@pytest.mark.parametrize(
    "frame",
    [
        FRAMES["feed_lite"] + b"\0",
        data(b"\x63abc"),
        b"\0\x01\x09",
        b"\0\0\x04\x00",
        struct.pack(">HBIH", 0, 6, 1, 1) + b"\x53\0\1\x02\xff\xfe" + bytes(40),
    ],
)
def test_what_follows_no_rule_is_refused(frame: bytes) -> None:
    with pytest.raises(BrokerProtocolError):
        decoder().decode(frame)
