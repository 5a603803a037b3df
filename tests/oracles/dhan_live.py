"""Connect Dhan's client to a server and report what it decodes.

Arguments: server URL, access token, client id. Stdin: ``{"feed": [[segment, id], ...], "closes":
how many previous closes come in each mode, "interests": how many open interests come in quote mode,
"20": [...], "200": [...]}``. Subscribes the feed's instruments as ticker, waits for a packet of
each, unsubscribes; then as quote and as full; then the deep books. A connection that the server
ends is reported too.
"""

import asyncio
import contextlib
import io
import json
import os
import sys
import threading

from dhanhq import DhanContext
from dhanhq.fulldepth import FullDepth
from dhanhq.marketfeed import MarketFeed

url, token, client_id = sys.argv[1:]
given = json.load(sys.stdin)
context = DhanContext(client_id, token)
feed = [tuple(each) for each in given["feed"]]
MarketFeed.market_feed_wss = url
FullDepth.depth_20_feed_wss = f"{url}/twentydepth"
FullDepth.depth_200_feed_wss = f"{url}/twohundreddepth"

MODES = [(15, "Ticker Data"), (17, "Quote Data"), (21, "Full Data")]
pending = list(MODES)
packets: dict[str, dict] = {}
ended: list[bool] = []
done = threading.Event()
out = sys.stdout
printed = io.StringIO()


def fill(mode_code):
    return [(segment, security_id, mode_code) for segment, security_id in feed]


def is_complete(code, kind):
    by_kind = packets.get(str(code), {})
    counts = {kind: len(feed), "Previous Close": given["closes"]}
    if code == 17:
        counts["OI Data"] = given["interests"]
    return all(len(by_kind.get(name, {})) >= count for name, count in counts.items())


def on_message(client, data):
    if not isinstance(data, dict) or not pending:
        return
    code, kind = pending[0]
    name = f"{data['exchange_segment']}:{data['security_id']}"
    packets.setdefault(str(code), {}).setdefault(data["type"], {})[name] = data
    if not is_complete(code, kind):
        return
    client.unsubscribe_symbols(fill(code))
    pending.pop(0)
    if pending:
        client.subscribe_symbols(fill(pending[0][0]))
    else:
        done.set()


def on_close(client):
    ended.append(True)
    done.set()


async def books(client, names):
    found = {}
    await client.connect()
    while len(found) < 2 * len(names):
        async for side in client.get_instrument_data():
            key = f"{side['exchange_segment']}:{side['security_id']}:{side['type']}"
            found[key] = side["depth"]
    await client.disconnect()
    return found


with contextlib.redirect_stdout(printed):
    client = MarketFeed(context, fill(15), on_message=on_message, on_close=on_close)
    client.start()
    is_done = done.wait(100)
    result = {"packets": packets, "ended": bool(ended)}
    for levels in (20, 200):
        names = [tuple(each) for each in given[str(levels)]]
        if names:
            deep = FullDepth(context, names, levels)
            wait = asyncio.wait_for(books(deep, names), 20)
            result[str(levels)] = deep.loop.run_until_complete(wait)
json.dump(result | {"printed": printed.getvalue()}, out)
out.flush()
os._exit(0 if is_done else 1)
