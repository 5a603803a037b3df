"""Parse Upstox frames (a JSON list of hex strings on stdin) with its own client; no network.

A frame that the client refuses is null.
"""

import json
import os
import sys

import upstox_client
from google.protobuf import json_format
from google.protobuf.message import DecodeError

streamer = upstox_client.MarketDataStreamerV3(upstox_client.ApiClient())


def parse(frame):
    try:
        return json_format.MessageToDict(streamer.decode_protobuf(frame))
    except DecodeError:
        return None


json.dump([parse(bytes.fromhex(text)) for text in json.load(sys.stdin)], sys.stdout)
sys.stdout.flush()
os._exit(0)
