"""The local exchange as Dhan: dhanhq.co/docs/v2, live market feed and full market depth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, Unpack

from websockets.frames import Opcode
from websockets.http11 import Response

from brokers.simulator.dhan.encoder import (
    DhanCode,
    DhanName,
    encode_book,
    encode_deep_disconnection,
    encode_disconnection,
    encode_full,
    encode_master,
    encode_open_interest,
    encode_previous_close,
    encode_quote,
    encode_ticker,
    name_of,
)
from brokers.simulator.dhan.subscriptions import BadRequestError, DhanBook, parse_request
from brokers.simulator.exchange import Upgrade
from brokers.simulator.link import Link
from brokers.simulator.market import Quote
from brokers.simulator.market_exchange import MarketArguments, MarketExchange, fits, wire_names
from brokers.simulator.responses import make_response

__all__ = ["MASTER_PATH", "MAX_CONNECTIONS", "MAX_INSTRUMENTS", "DhanExchange"]

MAX_CONNECTIONS = 5
MAX_INSTRUMENTS = 5000
PING_SECONDS = 10.0
PONG_SECONDS = 40.0
MASTER_PATH = "/api-data/api-scrip-master.csv"
# A quote that ends within its header.
TRUNCATED_FRAME = b"\x04\x32\x00\x01"

TOO_MANY_INSTRUMENTS, REPLACED, EXPIRED = 804, 805, 807
BAD_AUTHENTICATION, BAD_TOKEN, BAD_CLIENT, BAD_REQUEST = 808, 809, 810, 814


class _Feed(NamedTuple):
    """One of Dhan's three kinds of connection; ``levels`` 0 is the live feed."""

    levels: int
    codes: tuple[DhanCode, ...]
    most_connection: int
    most_message: int


_FEEDS = {
    "/": _Feed(0, (DhanCode.TICKER, DhanCode.QUOTE, DhanCode.FULL), MAX_INSTRUMENTS, 100),
    "/twentydepth": _Feed(20, (DhanCode.DEEP,), 50, 50),
    "/twohundreddepth": _Feed(200, (DhanCode.DEEP,), 1, 1),
}
# Where deep books are offered.
_DEEP_SEGMENTS = ("NSE_EQ", "NSE_FNO")


