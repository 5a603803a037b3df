"""The local exchange as Upstox: its market data feed V3."""

from __future__ import annotations

import gzip
import random
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Unpack
from urllib.parse import urlencode

from websockets.datastructures import Headers
from websockets.http11 import Response

from brokers.simulator.exchange import LOOPBACK, Upgrade
from brokers.simulator.link import Link
from brokers.simulator.market import Quote
from brokers.simulator.market_exchange import MarketArguments, MarketExchange, wire_names
from brokers.simulator.responses import json_response, make_response, text_response
from brokers.simulator.upstox.encoder import (
    FrameType,
    MarketStatus,
    UpstoxMode,
    encode_feed,
    encode_frame,
    encode_market_info,
    encode_master,
    key_of,
)
from brokers.simulator.upstox.subscriptions import (
    BadRequestError,
    UpstoxBook,
    UpstoxLimits,
    UpstoxPlan,
    parse_request,
)

__all__ = ["UpstoxExchange"]

MAX_CODES = 256
PING_SECONDS = 5.0
FEED_PATH = "/v3/feed/market-data-feed"
AUTHORIZE_PATH = f"{FEED_PATH}/authorize"
FEEDER_PATH = "/market-data-feeder/v3/upstox-developer-api/feeds"
MASTER_PATH = "/market-quote/instruments/exchange/complete.json.gz"

# A price whose eight bytes are cut off after two.
TRUNCATED_FRAME = b"\x08\x01\x12\x0c\x0a\x01X\x12\x07\x0a\x05\x09\x9a\x99"


