"""The Fyers adapter: HSM requests and frames for one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, ClassVar, Final

from brokers.batching import Bound, batches
from brokers.confirming import HeldTokens
from brokers.contract import (
    BrokerAdapter,
    BrokerCapabilities,
    BrokerEvent,
    Confirmed,
    Credentials,
    Handshake,
    Notice,
    SendNow,
    SubscriptionRejected,
)
from brokers.endpoints.urls import feed_url
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerLimitError,
    BrokerProtocolError,
)
from brokers.fyers.answers import CustomMessage, Reply
from brokers.fyers.codec import Data, FyersDecoder
from brokers.fyers.config import (
    CAPABILITIES,
    FEED_PATH,
    TOPICS,
    FyersSettings,
    master_urls,
    of_plan,
)
from brokers.fyers.constants import (
    FEED_TOPIC,
    INDEX_TOPIC,
    LIMIT_EXCEEDED,
    MAX_TOPICS_PER_MESSAGE,
    PING,
    SEGMENTS,
    TYPE_AUTH,
    TYPE_SUBSCRIBE,
)
from brokers.fyers.credential import hsm_key
from brokers.fyers.pending import PendingRequests
from brokers.fyers.requests import (
    EMPTY_REQUEST_BYTES,
    encode_ack,
    encode_auth,
    encode_mode,
    encode_topics,
)
from brokers.fyers.symbols import parse_masters
from brokers.fyers.topics import book_topic
from brokers.passed_over import PassedOver
from brokers.types import FeedMode, Instrument, InstrumentKey, InstrumentRow, Subscription, TickSink

__all__ = ["FyersAdapter"]

_MAX_NAME: Final = 64
# The channel and the topics of an instrument there.
_Place = tuple[int, tuple[str, ...]]


class FyersAdapter(BrokerAdapter):
    """One HSM connection. Called from its connection's loop only.

    LTP and Quote are the feed's topic, Depth is that and the book's, which has no last price; an
    index has no book. A mode is changed by the book alone, and what needs no message at all is
    published from what is known, see ``settle``. A subscription is confirmed by its first tick that
    covers the mode asked for. A refusal does not say which of its instruments are meant: all that
    have not ticked are given up, and ended on the socket, so that both sides hold the same.
    """

    capabilities = CAPABILITIES
    settings: ClassVar[FyersSettings] = FyersSettings()

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        # What is known of each topic of this socket.
        self._decoder = FyersDecoder()
        # What was asked for last of each token.
        self._items: dict[str, Subscription] = {}
        # When the values were read that a token's tick would be made of, in epoch microseconds.
        self._received_us: dict[str, int] = {}
        # Tokens of this socket, and which of them wait.
        self._held = HeldTokens()
        # The subscriptions without an answer, and what they are about.
        self._pending = PendingRequests()
        # Raised or lowered without a message.
        self._unasked: list[str] = []
        # Data frames to an acknowledgement, as the server asked for; 0: none is wanted.
        self._ack_every = 0
        # Data frames since the last one.
        self._unacknowledged = 0

    @classmethod
    def capabilities_with(cls, settings: FyersSettings) -> BrokerCapabilities:
        """Return what the plan of the account allows."""
        return of_plan(cls.capabilities, settings)

    @classmethod
    def category(cls, subscription: Subscription) -> str:
        """Count every topic in the one limit of the API key."""
        return TOPICS

    @classmethod
    def cost(cls, instrument: Instrument, mode: FeedMode) -> int:
        """Return the number of topics."""
        return len(_topics(instrument.broker_token, mode))

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the first of the symbol masters."""
        return master_urls(http_endpoint)[0]

    @classmethod
    def master_urls(cls, http_endpoint: str | None) -> tuple[str, ...]:
        """Return the URLs of all symbol masters and of the names of indices."""
        return master_urls(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of one symbol master, or of several in one file."""
        return parse_masters([master], passed)

    @classmethod
    def parse_masters(
        cls, masters: Sequence[BinaryIO], passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of all of them; see ``symbols.parse_masters``."""
        return parse_masters(masters, passed)

    def handshake(self, credentials: Credentials) -> Handshake:
        """Say who we are in the first message.

        There is no header with it: a server that sees ``Authorization`` in the upgrade does not
        answer the first message.
        """
        settings = self.settings
        key = hsm_key(credentials.values.get("access_token", ""))
        messages = [encode_auth(key, settings.source), encode_mode(settings.channel, is_lite=False)]
        if settings.lite_channel:
            messages.append(encode_mode(settings.lite_channel, is_lite=True))
        return Handshake(url=feed_url(self.endpoint, FEED_PATH), first_messages=tuple(messages))

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return requests for the topics of ``items``; an instrument's are never parted."""
        wanted = {_checked(item.instrument): item for item in items}
        changes = [(token, self._items.get(token), item) for token, item in wanted.items()]
        return self._change(changes)

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``, and drop their late ticks from now on."""
        named = {_checked(item.instrument): item for item in items}
        places = {token: self._place(self._items.get(token, item)) for token, item in named.items()}
        self._drop(named)
        return self._requests(places, is_end=True)

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return requests for the topics that are missing and, behind them, end the surplus."""
        wanted = {_checked(new.instrument): (old, new) for old, new in items}
        changes = [
            (token, self._items.get(token, old), new) for token, (old, new) in wanted.items()
        ]
        return self._change(changes)

    def settle(self) -> Sequence[BrokerEvent]:
        """Publish what is known already of what was changed without a message.

        A tick carries the time at which its values were read. What is not known yet is confirmed
        by the first tick, as everything is.
        """
        keys: list[InstrumentKey] = []
        for token in self._unasked:
            item = self._items.get(token)
            if item is None or token not in self._held.awaiting:
                continue
            tick = self._decoder.current(token)
            if tick is not None:
                self.sink.publish(item.instrument, tick, self._received_us[token])
                self.ticks_published += 1
                key = self._held.confirm(token, tick.mode)
                if key is not None:
                    keys.append(key)
        self._unasked.clear()
        return (Confirmed(tuple(keys)),) if keys else ()

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the ticks of a data frame, or tell what an answer means.

        Raises:
            BrokerAuthError: the credential was refused; the socket would stay open and silent.
        """
        if isinstance(frame, str):
            raise BrokerProtocolError("fyers: a text frame")
        message = self._decoder.decode(frame)
        if isinstance(message, Data):
            return self._receive_data(message, ts_received_us)
        if isinstance(message, Reply):
            return self._receive_reply(message)
        return () if message is None else self._receive_custom(message)

    def reset(self) -> None:
        """Forget what belonged to the socket: topics, their values, what waits."""
        self._decoder.reset()
        self._items.clear()
        self._received_us.clear()
        self._pending.clear()
        self._held.clear()
        self._unasked.clear()
        self._ack_every = self._unacknowledged = 0

    def keepalive(self) -> bytes:
        """Return the three bytes that Fyers wants every 10 s and does not answer."""
        return PING

    def _receive_data(self, data: Data, ts_received_us: int) -> Sequence[BrokerEvent]:
        held, sink = self._held, self.sink
        confirmed: list[InstrumentKey] = []
        for tick in data.ticks:
            token = str(tick.broker_token)
            instrument = held.instruments[token]
            self._received_us[token] = ts_received_us
            sink.publish(instrument, tick, ts_received_us)
            if token in held.awaiting:
                key = held.confirm(token, tick.mode)
                if key is not None:
                    confirmed.append(key)
        self.ticks_published += len(data.ticks)
        self.ticks_unknown += data.unknown
        events: list[BrokerEvent] = [Confirmed(tuple(confirmed))] if confirmed else []
        if self._ack_every:
            self._unacknowledged += 1
            if self._unacknowledged >= self._ack_every:
                self._unacknowledged = 0
                events.append(SendNow(encode_ack(data.number)))
        return events

    def _receive_reply(self, reply: Reply) -> Sequence[BrokerEvent]:
        if reply.kind == TYPE_AUTH:
            if not reply.is_ok:
                raise BrokerAuthError("Fyers refused the credential: store the one of a new login")
            self._ack_every = reply.ack_every if self.settings.acks else 0
            return ()
        if reply.kind == TYPE_SUBSCRIBE:
            tokens = self._pending.answered()
            if reply.is_ok:
                return ()
            return self._reject(tokens, BrokerError("Fyers refused a subscription"))
        return () if reply.is_ok else (Notice(f"Fyers refused a request of type {reply.kind}"),)

    def _receive_custom(self, message: CustomMessage) -> Sequence[BrokerEvent]:
        text = f"Fyers: {message.text} (code {message.code})"
        if message.about == TYPE_AUTH:
            raise BrokerAuthError(text)
        if message.about != TYPE_SUBSCRIBE:
            return (Notice(text),)
        is_limit = message.code == LIMIT_EXCEEDED
        error = BrokerLimitError(text) if is_limit else BrokerError(text)
        return self._reject(self._pending.refused(), error)

    def _reject(self, tokens: Iterable[str], error: BrokerError) -> Sequence[BrokerEvent]:
        refused = {token: self._items[token] for token in tokens if token in self._held.awaiting}
        places = {token: self._place(item) for token, item in refused.items()}
        self._drop(refused)
        keys = tuple(item.instrument.key for item in refused.values())
        return (
            SubscriptionRejected(error, keys),
            *map(SendNow, self._requests(places, is_end=True)),
        )

    def _change(
        self, changes: Sequence[tuple[str, Subscription | None, Subscription]]
    ) -> list[str | bytes]:
        missing: dict[str, _Place] = {}
        surplus: dict[str, _Place] = {}
        for token, old, new in changes:
            held = set() if old is None else _pairs(self._place(old))
            channel, topics = self._place(new)
            fresh = tuple(topic for topic in topics if (channel, topic) not in held)
            if fresh:
                missing[token] = (channel, fresh)
            else:
                self._unasked.append(token)
            if ending := held - {(channel, topic) for topic in topics}:
                old_channel = next(iter(ending))[0]
                surplus[token] = (old_channel, tuple(sorted(topic for _, topic in ending)))
            self._items[token] = new
            self._held.take(token, new.instrument, new.mode)
            self._decoder.track(token, new.mode)
        return self._requests(missing) + self._requests(surplus, is_end=True)

    def _requests(self, places: dict[str, _Place], *, is_end: bool = False) -> list[str | bytes]:
        limits = self.capabilities
        messages: list[str | bytes] = []
        for channel in sorted({channel for channel, _ in places.values()}):
            here = [(token, topics) for token, (at, topics) in places.items() if at == channel]
            for batch in batches(
                here,
                Bound("instruments", limits.batch_size, lambda each: 1),
                Bound("topics", MAX_TOPICS_PER_MESSAGE, lambda each: len(each[1])),
                Bound(
                    "bytes",
                    limits.max_message_bytes - EMPTY_REQUEST_BYTES,
                    lambda each: sum(len(topic) + 1 for topic in each[1]),
                ),
            ):
                topics = [topic for _, each in batch for topic in each]
                messages.append(encode_topics(topics, channel, is_end=is_end))
                if not is_end:
                    self._pending.add(token for token, _ in batch)
        return messages

    def _place(self, item: Subscription) -> _Place:
        settings, mode = self.settings, item.mode
        is_lite = mode is FeedMode.LTP and settings.lite_channel
        channel = settings.lite_channel if is_lite else settings.channel
        return channel, _topics(item.instrument.broker_token, mode)

    def _drop(self, tokens: Iterable[str]) -> None:
        for token in tokens:
            self._decoder.drop(token)
            self._items.pop(token, None)
            self._received_us.pop(token, None)
            self._held.end(token)


def _topics(token: str, mode: FeedMode) -> tuple[str, ...]:
    book = book_topic(token) if mode is FeedMode.DEPTH else None
    return (token,) if book is None else (token, book)


def _pairs(place: _Place) -> set[tuple[int, str]]:
    channel, topics = place
    return {(channel, topic) for topic in topics}


def _checked(instrument: Instrument) -> str:
    """Return the topic of the instrument's feed. Raises BrokerConfigError for another token."""
    token = instrument.broker_token
    kind, _, rest = token.partition("|")
    segment, _, name = rest.partition("|")
    is_name = name.isascii() and name.isprintable() and 0 < len(name) <= _MAX_NAME
    fits = (kind == FEED_TOPIC and name.isdigit()) or (kind == INDEX_TOPIC and "|" not in name)
    if segment not in SEGMENTS or not (is_name and fits):
        raise BrokerConfigError(f"fyers: {instrument.key} has no topic; load the instruments again")
    return token
