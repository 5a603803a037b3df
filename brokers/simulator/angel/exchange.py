"""The local exchange as Angel One: smartapi.angelone.in/docs, WebSocket Streaming 2.0."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Unpack

import msgspec
from websockets.frames import Opcode
from websockets.http11 import Response

from brokers.simulator.angel.encoder import (
    AngelMode,
    AngelName,
    encode_master,
    encode_tick,
    name_of,
)
from brokers.simulator.angel.subscriptions import (
    AngelBook,
    AngelRequest,
    BadRequestError,
    parse_request,
)
from brokers.simulator.exchange import Upgrade
from brokers.simulator.link import Link
from brokers.simulator.market import Quote
from brokers.simulator.market_exchange import (
    FeedLogin,
    MarketArguments,
    MarketExchange,
    fits,
    wire_names,
)
from brokers.simulator.responses import make_response, text_response

__all__ = ["MAX_CONNECTIONS", "MAX_PAIRS", "AngelExchange"]

MAX_CONNECTIONS = 3
MAX_PAIRS = 1000
PING_SECONDS = 30.0
PATH = "/smart-stream"
MASTER_PATH = "/OpenAPI_File/files/OpenAPIScripMaster.json"

# In snap quote mode, and ends after two bytes of its token.
TRUNCATED_FRAME = b"\x03\x0128"


class AngelExchange(MarketExchange):
    """SmartAPI streaming and the instruments master over a simulated market.

    Args:
        api_key, access_token, client_code, feed_token: the only valid credential; an empty part
            accepts any that is not.
        max_pairs: of (token, mode), per connection.
        has_depth_20: whether there are books of 20 levels, which Angel has announced to end.
        ping_seconds: a client that sends neither a text ``ping`` nor a ping frame for so long is
            disconnected.
        common: see ``MarketExchange``.
    """

    def __init__(
        self,
        *,
        client_code: str = "",
        feed_token: str = "",
        max_pairs: int = MAX_PAIRS,
        has_depth_20: bool = True,
        ping_seconds: float = PING_SECONDS,
        **common: Unpack[MarketArguments],
    ) -> None:
        super().__init__(**common)
        if ping_seconds <= 0:
            raise ValueError(f"ping_seconds must be positive, got {ping_seconds}")
        self._client_code = client_code
        self._feed_token = feed_token
        self._max_pairs = max_pairs
        self._has_depth_20 = has_depth_20
        self._ping_seconds = ping_seconds
        self._tokens, self._names = wire_names(self.market, name_of)
        # Of every open connection, as all below by link.
        self._books: dict[Link, AngelBook] = {}
        # When a client was heard to ping last, on the loop's clock.
        self._pinged: dict[Link, float] = {}
        # Frames of this turn.
        self._ticks: dict[Link, list[bytes]] = {}
        # The number of the latest frame of a tick.
        self._sequence = 0
        # The instruments master, once it was asked for.
        self._master = b""

    # Verbs

    def send_error(self, text: str) -> int:
        """Send a text error (E1001) to every connection; how many it reached."""
        return sum(self._tell(link, "E1001", text, "") for link in list(self._books))

    def send_malformed(self, frame: bytes = TRUNCATED_FRAME) -> int:
        """Send a binary frame that breaks the protocol to every connection; how many it reached."""
        return sum(self._push(link, frame) for link in list(self._books))

    # What the base asks for

    def _admit(self, upgrade: Upgrade) -> HTTPStatus | Response | None:
        if upgrade.path != PATH:
            return HTTPStatus.NOT_FOUND
        given = _credential(upgrade)
        if wrong := self._wrong_part(given):
            response = text_response(HTTPStatus.UNAUTHORIZED)
            response.headers["x-error-message"] = f"Invalid Header - Invalid {wrong}"
            return response
        if len(self._connections_of(self._key(upgrade))) >= MAX_CONNECTIONS:
            return HTTPStatus.TOO_MANY_REQUESTS
        return None

    def _key(self, upgrade: Upgrade) -> str:
        return _credential(upgrade)["client_code"]

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        super()._opened(link, upgrade)
        self._books[link] = AngelBook(limit=self._max_pairs, known=self._tokens)
        self._pinged[link] = link.loop.time()
        link.on_control = partial(self._controlled, link)

    def _heard(self, link: Link, message: str | bytes) -> None:
        if message in ("ping", b"ping"):
            self._pinged[link] = link.loop.time()
            self._push(link, b"pong", text=True)
            return
        counters, book = self._links[link], self._books[link]
        try:
            request = self._parsed(message)
        except BadRequestError as error:
            counters.malformed += 1
            self._tell(link, "E1001", "Invalid Request Payload.", error.correlation_id)
            return
        change = book.apply(request)
        counters.judged(change, holds=len(book))
        for name in change.added:
            self._hold(link, self._tokens[name])
        for name in change.ended:
            self._let_go(link, self._tokens[name])
        if change.over_limit:
            text = "Invalid Request. Subscription Limit Exceeded"
            self._tell(link, "E1002", text, request.correlation_id)
        self._send_values(link, change.added, request.params.mode)

    def _ticked(self, quote: Quote, holders: Collection[Link]) -> None:
        name = self._names[quote.instrument.instrument_token]
        self._sequence += 1
        encoded: dict[AngelMode, bytes] = {}
        for link in holders:
            for mode in sorted(self._books[link].modes.get(name, ())):
                frame = encoded.get(mode)
                if frame is None:
                    frame = encoded[mode] = encode_tick(quote, mode, self._sequence)
                self._ticks.setdefault(link, []).append(frame)

    def _flush(self, now: float) -> None:
        for link, frames in self._ticks.items():
            for frame in frames:
                self._push(link, frame, ticks=1)
        self._ticks.clear()
        for link, pinged in self._pinged.items():
            if now - pinged > self._ping_seconds and link.is_open:
                self._pinged[link] = now
                self._end(link, 1000, "no heartbeat")

    def _closed(self, link: Link) -> None:
        super()._closed(link)
        del self._books[link]
        del self._pinged[link]
        self._ticks.pop(link, None)

    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        if path != MASTER_PATH:
            return None
        if not self._master:
            self._master = encode_master(self.market.instruments())
        return make_response(HTTPStatus.OK, self._master, "application/json")

    # Inside

    def _parsed(self, message: str | bytes) -> AngelRequest:
        request = parse_request(message)
        if request.params.mode is AngelMode.DEPTH_20 and not self._has_depth_20:
            raise BadRequestError("20 levels have ended", request.correlation_id)
        return request

    def _wrong_part(self, given: Mapping[str, str]) -> str:
        """Name the first part of a credential that is wrong, in Angel's words; "" if none is."""
        access_token = given["access_token"].removeprefix("Bearer ")
        is_browser, feed_token = bool(given["is_browser"]), given["feed_token"]
        login = self._logged_in(feed_token if is_browser else access_token)
        if login is not None and access_token != login.feed_token:
            return _wrong_part_of(login, given)
        is_open = is_browser and not self._takes_only_logins and not self._has_ended(feed_token)
        if not (is_open or self._is_configured(access_token)) or self._is_expired:
            return "Auth token"
        if not fits(given["client_code"], self._client_code):
            return "Client Code"
        if not fits(given["api_key"], self._api_key):
            return "API Key"
        return "" if fits(given["feed_token"], self._feed_token) else "Feed Token"

    def _controlled(self, link: Link, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.PING and link in self._pinged:
            self._pinged[link] = link.loop.time()

    def _send_values(self, link: Link, names: Iterable[AngelName], mode: AngelMode) -> None:
        quotes = self.market.quotes
        for name in names:
            self._sequence += 1
            quote = quotes[self._tokens[name]]
            self._push(link, encode_tick(quote, mode, self._sequence), ticks=1)

    def _tell(self, link: Link, code: str, text: str, correlation_id: str) -> bool:
        message = {"correlationID": correlation_id, "errorCode": code, "errorMessage": text}
        return self._push(link, msgspec.json.encode(message), text=True)


def _wrong_part_of(login: FeedLogin, given: Mapping[str, str]) -> str:
    """Name the first part that is not of a login; "" if none is."""
    if given["client_code"] != login.user_id:
        return "Client Code"
    if given["api_key"] != login.key:
        return "API Key"
    return "" if given["feed_token"] == login.feed_token else "Feed Token"


def _credential(upgrade: Upgrade) -> dict[str, str]:
    """Return what a client showed: four headers, or the three of a browser's query."""
    headers, query = upgrade.headers, upgrade.query
    if "clientCode" in query:
        return {
            "is_browser": "yes",  # it cannot send the JWT's header
            "access_token": "",
            "client_code": query["clientCode"],
            "api_key": query.get("apiKey", ""),
            "feed_token": query.get("feedToken", ""),
        }
    return {
        "is_browser": "",
        "access_token": headers.get("Authorization", ""),
        "client_code": headers.get("x-client-code", ""),
        "api_key": headers.get("x-api-key", ""),
        "feed_token": headers.get("x-feed-token", ""),
    }