class UpstoxExchange(MarketExchange):
    """The feed, its authorization and the instruments master over a simulated market.

    A socket at the feed's path is answered with a redirect to the feeder, under a code that opens
    one connection; the authorize call gives such an address, too.

    Args:
        access_token: the only valid one; empty accepts any that is not.
        plan: what every user has: two connections and five levels, or five and thirty.
        max_keys: of a user in any one mode; None: what the plan has.
        ping_seconds: how long a link rests before it is pinged.
        common: see ``MarketExchange``.
    """

    def __init__(
        self,
        *,
        plan: str = UpstoxPlan.NORMAL,
        max_keys: int | None = None,
        ping_seconds: float = PING_SECONDS,
        **common: Unpack[MarketArguments],
    ) -> None:
        super().__init__(**common)
        if ping_seconds <= 0 or (max_keys is not None and max_keys < 1):
            raise ValueError("ping_seconds and max_keys must be positive")
        self._plan = UpstoxPlan(plan)
        self._key_limits = (
            self._plan.key_limits
            if max_keys is None
            else dict.fromkeys(UpstoxMode, (max_keys, max_keys))
        )
        self._ping_seconds = ping_seconds
        self._rng = random.Random(self._seed)  # noqa: S311 - no secret
        self._tokens, self._keys = wire_names(self.market, key_of)
        self._statuses = dict.fromkeys(
            sorted({key.partition("|")[0] for key in self._tokens}), MarketStatus.NORMAL_OPEN
        )
        self._codes: dict[str, str] = {}  # what opens a connection, and whose it is
        # Whose each connection is; as all below by link.
        self._users: dict[Link, str] = {}
        # By user, over all connections; gone with the last of them.
        self._limits: dict[str, UpstoxLimits] = {}
        self._books: dict[Link, UpstoxBook] = {}
        # Connections that have not heard of the markets yet.
        self._ungreeted: dict[Link, None] = {}
        # Feeds of this turn by key; the latest of each is sent.
        self._feeds: dict[Link, dict[str, bytes]] = {}
        # The instruments master, once it was asked for.
        self._master = b""

    # Verbs

    def set_market_status(self, segment: str, status: str) -> int:
        """Tell every connection what a segment's market is doing; how many it reached.

        Raises:
            ValueError: no such segment or status (``NORMAL_OPEN``, ``NORMAL_CLOSE``, …).
        """
        if segment not in self._statuses:
            raise ValueError(f"segment must be one of {', '.join(self._statuses)}, got {segment!r}")
        if status not in MarketStatus.__members__:
            known = ", ".join(MarketStatus.__members__)
            raise ValueError(f"status must be one of {known}, got {status!r}")
        self._statuses[segment] = MarketStatus[status]
        return sum(self._send_statuses(link) for link in list(self._books))

    def send_malformed(self, frame: bytes = TRUNCATED_FRAME) -> int:
        """Send a binary frame that breaks the protocol to every connection; how many it reached."""
        return sum(self._push(link, frame) for link in list(self._books))

    # What the base asks for

    def _admit(self, upgrade: Upgrade) -> HTTPStatus | Response | None:
        if upgrade.path == FEEDER_PATH:
            user = self._codes.get(upgrade.query.get("code", ""))
            if user is None:
                return HTTPStatus.FORBIDDEN
            return HTTPStatus.TOO_MANY_REQUESTS if self._is_full(user) else None
        if upgrade.path != FEED_PATH:
            return HTTPStatus.NOT_FOUND
        user = _token(upgrade.headers)
        if not self._is_valid(user):
            return _unauthorized()
        if self._is_full(user):
            return HTTPStatus.TOO_MANY_REQUESTS
        response = text_response(HTTPStatus.FOUND)
        response.headers["Location"] = self._feeder_url(user)
        return response

    def _key(self, upgrade: Upgrade) -> str:
        if upgrade.path == FEEDER_PATH:
            return self._codes.get(upgrade.query.get("code", ""), "")
        return _token(upgrade.headers)

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        super()._opened(link, upgrade)
        user = self._users[link] = self._codes.pop(upgrade.query["code"])
        limits = self._limits.setdefault(user, UpstoxLimits(self._key_limits))
        self._books[link] = UpstoxBook(limits=limits, known=self._tokens)
        self._ungreeted[link] = None

    def _heard(self, link: Link, message: str | bytes) -> None:
        self._greet(link)
        counters, book = self._links[link], self._books[link]
        try:
            request = parse_request(message)
        except BadRequestError:
            counters.malformed += 1
            return
        change = book.apply(request)
        counters.judged(change, holds=len(book))
        for key in change.added:
            self._hold(link, self._tokens[key])
        for key in change.ended:
            self._let_go(link, self._tokens[key])
            self._feeds.get(link, {}).pop(key, None)
        self._send_values(link, change.added)

    def _ticked(self, quote: Quote, holders: Collection[Link]) -> None:
        key = self._keys[quote.instrument.instrument_token]
        encoded: dict[UpstoxMode, bytes] = {}
        for link in holders:
            mode = self._books[link].modes[key]
            feed = encoded.get(mode)
            if feed is None:
                feed = encoded[mode] = encode_feed(quote, mode)
            self._feeds.setdefault(link, {})[key] = feed

    def _flush(self, now: float) -> None:
        for link in [each for each in self._ungreeted if each.is_open]:
            self._greet(link)
        feeds, self._feeds = self._feeds, {}
        for link, some in feeds.items():
            frame = encode_frame(FrameType.LIVE_FEED, some, self._now_ms())
            self._push(link, frame, ticks=len(some))
        for link in self._books:
            if now - link.last_sent >= self._ping_seconds and not link.is_silent:
                link.send_ping(b"")
                link.last_sent = now

    def _closed(self, link: Link) -> None:
        super()._closed(link)
        self._books.pop(link).clear()
        user = self._users.pop(link)
        if user not in self._users.values():
            del self._limits[user]
        self._ungreeted.pop(link, None)
        self._feeds.pop(link, None)

    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        if path != MASTER_PATH:
            return None
        if not self._master:
            self._master = gzip.compress(encode_master(self.market.instruments()), compresslevel=6)
        return make_response(HTTPStatus.OK, self._master, "application/gzip")

    def _respond(self, path: str, query: Mapping[str, str], headers: Headers) -> Response:
        # The one plain GET that wants a credential.
        return (
            self._authorize(headers)
            if path == AUTHORIZE_PATH
            else super()._respond(path, query, headers)
        )

    # Inside

    def _authorize(self, headers: Headers) -> Response:
        user = _token(headers)
        if not self._is_valid(user):
            return _unauthorized()
        data = {"authorized_redirect_uri": self._feeder_url(user)}
        return json_response({"status": "success", "data": data})

    def _is_full(self, user: str) -> bool:
        return len(self._connections_of(user)) >= self._plan.connections

    def _feeder_url(self, user: str) -> str:
        while len(self._codes) >= MAX_CODES:  # the oldest was never used
            del self._codes[next(iter(self._codes))]
        code, number = f"{self._rng.getrandbits(96):024x}", f"{self._rng.getrandbits(64):016x}"
        self._codes[code] = user
        query = urlencode({"requestId": number, "code": code})
        return f"ws://{LOOPBACK}:{self.port}{FEEDER_PATH}?{query}"

    def _now_ms(self) -> int:
        return int(self.clock() * 1000)

    def _greet(self, link: Link) -> None:
        """Send what every connection hears first."""
        if link in self._ungreeted:
            del self._ungreeted[link]
            self._send_statuses(link)

    def _send_statuses(self, link: Link) -> bool:
        return self._push(link, encode_market_info(self._statuses, self._now_ms()))

    def _send_values(self, link: Link, keys: Iterable[str]) -> None:
        modes, quotes = self._books[link].modes, self.market.quotes
        feeds = {key: encode_feed(quotes[self._tokens[key]], modes[key]) for key in keys}
        if feeds:
            frame = encode_frame(FrameType.INITIAL_FEED, feeds, self._now_ms())
            self._push(link, frame, ticks=len(feeds))


def _token(headers: Headers) -> str:
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def _unauthorized() -> Response:
    error = {"errorCode": "UDAPI100050", "message": "Invalid token used to access API"}
    return json_response({"status": "error", "errors": [error]}, HTTPStatus.UNAUTHORIZED)
