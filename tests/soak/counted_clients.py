"""Clients that count every tick by its number, and a stream of new ones, in one process.

Their exchange numbers the ticks of each instrument (``benchmarks.stamped_exchange``: ``volume``),
so that one that is missing is seen. Standard input: one line of JSON with ``url``, ``holders``,
``key``, ``keys``, ``names``, ``comers_per_second``; each further line asks for a ``state``. It ends
when standard input does.
"""

import asyncio
import itertools
import json
import sys
import time

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from tests.soak.tally import say

_OPEN_SECONDS = 30.0
_AGAIN_SECONDS = 1.0


class Holder:
    """Holds all names for as long as it can, and counts."""

    def __init__(self, url, name, key, names):
        self.url, self.name, self.key, self.names = url, name, key, names
        self.last = {}  # the number of the last tick of each name
        self.ticks = self.missed = self.backwards = self.lost = 0
        self.heard_at = time.monotonic()
        self.silence = 0.0  # the longest since it was last told

    async def run(self):
        while True:
            try:
                async with await _open(self.url) as socket:
                    await _authenticate(socket, self.key)
                    await _ask(socket, self.names)
                    say("opened", client=self.name)
                    self.heard_at = time.monotonic()
                    async for text in socket:
                        self._take(json.loads(text))
            except ConnectionClosed as closed:
                self.lost += 1
                say("lost", client=self.name, why=_end_of(closed))
            except (OSError, InvalidHandshake, TimeoutError) as error:
                say("refused", client=self.name, why=_words(error))
            await asyncio.sleep(_AGAIN_SECONDS)

    def _take(self, message):
        if message.get("type") != "market_data":
            if message.get("status") == "error" or message.get("type") != "subscribe":
                say("said", client=self.name, text=json.dumps(message)[:300])
            return
        now = time.monotonic()
        self.silence = max(self.silence, now - self.heard_at)
        self.heard_at = now
        self.ticks += 1
        name, number = (message["exchange"], message["symbol"]), message["data"]["volume"]
        before = self.last.get(name)
        self.last[name] = number
        if before is None or number == before + 1:
            return
        if number > before:
            self.missed += number - before - 1
        else:
            self.backwards += 1

    def state(self):
        """Return what it has counted, and begin anew with the longest silence."""
        silence = max(self.silence, time.monotonic() - self.heard_at)
        self.silence = 0.0
        return {
            "ticks": self.ticks,
            "missed": self.missed,
            "backwards": self.backwards,
            "lost": self.lost,
            "silence": silence,
            "numbers": sorted(self.last.values()),
        }


async def _open(url) -> ClientConnection:
    return await connect(
        f"{url}/ws", open_timeout=_OPEN_SECONDS, ping_interval=None, proxy=None, compression=None
    )


async def _authenticate(socket, key):
    """Let the key be looked at. Raises OSError with its code, and how the server closed then."""
    await socket.send(json.dumps({"action": "authenticate", "api_key": key}))
    async with asyncio.timeout(_OPEN_SECONDS):
        answer = json.loads(await socket.recv())
    if answer.get("status") == "success":
        return
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            await socket.recv()
    except ConnectionClosed as closed:
        raise OSError(f"{answer.get('code')}, then {_end_of(closed)}") from None
    raise OSError(f"{answer.get('code')}, then not closed")


async def _ask(socket, names):
    items = [{"exchange": exchange, "symbol": symbol} for exchange, symbol in names]
    await socket.send(json.dumps({"action": "subscribe", "symbols": items, "mode": 2}))


def _end_of(closed):
    return str(closed.rcvd.code) if closed.rcvd else "1006"


def _words(error):
    if isinstance(error, InvalidStatus):
        return f"HTTP {error.response.status_code}"
    return str(error)[:200] or type(error).__name__


async def _visit(url, who, key):
    """Come, be let in or not, go; say which, and how long it took."""
    started = time.time()
    try:
        async with await _open(url) as socket:
            await _authenticate(socket, key)
        say("came", client=who, since=started)
    except ConnectionClosed as closed:
        say("refused", client=who, since=started, why=f"closed with {_end_of(closed)}")
    except (OSError, InvalidHandshake, TimeoutError) as error:
        say("refused", client=who, since=started, why=_words(error))


async def _come(url, key, keys, per_second):
    """Send in turn somebody who was here before, and somebody whose key was not seen of late."""
    visits = set()
    for new in itertools.cycle(keys):
        for who, its in (("a known key", key), ("a new key", new)):
            visit = asyncio.create_task(_visit(url, who, its), name=who)
            visits.add(visit)
            visit.add_done_callback(visits.discard)
            await asyncio.sleep(1 / per_second)


async def _main():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    given = json.loads(await lines.readline())
    url, key, names = given["url"], given["key"], given["names"]
    holders = [Holder(url, f"holder-{at + 1}", key, names) for at in range(given["holders"])]
    tasks = []
    for each in holders:
        tasks.append(asyncio.create_task(each.run(), name=each.name))
        await asyncio.sleep(0.02)
    coming = _come(url, key, given["keys"], given["comers_per_second"])
    tasks.append(asyncio.create_task(coming, name="comers"))
    while await lines.readline():
        say("state", client="all", holders={each.name: each.state() for each in holders})
    for task in tasks:
        task.cancel()


if __name__ == "__main__":
    uvloop.run(_main())
