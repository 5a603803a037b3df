"""Connect Upstox's client to a server and report what it decodes.

Arguments: feed URL (ws://host:port), access token. Stdin: a JSON list of instrument keys.
Subscribes them as ``ltpc``, changes them to every other mode, waits for a feed of each key in each,
and unsubscribes. A refused or lost connection ends it too.
"""

import json
import os
import sys
import threading

import upstox_client
from upstox_client.feeder import market_data_feeder_v3

url, token = sys.argv[1:]
keys = json.load(sys.stdin)
# What a feed says that it was asked for as; a zero is not there.
MODES = {
    "ltpc": "ltpc",
    "full": "full_d5",
    "option_greeks": "option_greeks",
    "full_d30": "full_d30",
}
pending = list(MODES)
feeds: dict[str, dict] = {mode: {} for mode in MODES}
infos: list = []
errors: list = []
order: list = []
done = threading.Event()
real = market_data_feeder_v3.websocket


class Local:
    """The client's own websocket module, with the broker's address replaced by the server's."""

    def __getattr__(self, name):
        return getattr(real, name)

    @staticmethod
    def WebSocketApp(address, **options):  # noqa: N802 - the library's name
        return real.WebSocketApp(address.replace("wss://api.upstox.com", url), **options)


market_data_feeder_v3.websocket = Local()


def on_open():
    streamer.subscribe(keys, pending[0])


def on_message(message):
    order.append(message.get("type", "initial_feed"))
    if "marketInfo" in message:
        infos.append(message["marketInfo"]["segmentStatus"])
    for key, feed in message.get("feeds", {}).items():
        if pending and feed.get("requestMode", "ltpc") == MODES[pending[0]]:
            feeds[pending[0]].setdefault(key, feed)
    if not pending or len(feeds[pending[0]]) < len(keys):
        return
    pending.pop(0)
    if pending:
        streamer.change_mode(keys, pending[0])
    else:
        streamer.unsubscribe(keys)
        done.set()


def on_error(error):
    errors.append(str(error)[:300])
    done.set()


configuration = upstox_client.Configuration()
configuration.access_token = token
streamer = upstox_client.MarketDataStreamerV3(upstox_client.ApiClient(configuration))
streamer.auto_reconnect(False)
streamer.on("open", on_open)
streamer.on("message", on_message)
streamer.on("error", on_error)
streamer.connect()
is_done = done.wait(100)
json.dump({"feeds": feeds, "infos": infos, "errors": errors, "order": order}, sys.stdout)
sys.stdout.flush()
os._exit(0 if is_done else 1)
