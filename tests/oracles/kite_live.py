"""Connect Zerodha's client to a server and report what it decodes.

Arguments: root URL, API key, access token. Stdin: a JSON list of instrument tokens. Subscribes them
all and collects one tick of each in quote, then ltp, then full mode; then waits for the texts of an
order update, whose arrival ends it. A refused or lost connection ends it too.
"""

import json
import os
import sys
import threading
from datetime import datetime

from kiteconnect import KiteTicker

root, api_key, access_token = sys.argv[1:]
tokens = json.load(sys.stdin)
modes = ["quote", "ltp", "full"]
ticks_by_mode: dict[str, dict] = {mode: {} for mode in modes}
orders: list[dict] = []
errors: list[list] = []
closes: list[list] = []
done = threading.Event()


def plain(value):
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(type(value))


def on_connect(ws, response):
    ws.subscribe(tokens)


def on_ticks(ws, ticks):
    mode = modes[0]
    seen = ticks_by_mode[mode]
    seen.update({tick["instrument_token"]: tick for tick in ticks if tick["mode"] == mode})
    if len(seen) == len(tokens) and len(modes) > 1:
        modes.pop(0)
        ws.set_mode(modes[0], tokens)
    elif len(seen) == len(tokens):
        # Tells the server that everything has arrived: an unsubscribe is what it can see.
        ws.unsubscribe(tokens)


def on_order_update(ws, order):
    orders.append(order)
    done.set()


def on_error(ws, code, reason):
    errors.append([code, str(reason)])


def on_close(ws, code, reason):
    closes.append([code, str(reason)])
    done.set()


ticker = KiteTicker(api_key, access_token, root=root)
ticker.on_connect = on_connect
ticker.on_ticks = on_ticks
ticker.on_order_update = on_order_update
ticker.on_error = on_error
ticker.on_close = on_close
ticker.connect(threaded=True)
is_done = done.wait(100)
report = {"ticks": ticks_by_mode, "orders": orders, "errors": errors, "closes": closes}
json.dump(report, sys.stdout, default=plain)
sys.stdout.flush()
os._exit(0 if is_done else 1)
