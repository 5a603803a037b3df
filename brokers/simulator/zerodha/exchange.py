"""The local exchange as Zerodha's Kite ticker: https://kite.trade/docs/connect/v3/websocket/."""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Unpack

import msgspec
from websockets.http11 import Response

from brokers.simulator.exchange import Upgrade
from brokers.simulator.link import Link
from brokers.simulator.listing import to_csv
from brokers.simulator.market import Quote
from brokers.simulator.market_exchange import MarketArguments, MarketExchange, fits
from brokers.simulator.responses import make_response
from brokers.simulator.zerodha.encoder import HEARTBEAT, Mode, encode_frame, encode_packet
from brokers.simulator.zerodha.subscriptions import (
    MalformedMessageError,
    SubscriptionBook,
    parse_message,
)

__all__ = ["MAX_CONNECTIONS", "MAX_INSTRUMENTS", "KiteExchange"]

MAX_CONNECTIONS = 3
MAX_INSTRUMENTS = 3000
HEARTBEAT_SECONDS = 1.0
MAX_PACKETS_PER_FRAME = 500

# Two packets are announced and the first, of 184 bytes, ends after two.
TRUNCATED_FRAME = b"\x00\x02\x00\xb8\x00\x06"


class KiteExchange(MarketExchange):
    """Kite's ticker and instruments dump over a simulated market.

    Args:
        api_key, access_token: the only valid credential; an empty one accepts any that is not.
        max_instruments: per connection.
        common: see ``MarketExchange``.
    """

    def __init__(
        self,
        *,
        max_instruments: int = MAX_INSTRUMENTS,
        **common: Unpack[MarketArguments],
    ) -> None:
        super().__init__(**common)
        self._max_instruments = max_instruments
        # Of every open connection.
        self._books: dict[Link, SubscriptionBook] = {}
        # Packets of this turn by connection.
        self._packets: dict[Link, list[bytes]] = {}
        # Instruments dumps by exchange, once they were asked for.
        self._csv: dict[str, bytes] = {}

    # Verbs

    def send_order(self, order: Mapping[str, Any], api_key: str | None = None) -> int:
        """Send an order update to the connections of a key (None: of all); how many it reached."""
        return self._announce("order", dict(order), api_key)

    def send_error(self, text: str) -> int:
        """Send a text error to every connection; how many it reached."""
        return self._announce("error", text)

    def send_message(self, text: str) -> int:
        """Send the broker's message for people to every connection; how many it reached."""
        return self._announce("message", text)

    def send_malformed(self, frame: bytes = TRUNCATED_FRAME) -> int:
        """Send a binary frame that breaks the protocol to every connection; how many it reached."""
        return sum(self._push(link, frame) for link in list(self._books))

    # What the base asks for

    def _admit(self, upgrade: Upgrade) -> HTTPStatus | None:
        if upgrade.path != "/":
            return HTTPStatus.NOT_FOUND
        api_key = upgrade.query.get("api_key", "")
        access_token = upgrade.query.get("access_token", "")
        login = self._logged_in(access_token)
        is_ours = fits(api_key, self._api_key) if login is None else api_key == login.key
        if not is_ours or not self._is_valid(access_token):
            return HTTPStatus.FORBIDDEN
        if len(self._connections_of(api_key)) >= MAX_CONNECTIONS:
            return HTTPStatus.TOO_MANY_REQUESTS
        return None

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        super()._opened(link, upgrade)
        self._books[link] = SubscriptionBook(limit=self._max_instruments, known=self.market.quotes)

    def _heard(self, link: Link, message: str | bytes) -> None:
        counters, book = self._links[link], self._books[link]
        try:
            change = book.apply(parse_message(message))
        except MalformedMessageError:
            counters.malformed += 1
            return
        counters.judged(change, holds=len(book))
        for token in change.refreshed:
            self._hold(link, token)
        for token in change.ended:
            self._let_go(link, token)
        if change.over_limit:
            limit = self._max_instruments
            self._tell(link, "error", f"Can't subscribe to more than {limit} instruments.")
        self._send_quotes(link, book, change.refreshed)

    def _ticked(self, quote: Quote, holders: Collection[Link]) -> None:
        token = quote.instrument.instrument_token
        encoded: dict[Mode, bytes] = {}
        for link in holders:
            mode = self._books[link].mode(token)
            if mode is None:
                continue
            packet = encoded.get(mode)
            if packet is None:
                packet = encoded[mode] = encode_packet(quote, mode)
            self._packets.setdefault(link, []).append(packet)

    def _flush(self, now: float) -> None:
        for link, packets in self._packets.items():
            self._send_packets(link, packets)
        self._packets.clear()
        for link in self._books:
            if now - link.last_sent >= HEARTBEAT_SECONDS and not link.is_silent and link.is_open:
                self._push(link, HEARTBEAT)

    def _closed(self, link: Link) -> None:
        super()._closed(link)
        del self._books[link]

    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        if path == "/instruments":
            return self._instruments("")
        if path.startswith("/instruments/"):
            return self._instruments(path.removeprefix("/instruments/"))
        return None

    # Inside

    def _instruments(self, exchange: str) -> Response | None:
        if exchange not in self._csv:
            listing = self.market.instruments()
            if exchange:
                listing = [item for item in listing if item.exchange == exchange]
            if not listing:
                return None
            self._csv[exchange] = gzip.compress(to_csv(listing).encode(), compresslevel=6)
        response = make_response(HTTPStatus.OK, self._csv[exchange], "text/csv")
        response.headers["Content-Encoding"] = "gzip"
        return response

    def _send_quotes(self, link: Link, book: SubscriptionBook, tokens: Iterable[int]) -> None:
        quotes = self.market.quotes
        self._send_packets(
            link,
            [encode_packet(quotes[token], mode) for token in tokens if (mode := book.mode(token))],
        )

    def _send_packets(self, link: Link, packets: list[bytes]) -> None:
        for start in range(0, len(packets), MAX_PACKETS_PER_FRAME):
            some = packets[start : start + MAX_PACKETS_PER_FRAME]
            self._push(link, encode_frame(some), ticks=len(some))

    def _announce(self, kind: str, data: object, api_key: str | None = None) -> int:
        links = list(self._books) if api_key is None else self._connections_of(api_key)
        return sum(self._tell(link, kind, data) for link in links)

    def _tell(self, link: Link, kind: str, data: object) -> bool:
        return self._push(link, msgspec.json.encode({"type": kind, "data": data}), text=True)
