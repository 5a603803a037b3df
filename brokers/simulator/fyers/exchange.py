"""The local exchange as Fyers: the HSM data socket of API v3, as its official client speaks it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import Unpack

from websockets.http11 import Response

from brokers.simulator.exchange import Upgrade
from brokers.simulator.fyers.encoder import (
    TopicKind,
    encode_custom,
    encode_data,
    encode_lite,
    encode_reply,
    encode_snapshot,
    encode_update,
    name_of,
    topic_kinds,
    values_of,
)
from brokers.simulator.fyers.masters import encode_masters
from brokers.simulator.fyers.subscriptions import (
    BadRequestError,
    FyersBook,
    FyersRequest,
    RequestKind,
    parse_request,
)
from brokers.simulator.link import Link
from brokers.simulator.market import Quote
from brokers.simulator.market_exchange import MarketArguments, MarketExchange
from brokers.simulator.responses import make_response

__all__ = ["ACK_EVERY", "MAX_SYMBOLS", "PATH", "FyersExchange"]

MAX_SYMBOLS = 5000
ACK_EVERY = 50
RECORDS_PER_FRAME = 50
LIMIT_EXCEEDED = 51001
PATH = "/hsm/v1-5/prod"
MASTERS = "/sym_details/"

# A data frame of one update whose fields are missing.
TRUNCATED_FRAME = bytes.fromhex("000c0600000001000155010015")


class _Client:
    """One connection: who it is, what it has subscribed, and what it has been told."""

    def __init__(self, book: FyersBook) -> None:
        self.book = book
        self.key: str | None = None
        self.is_deaf = False
        # What this socket calls each topic; a number is never given away.
        self.numbers: dict[str, int] = {}
        # The values of a topic as they were sent last.
        self.told: dict[str, list[int]] = {}
        # Topics that have changed since, in the order of their change.
        self.waiting: dict[str, None] = {}
        self.frames = 0
        self.acknowledged = 0


class FyersExchange(MarketExchange):
    """The data socket and the symbol masters over a simulated market.

    A client that sends an ``Authorization`` header with the upgrade is never answered: so the real
    one does. One that acknowledges too little gets no more data until it does; what the real one
    does is not known, and this is the harshest that leaves the link open.

    Args:
        access_token: the only valid feed key (the claim ``hsm_key``); empty takes any that is not.
        max_symbols: different symbols per key, over all its connections.
        ack_every: data frames to an acknowledgement; 0: none is wanted.
        common: see ``MarketExchange``.
    """

    def __init__(
        self,
        *,
        max_symbols: int = MAX_SYMBOLS,
        ack_every: int = ACK_EVERY,
        **common: Unpack[MarketArguments],
    ) -> None:
        super().__init__(**common)
        if ack_every < 0:
            raise ValueError(f"ack_every must not be negative, got {ack_every}")
        self._max_symbols = max_symbols
        self._ack_every = ack_every
        self._topics: dict[str, tuple[int, TopicKind]] = {}
        self._names: dict[int, tuple[str, ...]] = {}
        for item in self.market.instruments():
            name = name_of(item)
            if name is not None:
                topics = {name.topic(kind): kind for kind in topic_kinds(item)}
                self._topics |= {
                    topic: (item.instrument_token, kind) for topic, kind in topics.items()
                }
                self._names[item.instrument_token] = tuple(topics)
        # Of every open connection.
        self._clients: dict[Link, _Client] = {}
        # Symbol masters by path, once they were asked for.
        self._files: dict[str, bytes] = {}
        # How many came from clients, over all connections.
        self.acknowledgements = 0

    # Verbs

    def send_error(self, text: str) -> int:
        """Send a message of the server's own to every connection; how many it reached."""
        return sum(self._push(link, encode_custom(1, text, 0)) for link in list(self._clients))

    def send_malformed(self, frame: bytes = TRUNCATED_FRAME) -> int:
        """Send a frame that breaks the protocol to every connection; how many it reached."""
        return sum(self._push(link, frame) for link in list(self._clients))

    # What the base asks for

    def _admit(self, upgrade: Upgrade) -> HTTPStatus | None:
        return None if upgrade.path == PATH else HTTPStatus.NOT_FOUND

    def _opened(self, link: Link, upgrade: Upgrade) -> None:
        super()._opened(link, upgrade)
        client = _Client(FyersBook(limit=self._max_symbols, known=self._topics))
        client.is_deaf = "Authorization" in upgrade.headers
        self._clients[link] = client

    def _heard(self, link: Link, message: str | bytes) -> None:
        client, counters = self._clients[link], self._links[link]
        try:
            request = parse_request(message)
        except BadRequestError:
            counters.malformed += 1
            return
        if client.is_deaf or request.kind is RequestKind.PING:
            return
        if request.kind is RequestKind.AUTH:
            self._authenticate(link, client, request.key)
        elif client.key is None:
            # The official client asks for its mode without waiting for the answer to its key.
            self._push(link, encode_reply(request.kind, "N"))
        elif request.kind is RequestKind.ACK:
            self.acknowledgements += 1
            client.acknowledged = min(request.number, client.frames)
        else:
            self._apply(link, client, request)

    def _ticked(self, quote: Quote, holders: Collection[Link]) -> None:
        names = self._names[quote.instrument.instrument_token]
        for link in holders:
            client = self._clients[link]
            client.waiting.update((topic, None) for topic in names if topic in client.told)

    def _flush(self, now: float) -> None:
        for link, client in self._clients.items():
            if client.waiting:
                self._send(link, client, self._news(client))

    def _closed(self, link: Link) -> None:
        super()._closed(link)
        del self._clients[link]

    def _get(self, path: str, query: Mapping[str, str]) -> Response | None:
        if not self._files:
            self._files = encode_masters(self.market.instruments())
        name = path.removeprefix(MASTERS)
        if name == path or name not in self._files:
            return None
        kind = "application/json" if name.endswith(".json") else "text/csv"
        return make_response(HTTPStatus.OK, self._files[name], kind)

    # Inside

    def _authenticate(self, link: Link, client: _Client, key: str) -> None:
        is_valid = self._is_valid(key)
        client.key = key if is_valid else None
        if not is_valid:
            # There is no status; it counts as what other brokers answer.
            self._recorder.refused(status=HTTPStatus.UNAUTHORIZED.value, api_key=key)
        every = self._ack_every if is_valid else 0
        self._push(link, encode_reply(RequestKind.AUTH, "K" if is_valid else "N", every))

    def _apply(self, link: Link, client: _Client, request: FyersRequest) -> None:
        others = {
            symbol
            for other in self._clients.values()
            if other is not client and other.key == client.key
            for symbol in other.book.symbols
        }
        change = client.book.apply(request, others)
        counters = self._links[link]
        counters.judged(change, holds=len(client.book.symbols))
        if change.over_limit:
            text = "Symbol limit exceeded"
            self._push(link, encode_custom(LIMIT_EXCEEDED, text, request.kind))
        is_ok = bool(change.added) or not change.over_limit
        self._push(link, encode_reply(request.kind, "K" if is_ok else "N"))
        for topic in change.ended:
            del client.told[topic]
            client.waiting.pop(topic, None)
            token = self._topics[topic][0]
            if not any(name in client.told for name in self._names[token]):
                self._let_go(link, token)
        for topic in change.added:
            self._hold(link, self._topics[topic][0])
        self._send(link, client, [self._snapshot(client, topic) for topic in change.added])

    def _snapshot(self, client: _Client, topic: str) -> bytes:
        token, kind = self._topics[topic]
        quote = self.market.quotes[token]
        client.told[topic] = values = values_of(quote, kind)
        number = client.numbers.setdefault(topic, len(client.numbers) + 1)
        return encode_snapshot(quote.instrument, kind, values, number)

    def _news(self, client: _Client) -> list[bytes]:
        """Return the records of what has changed since it was told, unless acks are missing."""
        if self._ack_every and client.frames - client.acknowledged > 2 * self._ack_every:
            return []
        records: list[bytes] = []
        for topic in client.waiting:
            token, kind = self._topics[topic]
            values, before = values_of(self.market.quotes[token], kind), client.told[topic]
            if client.book.is_full(topic):
                records.append(encode_update(values, before, client.numbers[topic]))
            if client.book.is_lite(topic) and kind is not TopicKind.BOOK:
                records.append(encode_lite(values[0], client.numbers[topic]))
            client.told[topic] = values
        client.waiting.clear()
        return records

    def _send(self, link: Link, client: _Client, records: Sequence[bytes]) -> None:
        for start in range(0, len(records), RECORDS_PER_FRAME):
            some = records[start : start + RECORDS_PER_FRAME]
            client.frames += 1
            self._push(link, encode_data(some, client.frames), ticks=len(some))
