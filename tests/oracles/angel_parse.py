"""Parse Angel One frames (a JSON list of hex strings on stdin) with its own client; no network."""

import json
import sys

import requests

# The package asks a website for this machine's address while it is imported.
requests.get = None

from SmartApi.smartWebSocketV2 import SmartWebSocketV2  # noqa: E402

client = SmartWebSocketV2("jwt", "key", "client", "feed")
frames = [bytes.fromhex(text) for text in json.load(sys.stdin)]
json.dump([client._parse_binary_data(frame) for frame in frames], sys.stdout)
