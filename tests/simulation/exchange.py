"""A Kite exchange in memory: the other end of every socket of a simulation.

It is the pool's ``Connector``. It keeps a broker's limits, fails as it is told, and writes down
what its clients did wrong (``violations``). Frames are real Kite frames for the real adapter.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qs, urlsplit

import msgspec

from brokers.base import BrokerCapabilities, Handshake
from brokers.exceptions import BrokerUnavailableError
from brokers.testing import kite_frame, kite_full, kite_ltp, kite_quote
from brokers.types import FeedMode
from pooling.exceptions import ConnectionLostError
from pooling.transport import UpgradeRefusedError

__all__ = ["Rules", "SimulatedExchange", "SimulatedLink"]

EPSILON = 1e-6
BEAT_SECONDS = 1.0
HEARTBEAT = b"\x00"
EMPTY_FRAME_BYTES = 2
MODES = {"ltp": FeedMode.LTP, "quote": FeedMode.QUOTE, "full": FeedMode.DEPTH}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the exchange allows; ``capabilities`` is what the client was told of it."""

    capabilities: BrokerCapabilities
    depth_cost: int = 1
    tick_every_beats: int = 3


class SimulatedLink:
    """One socket: the pool's ``Transport`` on one side, the exchange's session on the other."""

    def __init__(self, exchange: SimulatedExchange, number: int) -> None:
        self.number = number
        self.modes: dict[int, FeedMode] = {}
        self.ready_at: dict[int, float] = {}
        self.is_open = True
        self.is_silent = False
        self.opened_at = self.heard_at = self.pong_at = exchange.now()
        self.last_message_at: float | None = None
        self.frame: bytes | None = None
        self._exchange = exchange
        self._incoming: deque[str | bytes] = deque()
        self._held_back: list[str | bytes] = []
        self._reader: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"link {self.number} with {len(self.modes)}"

    async def send(self, message: str | bytes) -> None:
        if not self.is_open:
            raise ConnectionLostError("the simulated exchange hung up")
        self._exchange.hear(self, message)

    async def recv(self) -> str | bytes:
        while not self._incoming:
            if not self.is_open:
                raise ConnectionLostError("the simulated exchange hung up")
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._incoming.popleft()

    async def ping(self) -> None:
        if self.is_open and not self.is_silent:
            self.pong_at = self._exchange.now()

    async def close(self) -> None:
        self.hang_up()

    def abort(self) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """End the link; what it had not delivered is lost."""
        if self.is_open:
            self.is_open = False
            self._incoming.clear()
            self._exchange.forget(self)
            self._wake()

    def deliver(self, frame: str | bytes) -> None:
        """Send a frame, or hold it back while the link is silent."""
        if not self.is_open:
            return
        if self.is_silent:
            self._held_back.append(frame)
            return
        self.heard_at = self._exchange.now()
        self._incoming.append(frame)
        self._wake()

    def speak(self) -> None:
        """End the silence; a stream loses nothing, it is late."""
        self.is_silent = False
        held, self._held_back = self._held_back, []
        for frame in held:
            self.deliver(frame)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)


