"""The Binance adapter: market stream requests and frames for one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, ClassVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from brokers.batching import Bound, batches
from brokers.binance.codec import BinanceCodec, encode_request, stream_names
from brokers.binance.config import (
    CAPABILITIES,
    COMBINED_PATH,
    RAW_PATH,
    BinanceSettings,
    capabilities_with,
    master_url,
)
from brokers.binance.constants import TOO_MANY_SUBSCRIPTIONS
from brokers.binance.messages import Envelope, Refusal, decode_envelope
from brokers.binance.requests import PendingRequests, Request
from brokers.binance.symbols import parse_master
from brokers.contract import (
    BrokerAdapter,
    BrokerCapabilities,
    BrokerEvent,
    Confirmed,
    Credentials,
    Handshake,
    ReconnectSoon,
    SubscriptionRejected,
)
from brokers.exceptions import (
    BrokerConfigError,
    BrokerError,
    BrokerLimitError,
    BrokerProtocolError,
)
from brokers.passed_over import PassedOver
from brokers.types import (
    FeedMode,
    Instrument,
    InstrumentKey,
    InstrumentRow,
    Subscription,
    TickSink,
)

__all__ = ["BinanceAdapter"]

_SHUTDOWN_EVENT = "serverShutdown"
_SHUTDOWN_STREAM = "!serverShutdown"
_TIME_UNIT = "MILLISECOND"

# The longest request of no streams that will ever be sent: its number may grow.
_EMPTY_REQUEST_BYTES = len(encode_request("UNSUBSCRIBE", [], 10**15))

# What one request changes: for each symbol what held (None: nothing), what is wanted, the streams.
_Change = tuple[Subscription | None, Subscription, list[str]]


class BinanceAdapter(BrokerAdapter):
    """One combined-stream connection. Called from its connection's loop only.

    Binance answers each request by its id, and the answer to the latest request that names an
    instrument confirms it. A refused request leaves its instruments as they were before it.
    """

    capabilities = CAPABILITIES
    settings: ClassVar[BinanceSettings] = BinanceSettings()

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        # What is known of each symbol, merged over its streams.
        self._codec = BinanceCodec()
        # The requests without an answer, and what they are about.
        self._pending = PendingRequests()
        # What was asked for last of each symbol; a refusal takes it back.
        self._subscriptions: dict[str, Subscription] = {}
        # Confirmed without a request, because nothing had to change; told with the next frame.
        self._settled: list[InstrumentKey] = []

    @property
    def frames_ignored(self) -> int:
        """Count of frames of streams that were not subscribed here."""
        return self._codec.frames_ignored

    @classmethod
    def cost(cls, instrument: Instrument, mode: FeedMode) -> int:
        """Return the number of streams, which is what a connection's 1024 count."""
        return len(stream_names("", mode, cls.capabilities.depth_levels[0]))

    @classmethod
    def capabilities_with(cls, settings: BinanceSettings) -> BrokerCapabilities:
        """Return what Binance allows an account of these settings."""
        return capabilities_with(cls.capabilities, settings)

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the exchange information."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the symbols that are trading; see ``symbols.parse_master``."""
        return parse_master(master.read(), passed)

    @classmethod
    def check_endpoint(cls, endpoint: str) -> None:
        """Refuse paths and queries that ask for streams, or for times that are not read here."""
        super().check_endpoint(endpoint)
        url = urlsplit(endpoint)
        query = {name.lower(): value for name, value in parse_qsl(url.query)}
        *above, _ = ["", *url.path.rstrip("/").split("/")]
        if "streams" in query or {RAW_PATH[1:], COMBINED_PATH[1:]}.intersection(above):
            raise BrokerConfigError(
                "Binance: leave streams out of the endpoint, they are subscribed as they are "
                f"wanted; {url.scheme}://{url.netloc} is enough"
            )
        if query.get("timeunit", _TIME_UNIT).upper() != _TIME_UNIT:
            raise BrokerConfigError(
                "Binance: leave 'timeUnit' out of the endpoint's query; times are read as "
                "milliseconds"
            )

    def handshake(self, credentials: Credentials) -> Handshake:
        """Connect to the combined streams with none subscribed; public data needs no credential."""
        self.check_endpoint(self.endpoint)
        url = urlsplit(self.endpoint)
        path = url.path.rstrip("/")
        # Binance's own pages name the feed of bare streams, whose events do not say which they are.
        path = path.removesuffix(RAW_PATH)
        if not path.endswith(COMBINED_PATH):
            path += COMBINED_PATH
        return Handshake(url=urlunsplit((url.scheme, url.netloc, path, url.query, "")))

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return SUBSCRIBE requests; an instrument's streams never part over two of them.

        Raises:
            BrokerConfigError: a symbol is too long for any request.
        """
        self._batches([(None, item, _streams(item)) for item in items])
        changes: list[_Change] = []
        for symbol, item in _by_symbol(items).items():
            changes.append((self._subscriptions.get(symbol), item, _streams(item)))
            self._take(symbol, item)
        return self._requests("SUBSCRIBE", changes)

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return UNSUBSCRIBE requests, and drop late frames of ``items`` from now on."""
        changes: list[_Change] = []
        for symbol, item in _by_symbol(items).items():
            held = self._subscriptions.get(symbol, item)
            changes.append((None, item, _streams(held)))
            self._drop(symbol)
        self._pending.forget(_by_symbol(items))
        return self._requests("UNSUBSCRIBE", changes, awaited=False)

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return requests that add the missing streams and, behind them, end the surplus ones."""
        added: list[_Change] = []
        surplus: list[_Change] = []
        lowered: list[_Change] = []
        for symbol, (old, new) in {_symbol(pair[1]): pair for pair in items}.items():
            held = self._subscriptions.get(symbol, old)
            before, after = _streams(held), _streams(new)
            missing = [name for name in after if name not in before]
            ending = [name for name in before if name not in after]
            if missing:
                added.append((held, new, missing))
                if ending:
                    surplus.append((held, new, ending))
            elif ending:
                lowered.append((held, new, ending))
            else:
                self._settled.append(new.instrument.key)
            self._take(symbol, new)
        return [
            *self._requests("SUBSCRIBE", added),
            *self._requests("UNSUBSCRIBE", surplus, awaited=False),
            *self._requests("UNSUBSCRIBE", lowered),
        ]

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Merge a stream's payload into one tick, or tell what an answer means."""
        envelope = decode_envelope(frame)
        if envelope.stream is None:
            events = self._receive_bare(envelope)
        elif envelope.stream == _SHUTDOWN_STREAM:
            events = (ReconnectSoon("Binance is shutting this server down"),)
        else:
            self._receive_stream(envelope.stream, envelope.data, ts_received_us)
            events = ()
        if self._settled:
            events = (Confirmed(tuple(self._settled)), *events)
            self._settled.clear()
        return events

    def reset(self) -> None:
        """Forget symbols, their merged state and unanswered requests."""
        self._codec.reset()
        self._pending.clear()
        self._subscriptions.clear()
        self._settled.clear()

    def _receive_stream(
        self, stream: str, data: msgspec.Raw | msgspec.UnsetType, ts_received_us: int
    ) -> None:
        if isinstance(data, msgspec.UnsetType):
            raise BrokerProtocolError(f"binance: stream {stream[:40]!r} without data")
        tick = self._codec.decode(stream, data)
        if tick is not None:
            instrument = self._subscriptions[str(tick.broker_token)].instrument
            self.sink.publish(instrument, tick, ts_received_us)
            self.ticks_published += 1

    def _receive_bare(self, envelope: Envelope) -> tuple[BrokerEvent, ...]:
        if envelope.event == _SHUTDOWN_EVENT:
            return (ReconnectSoon("Binance is shutting this server down"),)
        if envelope.event is not None:
            raise BrokerProtocolError(
                f"binance: a bare {envelope.event[:40]!r} does not say of which stream it is; the "
                f"endpoint must be that of combined streams ({COMBINED_PATH})"
            )
        refusal = envelope.error
        if refusal is None and envelope.code is not None:
            refusal = Refusal(envelope.code, envelope.msg)
        if refusal is None and envelope.result is msgspec.UNSET:
            raise BrokerProtocolError("binance: neither a stream nor an answer")
        if not isinstance(envelope.id, int):
            # Our ids are numbers; an answer without one means a request that was not understood.
            return () if refusal is None else (SubscriptionRejected(_error(refusal)),)
        request = self._pending.answer(envelope.id)
        if request is None or not request.wanted:
            return ()
        keys = tuple(item.instrument.key for item in request.wanted.values())
        if refusal is None:
            return (Confirmed(keys),)
        self._restore(request)
        return (SubscriptionRejected(_error(refusal), keys),)

    def _restore(self, request: Request) -> None:
        for symbol in request.wanted:
            previous = request.previous.get(symbol)
            if previous is None:
                self._drop(symbol)
            else:
                self._take(symbol, previous)

    def _take(self, symbol: str, item: Subscription) -> None:
        self._subscriptions[symbol] = item
        self._codec.track(symbol, item.mode, item.depth_levels)

    def _drop(self, symbol: str) -> None:
        self._subscriptions.pop(symbol, None)
        self._codec.drop(symbol)

    def _requests(
        self, method: str, changes: Sequence[_Change], *, awaited: bool = True
    ) -> list[str | bytes]:
        messages: list[str | bytes] = []
        for batch in self._batches(changes):
            wanted = {_symbol(new): new for _, new, _ in batch} if awaited else {}
            previous = {_symbol(old): old for old, _, _ in batch if old is not None}
            names = [name for _, _, streams in batch for name in streams]
            request_id = self._pending.add(Request(wanted=wanted, previous=previous))
            messages.append(encode_request(method, names, request_id))
        return messages

    def _batches(self, changes: Iterable[_Change]) -> list[list[_Change]]:
        limits = self.capabilities
        return batches(
            changes,
            Bound("instruments", limits.batch_size, lambda change: 1),
            Bound("streams", self.settings.streams_per_message, lambda change: len(change[2])),
            Bound(
                "bytes",
                limits.max_message_bytes - _EMPTY_REQUEST_BYTES,
                lambda change: sum(map(_encoded_bytes, change[2])),
            ),
        )


def _encoded_bytes(name: str) -> int:
    return len(msgspec.json.encode(name)) + 1  # and a comma


def _by_symbol(items: Sequence[Subscription]) -> dict[str, Subscription]:
    return {_symbol(item): item for item in items}


def _symbol(item: Subscription) -> str:
    return item.instrument.broker_token.lower()


def _streams(item: Subscription) -> list[str]:
    return stream_names(_symbol(item), item.mode, item.depth_levels)


def _error(refusal: Refusal) -> BrokerError:
    text = f"Binance refused the request: {refusal.msg[:200]} (code {refusal.code})"
    if refusal.code == TOO_MANY_SUBSCRIPTIONS:
        return BrokerLimitError(text)
    return BrokerError(text)
