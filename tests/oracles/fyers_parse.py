"""Parse Fyers frames with its own client; no network.

Stdin: ``{"lite": false, "frames": [hex, ...]}``, which are one connection's, in order. Prints what
each frame came to: a list of messages a frame.
"""

import json
import sys

from fyers_apiv3.FyersWebsocket.data_ws import FyersDataSocket


class Symbols(dict):
    """Calls every topic by its own name."""

    def __missing__(self, topic):
        return topic


given = json.load(sys.stdin)
messages: list[dict] = []
client = FyersDataSocket(
    access_token="APP:token",
    litemode=given["lite"],
    on_message=messages.append,
    on_error=messages.append,
)
client.symbol_token = Symbols()
parsed = []
for text in given["frames"]:
    messages.clear()
    client._FyersDataSocket__response_msg(bytes.fromhex(text))
    parsed.append([dict(message) for message in messages])
json.dump(parsed, sys.stdout)
