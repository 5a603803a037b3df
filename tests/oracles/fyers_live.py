"""Connect Fyers' client to a server and report what it decodes.

Arguments: feed URL, access token, ``full`` or ``lite``. Stdin: topics to symbols by data type, as
in ``{"SymbolUpdate": {"sf|nse_cm|3045": "NSE:SBIN-EQ"}}``. Subscribes those of one data type, waits
for a tick of each, unsubscribes and goes on with the next. A refused credential ends it too.
"""

import json
import os
import sys
import threading

from fyers_apiv3.FyersWebsocket import data_ws

url, access_token, mode = sys.argv[1:]
names = json.load(sys.stdin)
pending = list(names)
ticks: dict[str, dict] = {data_type: {} for data_type in names}
said: list[dict] = []
errors: list[dict] = []
done = threading.Event()


def convert(self, symbols):
    # It would ask two of Fyers' services for this.
    found = {topic: name for topic, name in names[self.data_type].items() if name in symbols}
    return found, [], False, ""


def symbols():
    return list(names[pending[0]].values())


def on_connect():
    if pending:
        client.subscribe(symbols(), data_type=pending[0])


def on_message(message):
    if "symbol" not in message:
        said.append(message)
        return
    if not pending:
        return
    seen = ticks[pending[0]]
    seen[message["symbol"]] = message
    if len(seen) == len(names[pending[0]]):
        client.unsubscribe(symbols(), data_type=pending[0])
        pending.pop(0)
        if pending:
            client.subscribe(symbols(), data_type=pending[0])
        else:
            done.set()


def on_error(message):
    errors.append(message if isinstance(message, dict) else {"message": str(message)})
    if errors[-1].get("code") in (11001, -99, -300):
        done.set()


data_ws.SymbolConversion.symbol_to_hsmtoken = convert
client = data_ws.FyersDataSocket(
    access_token=access_token,
    litemode=mode == "lite",
    reconnect=False,
    on_connect=on_connect,
    on_message=on_message,
    on_error=on_error,
    on_close=errors.append,
)
client._FyersDataSocket__url = url
threading.Thread(target=client.connect, daemon=True).start()
is_done = done.wait(100)
json.dump({"ticks": ticks, "said": said, "errors": errors}, sys.stdout)
sys.stdout.flush()
os._exit(0 if is_done else 1)
