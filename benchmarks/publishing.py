"""One worker core without a network: Kite quote frames in, bus messages out to a real socket."""

from __future__ import annotations

import json
import sys
import tempfile
import time

import zmq

from benchmarks.stack import local_bus
from brokers.context import pooled_creation
from brokers.contract import Confirmed
from brokers.testing import kite_frame, kite_quote
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from brokers.zerodha.codec import decode_frame
from brokers.zerodha.connection import ZerodhaAdapter
from streaming.wire.message import unpack_message
from streaming.wire.tick_json import InstrumentFrames
from streaming.worker.publisher import SharedZmqPublisher

SYMBOLS = 500


def _main() -> None:
    with tempfile.TemporaryDirectory(prefix="tickpool-bench-") as directory:
        _measure(SharedZmqPublisher(bus=local_bus(directory, 5555), epoch=1))


def _measure(publisher: SharedZmqPublisher) -> None:
    publisher.open()
    reader = zmq.Context.instance().socket(zmq.SUB)
    reader.set_hwm(1000)
    reader.connect(publisher.bus.ticks)
    reader.subscribe(b"")
    with pooled_creation(publisher.for_pool("1", "zerodha")):
        adapter = ZerodhaAdapter()
    instruments = [
        Instrument(InstrumentKey("NSE", f"S{n:05d}"), str((n + 1) * 256 + 1))
        for n in range(SYMBOLS)
    ]
    adapter.subscribe([Subscription(each, FeedMode.QUOTE) for each in instruments])
    frame = kite_frame(
        *(
            kite_quote(
                int(each.broker_token),
                157_370,
                last_quantity=7,
                average=157_037,
                volume=1_192_471,
                buy=256_443,
                sell=363_009,
                ohlc=(156_915, 157_500, 156_105, 156_780),
            )
            for each in instruments
        )
    )
    confirmed = [event for event in adapter.receive(frame, 0) if isinstance(event, Confirmed)]
    time.sleep(0.3)
    print(json.dumps({"ready": True}), flush=True)
    ticks = decode_frame(frame).ticks
    frames = InstrumentFrames(broker="zerodha", key=instruments[0].key)
    for line in sys.stdin:
        seconds = float(json.loads(line)["seconds"])
        started = now = time.perf_counter()
        count = 0
        while now - started < seconds:
            adapter.receive(frame, 1_700_000_000_000_000)
            count += SYMBOLS
            now = time.perf_counter()
        rate = count / (now - started)
        answer = {
            "ticks_per_s": rate,
            "decode_us": _us_per_call(lambda: decode_frame(frame)) / SYMBOLS,
            "encode_us": _us_per_call(lambda: frames.encode(ticks[0])),
            "correct": len(confirmed) == 1
            and len(confirmed[0].keys) == SYMBOLS
            and b'"ltp":' in unpack_message(reader.recv()).body,
        }
        print(json.dumps(answer), flush=True)
    reader.close(0)
    publisher.close()


def _us_per_call(call, seconds: float = 0.3) -> float:
    started = now = time.perf_counter()
    count = 0
    while now - started < seconds:
        call()
        count += 1
        now = time.perf_counter()
    return (now - started) * 1e6 / count


if __name__ == "__main__":
    _main()
