"""Binance's frames of every stream, as the combined endpoint sends them."""

from __future__ import annotations

import json
from typing import Any

from brokers.binance.connection import BinanceAdapter
from tests.fuzz.mutations import Frame
from tests.fuzz.target import Target

__all__ = ["target"]

TRADE = (
    '"e":"aggTrade","E":1700000000200,"s":"BTCUSDT","a":1,"p":"25.36000000","q":"0.50000000",'
    '"f":1,"l":2,"T":1700000000100,"m":true,"M":true'
)
BOOK = '"u":10,"s":"BTCUSDT","b":"25.3519","B":"31.21","a":"25.3652","A":"40.66"'
DAY = (
    '"e":"24hrTicker","E":1700000001000,"s":"BTCUSDT","p":"-0.5","P":"-2.0","w":"25.4","x":"25.8",'
    '"c":"25.37","Q":"3","b":"1","B":"1","a":"1","A":"1","o":"25.87","h":"26","l":"25",'
    '"v":"1000.5","q":"25000","O":1,"C":2,"F":0,"L":1,"n":2'
)
DEPTH = '"lastUpdateId":20,"bids":[["25.35","1.5"],["25.34","2"]],"asks":[["25.36","3"]]'


def target() -> Target:
    """Return every stream's frame, answers to requests and announcements."""
    streams = {
        "btcusdt@aggTrade": TRADE,
        "btcusdt@bookTicker": BOOK,
        "btcusdt@ticker": DAY,
        "btcusdt@depth5@100ms": DEPTH,
        "!serverShutdown": '"e":"serverShutdown","E":1700000001000',
    }
    frames: list[Frame] = [
        f'{{"stream":"{name}","data":{{{fields}}}}}' for name, fields in streams.items()
    ]
    answers: list[dict[str, Any]] = [
        {"result": None, "id": 77},
        {"error": {"code": 2, "msg": "Invalid request"}, "id": 78},
        {"code": 3, "msg": "Invalid JSON: expected value at line 1"},
    ]
    return Target(
        BinanceAdapter, tokens=["btcusdt"], seeds=[*frames, *(json.dumps(a) for a in answers)]
    )
