"""Clients of the batch subprotocol in one process: steady, quiet, changing, coming and going.

Standard input: one line of JSON: ``url``, ``clients`` (name, key, names, pool, is_changing),
``comers_per_second``, ``comers`` (key, names). Further lines: {"gone": names} says what can
no longer be had. Ends when standard input does.
"""

import asyncio
import contextlib
import json
import random
import sys

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from tests.soak.tally import Tally, say

_AGAIN_SECONDS = 1.0
_TRY_AGAIN_SECONDS = 5.0
_STAY_SECONDS = 3.0
_OPEN_SECONDS = 30.0


class BatchClient:
    """One client that holds on: connects again whenever it is cut."""

    def __init__(self, url, name, key, names, pool, is_changing):
        self.url, self.name, self.key = url, name, key
        self.names = [tuple(each) for each in names]
        self.pool = [tuple(each) for each in pool]
        self.asking = None
        self.socket = None  # while it is connected
        self.is_changing = is_changing
        self.tally = Tally(name)

    async def run(self):
        """Hold on until cancelled."""
        while True:
            gateway = await self._converse()
            if gateway is None:
                await asyncio.sleep(_AGAIN_SECONDS)

    async def _converse(self):
        gateway = None
        try:
            socket = await _open(self.url)
            gateway = _gateway_of(socket)
            async with socket:
                await _authenticate(socket, self.key)
                say("opened", client=self.name, gateway=gateway)
                changing = None
                self.socket = socket
                await self.again()
                if self.is_changing:
                    changing = asyncio.create_task(self._change(socket), name="change")
                try:
                    await self._read(socket)
                finally:
                    self.socket = None
                    if changing is not None:
                        changing.cancel()
        except ConnectionClosed as closed:
            code, reason = _end_of(closed)
            if gateway is None:
                say("refused", client=self.name, why=f"{code} {reason}")
            else:
                say("lost", client=self.name, gateway=gateway, code=code, reason=reason)
        except (OSError, InvalidHandshake, TimeoutError) as error:
            say("refused", client=self.name, why=_words(error))
            gateway = None
        return gateway

    def _ask_again_soon(self):
        """Do what the server says: try again."""
        if self.asking is None or self.asking.done():
            self.asking = asyncio.create_task(self._ask_again(), name="ask again")

    async def _ask_again(self):
        await asyncio.sleep(_TRY_AGAIN_SECONDS)
        with contextlib.suppress(ConnectionClosed):
            await self.again()

    def forget(self, gone):
        """Want these no more: they cannot be had."""
        names = {tuple(each) for each in gone}
        self.pool = [name for name in self.pool if name not in names]
        self.names = [name for name in self.names if name not in names]

    async def again(self):
        """Subscribe to everything that is held."""
        if self.names and self.socket is not None:
            await _ask(self.socket, "subscribe", self.names)

    async def _read(self, socket):
        async for text in socket:
            message = json.loads(text)
            if message.get("type") == "ticks":
                for tick in message["ticks"]:
                    self.tally.tick(tick["exchange"], tick["symbol"], tick["data"]["ltp"])
            elif message.get("type") == "subscribe":
                self._answered(message)
            elif message.get("status") == "error":
                say("error", client=self.name, code=message.get("code"), text=message["message"])

    def _answered(self, message):
        """Tell the run what the server ended; who changes anyway wants it no more."""
        items = message.get("subscriptions") or [message]
        for item in items:
            if item.get("status") == "error" and item.get("state") != "pending":
                name = (item.get("exchange"), item.get("symbol"))
                if name in self.names and self.is_changing:
                    self.names.remove(name)
                say("ended", client=self.name, name=name, code=item.get("code"))
                if item.get("code") == "BROKER_ERROR" and not self.is_changing:
                    self._ask_again_soon()

    async def _change(self, socket):
        """Swap one name of those held for another, every second."""
        while True:
            await asyncio.sleep(1.0)
            others = [name for name in self.pool if name not in self.names]
            if not others or not self.names:
                continue
            gone, new = random.choice(self.names), random.choice(others)
            self.names.remove(gone)
            self.names.append(new)
            await _ask(socket, "unsubscribe", [gone])
            await _ask(socket, "subscribe", [new])


