"""Parse Kite frames (a JSON list of hex strings on stdin) with Zerodha's client; no network."""

import json
import sys
from datetime import datetime

from kiteconnect import KiteTicker


def plain(value):
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value))


ticker = KiteTicker("key", "token")
frames = [bytes.fromhex(text) for text in json.load(sys.stdin)]
json.dump([ticker._parse_binary(frame) for frame in frames], sys.stdout, default=plain)
