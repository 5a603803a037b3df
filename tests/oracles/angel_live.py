"""Connect Angel One's client to a server and report what it decodes.

Arguments: feed URL, JWT, API key, client code, feed token. Stdin: a JSON list of groups as the
client's ``subscribe`` takes them. Subscribes all of them in mode 1, waits for a tick of each and
unsubscribes; then the same in modes 2 and 3, and in mode 4 with the NSE's first 50. A refused or
lost connection ends it too.
"""

import copy
import json
import os
import sys
import threading

import requests

# The package asks a website for this machine's address while it is imported.
requests.get = None

from SmartApi.smartWebSocketV2 import SmartWebSocketV2  # noqa: E402

url, jwt, api_key, client_code, feed_token = sys.argv[1:]
groups = json.load(sys.stdin)
nse = next((group["tokens"] for group in groups if group["exchangeType"] == 1), [])
wanted = dict.fromkeys((1, 2, 3), groups)
wanted[4] = [{"exchangeType": 1, "tokens": nse[:50]}]
pending = list(wanted)
ticks_by_mode: dict[int, dict] = {mode: {} for mode in wanted}
errors: list[list] = []
done = threading.Event()


def count(mode):
    return sum(len(group["tokens"]) for group in wanted[mode])


def ask(action):
    # The client keeps and extends the lists that it is given.
    action("abcde12345", pending[0], copy.deepcopy(wanted[pending[0]]))


def on_open(wsapp):
    ask(client.subscribe)


def on_data(wsapp, tick):
    mode = tick["subscription_mode"]
    seen = ticks_by_mode[mode]
    seen[f"{tick['exchange_type']}:{tick['token']}"] = tick
    if not pending or mode != pending[0] or len(seen) < count(mode):
        return
    ask(client.unsubscribe)
    pending.pop(0)
    if pending:
        ask(client.subscribe)
    else:
        done.set()


def on_error(*arguments):
    errors.append([str(argument) for argument in arguments])
    done.set()


client = SmartWebSocketV2(jwt, api_key, client_code, feed_token, max_retry_attempt=0)
client.ROOT_URI = url
client.on_open = on_open
client.on_data = on_data
client.on_error = on_error
threading.Thread(target=client.connect, daemon=True).start()
is_done = done.wait(100)
json.dump({"ticks": ticks_by_mode, "errors": errors}, sys.stdout)
sys.stdout.flush()
os._exit(0 if is_done else 1)