class SimulatedExchange:
    """One Kite exchange. Tests turn its public attributes to make it fail.

    ``good_tokens`` None takes every token. ``refusal`` is (status, Retry-After or None).
    """

    def __init__(self, rules: Rules, note: Callable[[str], None]) -> None:
        self.rules = rules
        self.links: dict[int, SimulatedLink] = {}
        self.ended_at = float("-inf")  # when a link last ended
        self.violations: list[str] = []
        self.attempts = 0
        self.messages = 0
        self.handshakes = 0
        self.good_tokens: set[str] | None = None
        self.refusal: tuple[int, int | None] | None = None
        self.ack_seconds = 0.0
        self.handshake_seconds = 0.02
        self.is_open_market = True
        self.rejects_next = False
        self.refused_tokens: Counter[str] = Counter()
        self._note = note
        self._rejected: set[int] = set()
        self._last_attempt = float("-inf")
        self._not_before = float("-inf")
        self._beats = 0
        self._loop = asyncio.get_running_loop()
        self._beat_timer = self._loop.call_later(BEAT_SECONDS, self._beat)

    def now(self) -> float:
        return self._loop.time()

    def close(self) -> None:
        self._beat_timer.cancel()

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> SimulatedLink:
        """Open a link, or refuse it as Kite would."""
        token = parse_qs(urlsplit(handshake.url).query)["access_token"][0]
        self._observe_attempt(token)
        await asyncio.sleep(min(self.handshake_seconds, open_timeout_seconds))
        if self.handshake_seconds > open_timeout_seconds:
            raise BrokerUnavailableError("the simulated exchange did not answer in time")
        self._admit(token)
        self.handshakes += 1
        link = self.links[self.handshakes] = SimulatedLink(self, self.handshakes)
        self._note(f"{link} opened")
        return link

    def hear(self, link: SimulatedLink, message: str | bytes) -> None:
        """Take a client's request."""
        self.messages += 1
        self._observe_pace(link)
        request = msgspec.json.decode(message)
        mode = None
        tokens = request["v"]
        if request["a"] == "mode":
            mode, tokens = MODES[request["v"][0]], request["v"][1]
        self._note(f"{link}: {request['a']} {mode.name if mode else ''} {tokens}")
        if len(tokens) > self.rules.capabilities.batch_size:
            self._complain(f"{link}: {len(tokens)} instruments in one message")
        if request["a"] == "unsubscribe":
            self._unsubscribe(link, tokens)
        elif mode is None:
            self._subscribe(link, tokens)
        else:
            self._change_mode(link, tokens, mode)
        link.frame = None

    def forget(self, link: SimulatedLink) -> None:
        """Note that a link ended, whoever ended it."""
        self.links.pop(link.number, None)
        self.ended_at = asyncio.get_running_loop().time()
        self._note(f"{link} ended")

    def carriers(self, token: int) -> list[SimulatedLink]:
        """Return the open links that carry an instrument."""
        return [link for link in self.links.values() if token in link.modes]

    def cost(self, link: SimulatedLink) -> int:
        """Return how much of its capacity a link uses."""
        depth = self.rules.depth_cost
        return sum(depth if mode is FeedMode.DEPTH else 1 for mode in link.modes.values())

    def _observe_attempt(self, token: str) -> None:
        now = self.now()
        self.attempts += 1
        self._note(f"connect with {token}")
        gap = now - self._last_attempt
        if gap < self.rules.capabilities.connect_interval_seconds - EPSILON:
            self._complain(f"two connects within {gap:.3f} s")
        if now < self._not_before - EPSILON:
            self._complain(f"connect {self._not_before - now:.3f} s before Retry-After")
        if self.refused_tokens[token]:
            self._complain(f"the refused credential {token} was tried again")
        self._last_attempt = now

    def _admit(self, token: str) -> None:
        if self.refusal is not None:
            status, retry_after = self.refusal
            headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
            if retry_after is not None:
                self._not_before = self.now() + retry_after
            self._note(f"refused with {status}, Retry-After {retry_after}")
            raise UpgradeRefusedError(status, headers, b"")
        if self.good_tokens is not None and token not in self.good_tokens:
            self.refused_tokens[token] += 1
            self._note(f"refused the credential {token}")
            raise UpgradeRefusedError(403, {}, b"")
        if len(self.links) >= self.rules.capabilities.max_connections:
            self._complain(f"connection {len(self.links) + 1} was asked for")
            raise UpgradeRefusedError(429, {}, b"")

    def _observe_pace(self, link: SimulatedLink) -> None:
        now = self.now()
        interval = self.rules.capabilities.message_interval_seconds
        if link.last_message_at is not None and now - link.last_message_at < interval - EPSILON:
            self._complain(f"{link}: two messages within {now - link.last_message_at:.3f} s")
        link.last_message_at = now

    def _subscribe(self, link: SimulatedLink, tokens: list[int]) -> None:
        if self.rejects_next:
            self.rejects_next = False
            self._rejected.add(link.number)
            self._tell(link, "the exchange does not take this")
            return
        for token in tokens:
            if token in link.modes:
                self._complain(f"{link}: {token} was subscribed already")
            link.modes[token] = FeedMode.QUOTE
        self._check_room(link)
        self._acknowledge(link, tokens)

    def _change_mode(self, link: SimulatedLink, tokens: list[int], mode: FeedMode) -> None:
        for token in tokens:
            if token not in link.modes:
                if not self._was_rejected(link):
                    self._complain(f"{link}: mode of {token}, which is not subscribed")
                continue
            link.modes[token] = mode
        self._check_room(link)
        self._acknowledge(link, [token for token in tokens if token in link.modes])

    def _unsubscribe(self, link: SimulatedLink, tokens: list[int]) -> None:
        for token in tokens:
            if link.modes.pop(token, None) is None and not self._was_rejected(link):
                self._complain(f"{link}: {token} was not subscribed")
            link.ready_at.pop(token, None)

    def _was_rejected(self, link: SimulatedLink) -> bool:
        return link.number in self._rejected

    def _check_room(self, link: SimulatedLink) -> None:
        used = self.cost(link)
        if used > self.rules.capabilities.symbols_per_connection:
            self._complain(f"{link} uses {used}")

    def _acknowledge(self, link: SimulatedLink, tokens: list[int]) -> None:
        at = self.now() + self.ack_seconds
        for token in tokens:
            link.ready_at[token] = max(at, link.ready_at.get(token, 0.0))
        if self.ack_seconds:
            self._loop.call_later(self.ack_seconds + EPSILON, self._send_ticks, link)
        else:
            self._send_ticks(link)

    def _beat(self) -> None:
        self._beat_timer = self._loop.call_later(BEAT_SECONDS, self._beat)
        self._beats += 1
        ticks = self.is_open_market and self._beats % self.rules.tick_every_beats == 0
        lifetime = self.rules.capabilities.max_lifetime_seconds
        for link in list(self.links.values()):
            if lifetime is not None and self.now() >= link.opened_at + lifetime:
                self._note(f"{link} is too old")
                link.hang_up()
            elif ticks:
                self._send_ticks(link)
            else:
                link.deliver(HEARTBEAT)

    def _send_ticks(self, link: SimulatedLink) -> None:
        frame = link.frame
        if frame is None:
            now = self.now()
            ready = [t for t in link.modes if link.ready_at.get(t, 0.0) <= now]
            frame = kite_frame(*(_packet(token, link.modes[token]) for token in ready))
            if len(ready) == len(link.modes):
                link.frame = frame
        link.deliver(frame if len(frame) > EMPTY_FRAME_BYTES else HEARTBEAT)

    def _tell(self, link: SimulatedLink, text: str) -> None:
        link.deliver(msgspec.json.encode({"type": "error", "data": text}).decode())

    def _complain(self, text: str) -> None:
        self.violations.append(f"{self.now():.3f}: {text}")
        self._note(f"VIOLATION {text}")


@cache
def _packet(token: int, mode: FeedMode) -> bytes:
    if mode is FeedMode.LTP:
        return kite_ltp(token, 100)
    quote = kite_quote(token, 100)
    return quote if mode is FeedMode.QUOTE else kite_full(quote)