class DhanExchange(MarketExchange):
    """Dhan's feeds and the compact instruments master over a simulated market.

    A credential that is not taken is told in a packet on the open connection, which then ends. The
    connections of all feeds count together; a sixth ends the oldest one.

    Args:
        access_token, client_id: the only valid credential; an empty part accepts any that is not.
        max_instruments: per connection of the live feed.
        refuses_with_http: a bad credential is answered with HTTP 401 instead.
        ends_over_limit: a request beyond the limit ends the connection; whether it does is not
            documented.
        packets_per_message: how many packets may follow each other in one message. The official
            client reads the first one of a message of the live feed only.
        common: see ``MarketExchange``.
    """

    def __init__(
        self,
        *,
        client_id: str = "",
        max_instruments: int = MAX_INSTRUMENTS,
        refuses_with_http: bool = False,
        ends_over_limit: bool = False,
        packets_per_message: int = 1,
        **common: Unpack[MarketArguments],
    ) -> None:
        super().__init__(**common)
        if packets_per_message < 1:
            raise ValueError(f"packets_per_message must be positive, got {packets_per_message}")
        self._client_id = client_id
        self._max_instruments = max_instruments
        self._refuses_with_http = refuses_with_http
        self._ends_over_limit = ends_over_limit
        self._packets_per_message = packets_per_message
        self._tokens, self._names = wire_names(self.market, name_of)
        # Which feed each open connection came for; as all below by link.
        self._feeds: dict[Link, _Feed] = {}
        self._books: dict[Link, DhanBook] = {}
        # Connections that end, and the reason that is said to them before (0: none).
        self._ending: dict[Link, int] = {}
        # When each was pinged last, and when it answered, on the loop's clock.
        self._pinged: dict[Link, float] = {}
        self._answered: dict[Link, float] = {}
        # Packets of this turn, each with how many ticks it is.
        self._packets: dict[Link, list[tuple[bytes, int]]] = {}
        # The instruments master, once it was asked for.
        self._master = b""

    # Verbs

    def send_disconnect(self, reason: int) -> int:
        """Say a reason to every connection and end it; how many it reached."""
        if not 0 <= reason <= 0xFFFF:
            raise ValueError(f"reason must fit 16 bits, got {reason}")
        links = list(self._books)
        for link in links:
            self._disconnect(link, reason)
        return len(links)

    def send_malformed(self, frame: bytes = TRUNCATED_FRAME) -> int:
        """Send a binary frame that breaks the protocol to every connection; how many it reached."""
        return sum(self._push(link, frame) for link in list(self._books))

    # What the base asks for

    def _admit(self, upgrade: Upgrade) -> HTTPStatus | Response | None:
        if upgrade.path not in _FEEDS:
            return HTTPStatus.NOT_FOUND
        if self._refuses_with_http and self._refusal_of(upgrade):
            return HTTPStatus.UNAUTHORIZED
        return None

    def _key(self, upgrade: Upgrade) -> str:
        return upgrade.query.get("clientId", "")

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        super()._opened(link, upgrade)
        feed = self._feeds[link] = _FEEDS[upgrade.path]
        known = {
            (name.segment, name.security_id): name
            for name in self._tokens
            if not feed.levels or name.segment in _DEEP_SEGMENTS
        }
        most = feed.most_connection if feed.levels else self._max_instruments
        self._books[link] = DhanBook(limit=most, known=known)
        self._pinged[link] = self._answered[link] = link.loop.time()
        link.on_control = partial(self._controlled, link)
        key = self._key(upgrade)
        if reason := self._refusal_of(upgrade):
            self._ending[link] = reason
            self._recorder.refused(status=reason, api_key=key)
            return
        counted = [each for each in self._connections_of(key) if each not in self._ending]
        for oldest in counted[:-MAX_CONNECTIONS]:
            self._ending[oldest] = REPLACED
            self._recorder.refused(status=REPLACED, api_key=key)

    def _heard(self, link: Link, message: str | bytes) -> None:
        if link in self._ending:
            return
        counters, book, feed = self._links[link], self._books[link], self._feeds[link]
        try:
            request = parse_request(
                message, codes=feed.codes, most=feed.most_message, is_single=feed.levels == 200
            )
        except BadRequestError:
            counters.malformed += 1
            self._say(link, BAD_REQUEST)
            return
        if request.code is None:
            self._pinged.pop(link, None)
            self._ending[link] = 0  # whatever it says behind this is not listened to
            self._end(link, 1000, "")
            return
        change = book.apply(request)
        counters.judged(change, holds=len(book))
        for name in change.added:
            self._hold(link, self._tokens[name])
        for name in change.ended:
            self._let_go(link, self._tokens[name])
        if change.over_limit:
            self._say(link, TOO_MANY_INSTRUMENTS)
            if self._ends_over_limit:
                self._end(link, 1000, "")
                return
        self._send_values(link, change.added)

    def _ticked(self, quote: Quote, holders: Collection[Link]) -> None:
        name = self._names[quote.instrument.instrument_token]
        encoded: dict[tuple[DhanCode, int], list[tuple[bytes, int]]] = {}
        for link in holders:
            code = self._books[link].codes.get(name)
            if code is None or link in self._ending:
                continue
            kind = (code, self._feeds[link].levels)
            packets = encoded.get(kind)
            if packets is None:
                packets = encoded[kind] = _packets(quote, *kind)
            self._packets.setdefault(link, []).extend(packets)

    def _flush(self, now: float) -> None:
        for link, packets in self._packets.items():
            self._send(link, packets)
        self._packets.clear()
        for link, reason in list(self._ending.items()):
            # Not before its handshake is answered, and once.
            if link.is_open and link in self._pinged:
                self._disconnect(link, reason)
        for link in list(self._pinged):
            if now - self._answered[link] > PONG_SECONDS and link.is_open:
                del self._pinged[link]
                self._end(link, 1000, "no pong")
            elif now - self._pinged[link] >= PING_SECONDS:
                self._pinged[link] = now
                link.send_ping(b"")

    def _closed(self, link: Link) -> None:
        super()._closed(link)
        del self._books[link], self._feeds[link], self._answered[link]
        self._ending.pop(link, None)
        self._pinged.pop(link, None)
        self._packets.pop(link, None)

    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        if path != MASTER_PATH:
            return None
        if not self._master:
            self._master = encode_master(self.market.instruments())
        return make_response(HTTPStatus.OK, self._master, "text/csv")

    # Inside

    def _refusal_of(self, upgrade: Upgrade) -> int:
        """Return why a credential is not taken; 0 if it is."""
        query = upgrade.query
        token, client_id = query.get("token", ""), query.get("clientId", "")
        is_feed = not _FEEDS[upgrade.path].levels
        if query.get("authType") != "2" or (is_feed and query.get("version") != "2"):
            return BAD_AUTHENTICATION
        if (login := self._logged_in(token)) is not None:
            return 0 if client_id == login.user_id else BAD_CLIENT
        if self._has_ended(token):
            return EXPIRED
        if not fits(client_id, self._client_id):
            return BAD_CLIENT
        if not self._is_configured(token):
            return BAD_TOKEN
        return EXPIRED if self._is_expired else 0

    def _controlled(self, link: Link, opcode: Opcode, payload: bytes) -> None:
        if opcode is Opcode.PONG and link in self._answered:
            self._answered[link] = link.loop.time()

    def _disconnect(self, link: Link, reason: int) -> None:
        self._say(link, reason)
        self._ending[link] = reason
        self._pinged.pop(link, None)
        self._end(link, 1000, "")

    def _say(self, link: Link, reason: int) -> None:
        is_deep = self._feeds[link].levels
        encode = encode_deep_disconnection if is_deep else encode_disconnection
        self._push(link, encode(reason))

    def _send_values(self, link: Link, names: Iterable[DhanName]) -> None:
        levels, codes = self._feeds[link].levels, self._books[link].codes
        packets: list[tuple[bytes, int]] = []
        for name in names:
            quote = self.market.quotes[self._tokens[name]]
            if not levels:
                packets.append((encode_previous_close(quote), 0))
            packets += _packets(quote, codes[name], levels)
        self._send(link, packets)

    def _send(self, link: Link, packets: list[tuple[bytes, int]]) -> None:
        size = self._packets_per_message
        for start in range(0, len(packets), size):
            some = packets[start : start + size]
            message = b"".join(packet for packet, _ in some)
            self._push(link, message, ticks=sum(ticks for _, ticks in some))


def _packets(quote: Quote, code: DhanCode, levels: int) -> list[tuple[bytes, int]]:
    """Return what a quote is sent as, each with the number of ticks that it is."""
    if code is DhanCode.DEEP:
        return [(encode_book(quote, levels), 1)]
    if code is DhanCode.TICKER:
        return [(encode_ticker(quote), 1)]
    if code is DhanCode.FULL:
        return [(encode_full(quote), 1)]
    interest = [(encode_open_interest(quote), 0)] if quote.instrument.has_open_interest else []
    return [(encode_quote(quote), 1), *interest]
