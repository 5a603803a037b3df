"""A scripted market behind ``/ws/ticks/``: what the page hears is what a test said.

It speaks the client protocol as far as the page uses it and keeps every request for inspection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from http.cookies import SimpleCookie
from typing import Any

from tests.support import eventually

__all__ = ["INSTRUMENTS", "FakeMarket"]

INSTRUMENTS: dict[tuple[str, str], dict[str, Any]] = {
    (exchange, symbol): {
        "exchange": exchange,
        "symbol": symbol,
        "name": name,
        "tick_size": tick,
        "price": price,
    }
    for exchange, symbol, name, tick, price in (
        ("NSE", "RELIANCE", "RELIANCE INDUSTRIES", 0.05, 2871.50),
        ("NSE", "TCS", "TATA CONSULTANCY SERV LT", 0.05, 3920.10),
        ("NSE", "INFY", "INFOSYS", 0.05, 1573.70),
        ("NSE", "SBIN", "STATE BANK OF INDIA", 0.05, 612.35),
        ("NSE", "HDFCBANK", "HDFC BANK", 0.05, 1441.00),
        ("NSE", "ICICIBANK", "ICICI BANK", 0.05, 1012.90),
        ("NSE", "ITC", "ITC", 0.05, 451.25),
        ("NSE", "WIPRO", "WIPRO", 0.05, 402.60),
        ("NSE", "TATAMOTORS", "TATA MOTORS", 0.05, 951.15),
        ("NSE", "TATASTEEL", "TATA STEEL", 0.05, 142.80),
        ("NSE_INDEX", "NIFTY", "NIFTY 50", 0.05, 24_351.80),
        ("NSE_INDEX", "BANKNIFTY", "NIFTY BANK", 0.05, 51_877.05),
        ("CDS", "USDINR29OCT26FUT", "USDINR", 0.0025, 84.2375),
        ("NFO", "NIFTY27OCT2624500CE", "NIFTY", 0.05, 141.65),
    )
}
BATCHES = "tickpool.batch.v1"
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Client:
    """One open page."""

    def __init__(self, send: Send, *, is_batched: bool) -> None:
        self._send = send
        self.is_batched = is_batched
        self.keys: set[tuple[str, str]] = set()
        self.wants_status = False

    async def say(self, message: dict[str, Any]) -> None:
        # As compact as the gateway writes it: the page cuts batches by how they look.
        text = json.dumps(message, separators=(",", ":"))
        await self._tell({"type": "websocket.send", "text": text})

    async def tick(self, message: dict[str, Any]) -> None:
        await self.say({"type": "ticks", "ticks": [message]} if self.is_batched else message)

    async def close(self, code: int, reason: str = "") -> None:
        await self._tell({"type": "websocket.close", "code": code, "reason": reason})

    async def _tell(self, event: dict[str, Any]) -> None:
        # A page that has gone is found out by the next turn of its own task, not by who ticks.
        with contextlib.suppress(OSError, RuntimeError):
            await self._send(event)


class FakeMarket:
    """The socket's server. Failure is a verb: ``close``, ``feed``, ``refuse``, ``go_silent``."""

    def __init__(self, is_session: Callable[[str], Awaitable[bool]]) -> None:
        self._is_session = is_session
        self.clients: set[Client] = set()
        self._random = random.Random(7)
        self.reset()

    def reset(self) -> None:
        """Begin a new day: nothing refused, nothing moving."""
        self.requests: list[dict[str, Any]] = []
        self.refusals: dict[str, dict[str, Any]] = {}
        self.stored: dict[str, int] = {}  # symbol -> when the exchange sent its last price
        self.rate = 0.0  # ticks per second of each subscribed symbol
        self.is_silent = False
        self.counted: int | None = None  # symbols, as the worker says when it is asked
        self.pools: dict[str, str] = {}  # symbol -> of which account its prices come; of "1" else
        self.knows_batches = True
        self.prices = {key: item["price"] for key, item in INSTRUMENTS.items()}
        self.volumes = dict.fromkeys(INSTRUMENTS, 1_234_567)

    async def serve(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Take one WebSocket, from its handshake to its end."""
        await receive()
        cookie = SimpleCookie(dict(scope["headers"]).get(b"cookie", b"").decode())
        is_batched = self.knows_batches and BATCHES in scope["subprotocols"]
        client = Client(send, is_batched=is_batched)
        await eventually(lambda: not self.is_silent, timeout=60)
        await send({"type": "websocket.accept", "subprotocol": BATCHES if is_batched else None})
        if not await self._is_session(cookie["sessionid"].value if "sessionid" in cookie else ""):
            await client.close(4401, "session ended")
            return
        self.clients.add(client)
        try:
            while (event := await receive())["type"] == "websocket.receive":
                await self._take(client, json.loads(event["text"]))
        finally:
            self.clients.discard(client)

    async def run(self) -> None:
        """Tick every subscribed symbol ``rate`` times a second, a random walk."""
        while True:
            await asyncio.sleep(1 / self.rate if self.rate else 0.1)
            if self.rate and not self.is_silent:
                for key in {key for client in self.clients for key in client.keys}:
                    step = self._random.choice((-2, -1, 0, 0, 1, 2))
                    await self.tick(
                        *key, ltp=self.prices[key] + step * INSTRUMENTS[key]["tick_size"]
                    )

    async def tick(self, exchange: str, symbol: str, **changes: Any) -> None:
        """Send one tick of a symbol to whoever holds it."""
        key = (exchange, symbol)
        if "ltp" in changes:
            self.prices[key] = round(changes["ltp"], 4)
        self.volumes[key] += 25
        message = self._market_data(key, changes)
        for client in list(self.clients):
            if key in client.keys:
                await client.tick(message)

    async def feed(self, *, pool_id: str = "1", **message: Any) -> None:
        """Tell the clients that asked for it how the feed of an account is."""
        for client in list(self.clients):
            if client.wants_status:
                await client.say({"type": "feed", "since": now_ms(), "pool_id": pool_id, **message})

    async def end(self, symbol: str, **refusal: Any) -> None:
        """End a subscription that stood: the name means nothing any more."""
        for client in list(self.clients):
            for key in [key for key in client.keys if key[1] == symbol]:
                client.keys.discard(key)
                answer = {"exchange": key[0], "symbol": symbol, "status": "error", **refusal}
                message = {"type": "subscribe", "status": "error", "subscriptions": [answer]}
                await client.say(message)

    async def restart(self, after_ms: int) -> None:
        """End as a server that restarts does."""
        for client in list(self.clients):
            await client.say({"type": "reconnect", "after_ms": after_ms})
        await self.close(1012)

    async def close(self, code: int, reason: str = "") -> None:
        """Close every socket with ``code``."""
        for client in list(self.clients):
            self.clients.discard(client)
            await client.close(code, reason)

    def _market_data(self, key: tuple[str, str], changes: dict[str, Any]) -> dict[str, Any]:
        item, price = INSTRUMENTS[key], self.prices[key]
        close = item["price"] * 0.99
        data = {
            "symbol": item["symbol"],
            "exchange": item["exchange"],
            "ltp": price,
            "timestamp": now_ms(),
            "close": round(close, 4),
            "change": round(price - close, 4),
            "change_percent": round((price - close) / close * 100, 2),
        }
        if not item["exchange"].endswith("_INDEX"):
            tick = item["tick_size"]
            bid, ask = round(price - tick, 4), round(price + tick, 4)
            data |= {
                "volume": self.volumes[key],
                "bid_price": bid,
                "ask_price": ask,
                "bid_size": 120,
                "ask_size": 4210,
                "depth": {
                    "buy": [{"price": bid, "quantity": 120, "orders": 3}],
                    "sell": [{"price": ask, "quantity": 4210, "orders": 9}],
                },
            }
        return {
            "type": "market_data",
            "symbol": item["symbol"],
            "exchange": item["exchange"],
            "mode": 3,
            "broker": "zerodha",
            "data": data | {name: value for name, value in changes.items() if name != "ltp"},
        }

    async def _take(self, client: Client, request: dict[str, Any]) -> None:
        if self.is_silent:
            return
        self.requests.append(request)
        action = request["action"]
        echo = {"request_id": request["request_id"]} if "request_id" in request else {}
        if action == "ping":
            await client.say(
                {"type": "pong", "status": "success", "server_timestamp": now_ms()}
                | {"client_timestamp": request["timestamp"], "_pingId": request.get("_pingId")}
            )
        elif action == "get_broker_info":
            usage = {"used": self.counted, "connections": 1}
            account = {"broker": "zerodha", "label": "main", "pool_id": "1"} | (
                {"usage": usage} if self.counted is not None else {}
            )
            await client.say({"type": "broker_info", "status": "success", "accounts": [account]})
        elif action == "subscribe_status":
            client.wants_status = True
            await client.say({"type": action, "status": "success", "message": "ok"} | echo)
        elif action == "subscribe":
            await self._subscribe(client, request, echo)
        elif action == "unsubscribe":
            client.keys -= {(item["exchange"], item["symbol"]) for item in request["symbols"]}
            await client.say({"type": "unsubscribe", "status": "success"} | echo)
        else:
            await client.say(
                {"status": "error", "code": "INVALID_ACTION", "message": action} | echo
            )

    async def _subscribe(
        self, client: Client, request: dict[str, Any], echo: dict[str, Any]
    ) -> None:
        answers = []
        accepted = []
        for item in request["symbols"]:
            key = (item["exchange"], item["symbol"])
            refusal = self.refusals.get(item["symbol"]) or self._unknown(key)
            mode = request.get("mode", 2)
            pool = {"broker": "zerodha", "pool_id": self.pools.get(item["symbol"], "1")}
            answers.append({**item, "status": "success", "mode": mode, **pool, **(refusal or {})})
            if not refusal:
                accepted.append(key)
        status = "success" if len(accepted) == len(answers) else "partial" if accepted else "error"
        await client.say({"type": "subscribe", "status": status, "subscriptions": answers} | echo)
        client.keys.update(accepted)
        for key in accepted:
            stored = {"timestamp": self.stored[key[1]]} if key[1] in self.stored else {}
            await client.tick(self._market_data(key, stored))

    def _unknown(self, key: tuple[str, str]) -> dict[str, Any] | None:
        if key in INSTRUMENTS:
            return None
        near = get_close_matches(key[1], [symbol for _, symbol in INSTRUMENTS], n=3)
        return {
            "status": "error",
            "code": "SYMBOL_NOT_FOUND",
            "message": f"{key[1]} is not known on {key[0]}. Nearest: {', '.join(near)}",
            "suggestions": near,
        }


def now_ms() -> int:
    return int(time.time() * 1000)