async def _open(url) -> ClientConnection:
    return await connect(
        f"{url}/ws",
        subprotocols=[Subprotocol("tickpool.batch.v1")],
        open_timeout=_OPEN_SECONDS,
        ping_interval=None,
        max_size=16 * 1024 * 1024,
        proxy=None,
    )


def _gateway_of(socket: ClientConnection) -> str:
    assert socket.response is not None
    return socket.response.headers.get("X-Gateway", "")


async def _authenticate(socket, key):
    await socket.send(json.dumps({"action": "authenticate", "api_key": key}))
    async with asyncio.timeout(_OPEN_SECONDS):
        while True:
            answer = json.loads(await socket.recv())
            if answer.get("type") == "auth" or answer.get("status") == "error":
                break
    if answer.get("status") != "success":
        raise OSError(f"not authenticated: {answer.get('code')}")


async def _ask(socket, action, names):
    items = [{"exchange": exchange, "symbol": symbol} for exchange, symbol in names]
    await socket.send(json.dumps({"action": action, "symbols": items, "mode": 2}))


def _end_of(closed):
    return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "no close frame")


def _words(error):
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    return f"{type(error).__name__}: {error}"[:200]


class Comers:
    """Those that come, subscribe, stay for a while and go."""

    def __init__(self, url, comers, per_second):
        self.url, self.comers, self.per_second = url, comers, per_second
        self.tally = Tally("comers")
        self.tasks = set()
        self.came = 0

    async def run(self):
        while self.per_second > 0 and self.comers:
            await asyncio.sleep(1 / self.per_second)
            if len(self.tasks) < 50 * self.per_second:
                task = asyncio.create_task(self._visit(), name="visit")
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def _visit(self):
        comer = random.choice(self.comers)
        names = random.sample(comer["names"], min(3, len(comer["names"])))
        gateway = None
        try:
            async with await _open(self.url) as socket:
                await _authenticate(socket, comer["key"])
                gateway = _gateway_of(socket)
                self.came += 1
                await _ask(socket, "subscribe", names)
                async with asyncio.timeout(_STAY_SECONDS):
                    async for text in socket:
                        message = json.loads(text)
                        for tick in message.get("ticks", ()):
                            name, price = tick["symbol"], tick["data"]["ltp"]
                            self.tally.tick(tick["exchange"], name, price)
        except TimeoutError:
            if gateway is None:
                say("refused", client="comers", why="no answer")
        except ConnectionClosed as closed:
            code, reason = _end_of(closed)
            if gateway is None:
                say("refused", client="comers", why=f"{code} {reason}")
            else:
                say("lost", client="comers", gateway=gateway, code=code, reason=reason)
        except (OSError, InvalidHandshake) as error:
            say("refused", client="comers", why=_words(error))


async def _main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = json.loads(await lines.readline())
    url = given["url"]
    clients = [BatchClient(url, **each) for each in given["clients"]]
    comers = Comers(url, given["comers"], given["comers_per_second"])
    tasks = [asyncio.create_task(comers.run(), name="comers")]
    for client in clients:
        tasks.append(asyncio.create_task(client.run(), name=client.name))
        await asyncio.sleep(0.02)
    flushing = asyncio.create_task(_flush([*clients, comers]), name="flush")
    while line := await lines.readline():
        gone = json.loads(line)["gone"]
        for comer in comers.comers:
            comer["names"] = [each for each in comer["names"] if each not in gone]
        for client in clients:
            client.forget(gone)
    flushing.cancel()
    for task in tasks:
        task.cancel()


async def _flush(those):
    while True:
        await asyncio.sleep(1.0)
        for each in those:
            each.tally.flush()


if __name__ == "__main__":
    uvloop.run(_main())
