"""How fast a broker's official client parses frames. Run by the interpreter that has the clients.

Standard library and the client only. Reads ``{"first": [hex, ...], "frames": [...], "seconds": s}``
from standard input; the argument names the broker. Prints one JSON object.
"""

import json
import sys
import time


def zerodha():
    from kiteconnect import KiteTicker

    return KiteTicker("key", "token")._parse_binary


def angel():
    import requests

    # The package asks a website for this machine's address while it is imported.
    requests.get = None
    from SmartApi.smartWebSocketV2 import SmartWebSocketV2

    client = SmartWebSocketV2("jwt", "key", "client", "feed")
    return lambda frame: [client._parse_binary_data(frame)]


def fyers():
    from fyers_apiv3.FyersWebsocket.data_ws import FyersDataSocket

    class Symbols(dict):
        def __missing__(self, topic):
            return topic

    ticks = []
    client = FyersDataSocket(access_token="APP:token", on_message=ticks.append)
    client.symbol_token = Symbols()

    def parse(frame):
        ticks.clear()
        client._FyersDataSocket__response_msg(frame)
        return ticks

    return parse


def main():
    given = json.load(sys.stdin)
    parse = {"zerodha": zerodha, "angel": angel, "fyers": fyers}[sys.argv[1]]()
    frames = [bytes.fromhex(text) for text in given["frames"]]
    for text in given["first"]:
        parse(bytes.fromhex(text))
    parsed = sum(len(parse(frame)) for frame in frames)
    started = now = time.perf_counter()
    rounds = 0
    while now - started < given["seconds"]:
        for frame in frames:
            parse(frame)
        rounds += 1
        now = time.perf_counter()
    rate = rounds * parsed / (now - started)
    print(json.dumps({"ticks_per_s": rate, "ticks": parsed}))


main()
