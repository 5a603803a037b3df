"""Several users of an OpenAlgo SDK in one process; runs in the interpreter that has the SDK.

Argument: a folder with another version of the SDK, or "". The first line on standard input is
JSON: ``url``, ``clients`` (name, key, mode, names). Ends when standard input does.
"""

import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if sys.argv[1]:
    sys.path.insert(0, sys.argv[1])

import websocket
from openalgo import api
from tally import Tally, say

FLUSH_SECONDS = 1.0
AGAIN_SECONDS = 1.0
TRY_AGAIN = "too many wait for it; try again"
TRY_AGAIN_SECONDS = 5.0

of_thread = threading.local()
ending = threading.Event()


class WatchedApp(websocket.WebSocketApp):
    """The SDK's socket, which tells the run of its beginning and its end."""

    last_error = ""

    def __init__(self, url, on_open=None, on_message=None, on_close=None, **callbacks):
        # Made in the thread of its user, or by the SDK's own when it connects again.
        self.user = getattr(of_thread, "user", None) or User.of_reconnecting_thread()
        self.gateway = None
        own = {"on_open": self.opened, "on_message": self.heard, "on_close": self.lost}
        super().__init__(url, **own, **callbacks)
        self.then_open, self.then_hear, self.then_close = on_open, on_message, on_close

    def opened(self, app):
        headers = {name.lower(): value for name, value in (self.sock.headers or {}).items()}
        self.gateway = headers.get("x-gateway", "")
        say("opened", client=self.user.name, gateway=self.gateway)
        self.then_open(app)

    def heard(self, app, message):
        # A program that reads what it is told: the SDK itself passes over it.
        if TRY_AGAIN in message and '"market_data"' not in message:
            say("asked again", client=self.user.name)
            self.user.again_at = time.monotonic() + TRY_AGAIN_SECONDS
        self.then_hear(app, message)

    def lost(self, app, code, reason):
        if self.gateway is None:
            # The SDK waits for 5 s and no longer; it is its user who then gives up.
            kind = "gave up" if self.user.is_leaving else "refused"
            say(kind, client=self.user.name, why=str(self.last_error))
        else:
            if not ending.is_set():
                kind = "closed" if self.user.is_leaving else "lost"
                say(
                    kind,
                    client=self.user.name,
                    gateway=self.gateway,
                    code=code,
                    reason=str(reason or self.last_error),
                )
            self.gateway = None
        self.then_close(app, code, reason)

    def _callback(self, callback, *args):
        if callback is not None and callback is self.on_error and args:
            self.last_error = repr(args[-1])[:200]
        return super()._callback(callback, *args)


class User(threading.Thread):
    """One user: connects, subscribes, connects again if the SDK does not do so itself."""

    by_client = {}

    def __init__(self, url, name, key, mode, names):
        super().__init__(name=name, daemon=True)
        self.mode, self.names = mode, names
        self.again = threading.Event()  # it shall subscribe to everything that it holds
        self.again_at = None  # when it shall, since the server was too busy
        self.is_leaving = False  # it closes its own socket, to try again
        self.tally = Tally(name)
        self.client = api(api_key=key, host="http://127.0.0.1:9", ws_url=url)
        User.by_client[id(self.client)] = self

    @staticmethod
    def of_reconnecting_thread():
        thread = threading.current_thread()
        bound = getattr(thread, "_target", None)
        return User.by_client[id(bound.__self__)]

    def run(self):
        of_thread.user = self
        is_subscribed = False
        while not ending.is_set():
            if not self.client.authenticated:
                if getattr(self.client, "auto_reconnect", False) and is_subscribed:
                    ending.wait(AGAIN_SECONDS)
                    continue
                if not self.client.connect():
                    self.is_leaving = True
                    self.client.disconnect()
                    self.is_leaving = False
                    ending.wait(AGAIN_SECONDS)
                    continue
                self.again.set()
                is_subscribed = True
            if self.again_at is not None and time.monotonic() > self.again_at:
                self.again_at = None
                self.again.set()
            if self.again.is_set() and self.names:
                self.again.clear()
                subscribe = getattr(self.client, "subscribe_" + self.mode)
                subscribe(self.names, on_data_received=self.ticked)
            ending.wait(0.2)

    def ticked(self, tick):
        self.tally.tick(tick["exchange"], tick["symbol"], tick["data"]["ltp"])


def main():
    websocket.WebSocketApp = WatchedApp
    given = json.loads(sys.stdin.readline())
    users = [User(given["url"], **each) for each in given["clients"]]
    for user in users:
        user.start()
        time.sleep(0.05)

    def until_end():
        sys.stdin.read()
        ending.set()

    threading.Thread(target=until_end, daemon=True).start()
    while not ending.wait(FLUSH_SECONDS):
        for user in users:
            user.tally.flush()
    # The process ends here and its sockets with it; every disconnection so far was the server's.
    os._exit(0)


main()
