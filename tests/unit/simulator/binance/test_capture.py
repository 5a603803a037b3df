"""Reading recorded Binance traffic, and the master made from it."""

from __future__ import annotations

import pytest

from brokers.simulator.binance.capture import CaptureError, parse_capture
from brokers.simulator.binance.master import exchange_info
from tests.support import SHARED_DATA

HEAD = b"wss://host/stream?streams=nknusdt@bookTicker/blzeth@aggTrade <-> 100.0\n"
BOOK = (
    b'{"stream":"nknusdt@bookTicker","data":{"u":1,"s":"NKNUSDT","b":"0.3510","B":"5.5","a":"1"}}'
)
TRADE = b'{"stream":"blzeth@aggTrade", "data": {"p":"0.00012340","q":"7"} }'
CAPTURE = HEAD + b"101.5: " + BOOK + b"\n102.0: " + TRADE + b"\n\n"


def test_frames_keep_their_bytes_and_their_pace():
    capture = parse_capture(CAPTURE)
    assert capture.streams == ("nknusdt@bookTicker", "blzeth@aggTrade")
    first, second = capture.frames
    assert (first.at_seconds, first.stream, first.message) == (0.0, "nknusdt@bookTicker", BOOK)
    assert (second.at_seconds, second.message) == (0.5, TRADE)
    assert second.payload == b'{"p":"0.00012340","q":"7"}'


def test_a_clock_that_went_backwards_does_not_change_the_order():
    capture = parse_capture(HEAD + b"105: " + BOOK + b"\n103: " + TRADE + b"\n106: " + BOOK)
    assert [frame.at_seconds for frame in capture.frames] == [0, 0, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no frames"),
        (HEAD, "no frames"),
        (HEAD + BOOK, "line 2"),
        (HEAD + b"101.5: " + BOOK + b"\nsoon: " + BOOK, "line 3"),
        (HEAD + b'101.5: {"data":{}}', "line 2"),
        (HEAD + b"101.5: " + b'{"stream":' + b"[" * 100_000, "line 2"),
    ],
)
def test_a_broken_capture_is_refused_by_line(content: bytes, message: str):
    with pytest.raises(CaptureError, match=message):
        parse_capture(content)


def test_the_master_names_the_symbols_with_tick_and_lot_size():
    info = exchange_info(parse_capture(CAPTURE), now_ms=5)
    assert info["serverTime"] == 5
    nkn, blz = info["symbols"]
    assert (nkn["symbol"], nkn["baseAsset"], nkn["quoteAsset"]) == ("NKNUSDT", "NKN", "USDT")
    assert (blz["baseAsset"], blz["quoteAsset"], blz["status"]) == ("BLZ", "ETH", "TRADING")
    filters = {item["filterType"]: item for item in nkn["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.00100000"
    assert filters["LOT_SIZE"]["stepSize"] == "0.10000000"


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="recorded data is not here")
@pytest.mark.parametrize(
    ("name", "frames"),
    [("capture_BINANCE.ws.1.0", 265), ("capture_BINANCE_FUTURES.ws.1.0", 1535)],
)
def test_real_captures_are_read_whole(name: str, frames: int):
    capture = parse_capture((SHARED_DATA / name).read_bytes())
    assert len(capture.frames) == frames
    assert len(capture.streams) == 16
    assert {frame.stream for frame in capture.frames} <= set(capture.streams)
    assert 29 < capture.frames[-1].at_seconds < 31
    assert len(exchange_info(capture, now_ms=0)["symbols"]) == 4
