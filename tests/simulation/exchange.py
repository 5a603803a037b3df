"""A Kite exchange in memory: the other end of every socket of a simulation.

It is the pool's ``Connector``. It keeps a broker's limits, fails as it is told, and writes down
what its clients did wrong (``violations``). Frames are real Kite frames for the real adapter, and
every price is the number of the market's tick, so that a lost or an old one can be told.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import msgspec

from brokers.contract import BrokerCapabilities, Handshake
from brokers.exceptions import BrokerUnavailableError
from brokers.testing import kite_frame, kite_full, kite_ltp, kite_quote
from brokers.types import FeedMode
from pooling.connectors.websocket import UpgradeRefusedError
from tests.simulation.link import SimulatedLink
from tests.simulation.names import Listing, price_of
from tests.simulation.sessions import Sessions

__all__ = ["Observer", "Rules", "SimulatedExchange"]

EPSILON = 1e-6
HEARTBEAT = b"\x00"
EMPTY_FRAME_BYTES = 2
MODES = {"ltp": FeedMode.LTP, "quote": FeedMode.QUOTE, "full": FeedMode.DEPTH}
NUMBERED = struct.Struct(">II")  # every packet begins with its token and its price
TAILS = {
    FeedMode.LTP: kite_ltp(0, 0)[NUMBERED.size :],
    FeedMode.QUOTE: kite_quote(0, 0)[NUMBERED.size :],
    FeedMode.DEPTH: kite_full(kite_quote(0, 0))[NUMBERED.size :],
}


class Observer(Protocol):
    """Who judges what only somebody can judge that knows the clients' wishes."""

    def attempted(self, endpoint: str) -> None: ...

    def unsubscribed(self, link: SimulatedLink, token: int) -> None: ...

    def left(self, link: SimulatedLink, how: str) -> None: ...

    def outlived(self, link: SimulatedLink) -> None: ...

    def ticked(self, number: int, delivered: set[int]) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the exchange allows; ``capabilities`` is what the client was told of it."""

    capabilities: BrokerCapabilities
    depth_cost: int = 1
    beat_seconds: float = 1.0
    tick_every_beats: int = 3

    @property
    def max_message_bytes(self) -> int:
        """A batch of two-digit tokens and what surrounds it."""
        return 48 + 3 * self.capabilities.batch_size


class SimulatedExchange:
    """One Kite exchange. Tests turn its public attributes to make it fail.

    ``good_tokens`` None takes every token. ``refusal`` is (status, Retry-After or None).
    ``banned`` numbers are refused by name, ``room`` (None: as declared) is what a link really
    takes, and what is beyond it is refused without names. Nobody can reach the hosts in
    ``unreachable``.
    """

    def __init__(
        self, rules: Rules, listing: Listing, observer: Observer, note: Callable[[str], None]
    ) -> None:
        self.rules = rules
        self.listing = listing
        self.links: dict[int, SimulatedLink] = {}
        self.sessions = Sessions(rules.capabilities.max_connections)
        self.ended_at = float("-inf")  # when a link last ended
        self.violations: list[str] = []
        self.attempts = 0
        self.messages = 0
        self.handshakes = 0
        self.tick_number = 0
        self.ticked_at = float("-inf")
        self.good_tokens: set[str] | None = None
        self.refusal: tuple[int, int | None] | None = None
        self.ack_seconds = 0.0
        self.handshake_seconds = 0.02
        self.is_open_market = True
        self.rejects_next = False
        self.banned: frozenset[int] = frozenset()
        self.room: int | None = None
        self.unreachable: frozenset[str] = frozenset()
        self._refused_tokens: set[tuple[str, str]] = set()  # (endpoint, token)
        self._observer = observer
        self._note = note
        self._last_attempt = float("-inf")
        self._not_before: dict[str, float] = {}  # by endpoint
        self._beats = 0
        self._loop = asyncio.get_running_loop()
        self._beat_timer = self._loop.call_later(rules.beat_seconds, self._beat)

    def now(self) -> float:
        return self._loop.time()

    def close(self) -> None:
        self._beat_timer.cancel()

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> SimulatedLink:
        """Open a link, or refuse it as Kite would."""
        url = urlsplit(handshake.url)
        endpoint, token = url.hostname or "", parse_qs(url.query)["access_token"][0]
        self._observe_attempt(endpoint, token)
        await asyncio.sleep(min(self.handshake_seconds, open_timeout_seconds))
        if endpoint in self.unreachable or self.handshake_seconds > open_timeout_seconds:
            raise BrokerUnavailableError("the simulated exchange did not answer in time")
        self._admit(endpoint, token)
        self.handshakes += 1
        link = SimulatedLink(self, self.handshakes, endpoint)
        self.links[link.number] = link
        self._note(f"{link} opened to {endpoint}")
        return link

    def hear(self, link: SimulatedLink, message: str | bytes) -> None:
        """Take a client's request."""
        self.messages += 1
        self._observe_message(link, message)
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

    def forget(self, link: SimulatedLink, how: str) -> None:
        """Note that a link ended: "ended" by the exchange, or "closed" or "aborted"."""
        self.links.pop(link.number, None)
        self.ended_at = self.now()
        self._note(f"{link} {how}")
        if how != "ended":
            self._observer.left(link, how)
        if how != "closed":
            self.sessions.linger(link.number, self.now())

    def reopen(self) -> None:
        """Begin a day on which tokens may mean something else: no price of before comes late."""
        for link in self.links.values():
            link.frame = None
            link.drop_held_back()

    def forgive(self, endpoint: str) -> None:
        """Take credentials once more where a person has the account connect from now on.

        A Retry-After is not forgiven, wherever one went meanwhile.
        """
        self._refused_tokens = {pair for pair in self._refused_tokens if pair[0] != endpoint}

    def is_late(self, token: int) -> bool:
        """Tell whether a stalled link has this instant delivered what it held back of a token.

        Only one that is asked for it last, and that was to deliver it first during the stall, may
        do so: frames of one link come in order, but no pool can know how old the first ones are.
        """
        last = max(self.carriers(token), key=lambda link: link.asked_at[token], default=None)
        if last is None or last.spoke_at != self.now():
            return False
        return last.ready_at.get(token, 0.0) >= last.silent_since

    def carriers(self, token: int) -> list[SimulatedLink]:
        """Return the open links that carry an instrument."""
        return [link for link in self.links.values() if token in link.modes]

    def cost(self, link: SimulatedLink) -> int:
        """Return how much of its capacity a link uses."""
        depth = self.rules.depth_cost
        return sum(depth if mode is FeedMode.DEPTH else 1 for mode in link.modes.values())

    def _observe_attempt(self, endpoint: str, token: str) -> None:
        now = self.now()
        self.attempts += 1
        self._note(f"connect to {endpoint} with {token}")
        self._observer.attempted(endpoint)
        gap = now - self._last_attempt
        if gap < self.rules.capabilities.connect_interval_seconds - EPSILON:
            self._complain(f"two connects within {gap:.3f} s")
        if (early := self._not_before.get(endpoint, now) - now) > EPSILON:
            self._complain(f"connect {early:.3f} s before Retry-After")
        if (endpoint, token) in self._refused_tokens:
            self._complain(f"the refused credential {token} was tried again")
        self._last_attempt = now

    def _admit(self, endpoint: str, token: str) -> None:
        if self.refusal is not None:
            self._refuse(endpoint, *self.refusal)
        if self.good_tokens is not None and token not in self.good_tokens:
            self._refused_tokens.add((endpoint, token))
            self._note(f"refused the credential {token}")
            raise UpgradeRefusedError(403, {}, b"")
        if len(self.links) >= self.rules.capabilities.max_connections:
            self._complain(f"connection {len(self.links) + 1} was asked for")
            self._refuse(endpoint, 429, None)
        while (over := self.sessions.over_limit(self.links, self.now())) is not None:
            if over.victim is None:
                self._refuse(endpoint, 429, over.retry_after)
            else:
                self._note(f"a newer session ends {over.victim}")
                over.victim.hang_up()

    def _refuse(self, endpoint: str, status: int, retry_after: int | None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        if retry_after is not None:
            self._not_before[endpoint] = self.now() + retry_after
        self._note(f"refused with {status}, Retry-After {retry_after}")
        raise UpgradeRefusedError(status, headers, b"")

    def _observe_message(self, link: SimulatedLink, message: str | bytes) -> None:
        now = self.now()
        interval = self.rules.capabilities.message_interval_seconds
        if link.last_message_at is not None and now - link.last_message_at < interval - EPSILON:
            self._complain(f"{link}: two messages within {now - link.last_message_at:.3f} s")
        link.last_message_at = now
        if len(message) > self.rules.max_message_bytes:
            self._complain(f"{link}: a message of {len(message)} bytes")

    def _subscribe(self, link: SimulatedLink, tokens: list[int]) -> None:
        if self.rejects_next:
            self.rejects_next = False
            link.refused.update(tokens)
            self._tell(link, "too many subscriptions")
            return
        taken = [token for token in tokens if self._take(link, token)]
        self._check_room(link)
        self._acknowledge(link, taken)

    def _take(self, link: SimulatedLink, token: int) -> bool:
        """Take one instrument, or refuse it: by name if it is banned, else without."""
        if token in link.modes:
            self._complain(f"{link}: {token} was subscribed already")
        if self.listing.number_of(token) in self.banned:
            link.refused.add(token)
            self._tell(link, "the exchange does not take these", token)
            return False
        if self.room is not None and self.cost(link) >= self.room:
            link.refused.add(token)
            self._tell(link, "subscription limit exceeded")
            return False
        link.refused.discard(token)
        if token in link.ended:
            link.asked_again.add(token)
        link.asked_at[token] = self.now()
        link.modes[token] = FeedMode.QUOTE
        return True

    def _change_mode(self, link: SimulatedLink, tokens: list[int], mode: FeedMode) -> None:
        for token in tokens:
            if token in link.modes:
                link.modes[token] = mode
            elif token not in link.refused:
                self._complain(f"{link}: mode of {token}, which is not subscribed")
        self._check_room(link)
        self._acknowledge(link, [token for token in tokens if token in link.modes])

    def _unsubscribe(self, link: SimulatedLink, tokens: list[int]) -> None:
        for token in tokens:
            was_carried = link.modes.pop(token, None) is not None
            link.ready_at.pop(token, None)
            if was_carried:
                self._observer.unsubscribed(link, token)
                link.ended.add(token)
            elif token not in link.refused:
                self._complain(f"{link}: {token} was not subscribed")

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
        self._beat_timer = self._loop.call_later(self.rules.beat_seconds, self._beat)
        self._beats += 1
        ticks = self.is_open_market and self._beats % self.rules.tick_every_beats == 0
        if ticks:
            self.tick_number, self.ticked_at = self.tick_number + 1, self.now()
        delivered: set[int] = set()
        lifetime = self.rules.capabilities.max_lifetime_seconds
        for link in list(self.links.values()):
            if lifetime is not None and self.now() >= link.opened_at + lifetime:
                self._note(f"{link} is too old")
                self._observer.outlived(link)
                link.hang_up()
            elif ticks:
                link.frame = None
                delivered |= self._send_ticks(link)
            else:
                link.deliver(HEARTBEAT)
        self._observer.ticked(self.tick_number, delivered)

    def _send_ticks(self, link: SimulatedLink) -> set[int]:
        """Send the present tick of everything that is ready; returns what went out."""
        now, number = self.now(), self.tick_number
        listing = self.listing
        ready = [
            token
            for token in link.modes
            if link.ready_at.get(token, 0.0) <= now and listing.trades(token)
        ]
        frame = link.frame
        if frame is None:
            frame = kite_frame(*(self._packet(token, link.modes[token], number) for token in ready))
            if len(ready) == len(link.modes):
                link.frame = frame
        went = link.deliver(frame if len(frame) > EMPTY_FRAME_BYTES else HEARTBEAT)
        # Of a token that was asked for while it meant something else, nothing is due.
        due = {token for token in ready if link.asked_at[token] >= listing.meant_since(token)}
        return due if went else set()

    def _packet(self, token: int, mode: FeedMode, tick: int) -> bytes:
        price = price_of(self.listing.number_of(token), tick)
        return NUMBERED.pack(token, price) + TAILS[mode]

    def _tell(self, link: SimulatedLink, text: str, *tokens: int) -> None:
        said = {"type": "error", "data": text, "tokens": tokens}
        link.deliver(msgspec.json.encode(said).decode())

    def _complain(self, text: str) -> None:
        self.violations.append(f"{self.now():.3f}: {text}")
        self._note(f"VIOLATION {text}")
