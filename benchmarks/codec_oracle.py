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


def dhan():
    from dhanhq import DhanContext
    from dhanhq.marketfeed import MarketFeed

    client = MarketFeed(DhanContext("1", "T"), [])
    return lambda frame: [client.process_data(frame)]


def dhan_depth20():
    from dhanhq import DhanContext
    from dhanhq.fulldepth import FullDepth

    client = FullDepth(DhanContext("1", "T"), [], 20)

    def book(frame):
        sides = []
        while frame:
            side = client.process_data(frame)
            frame = side.pop("remaining_data")
            sides.append(side)
        return [sides]  # two sides are one tick

    return book


def upstox():
    import upstox_client
    from google.protobuf import json_format

    client = upstox_client.MarketDataStreamerV3(upstox_client.ApiClient())
    # What the client does of a frame before anybody sees it.
    return lambda frame: json_format.MessageToDict(client.decode_protobuf(frame))["feeds"]


PARSERS = (
    zerodha,
    angel,
    dhan,
    dhan_depth20,
    fyers,
    upstox,
)


def main():
    given = json.load(sys.stdin)
    parse = {each.__name__: each for each in PARSERS}[sys.argv[1]]()
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
