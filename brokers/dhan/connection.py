"""The Dhan adapters: requests and frames of one connection, of the live feed or of deep books."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, ClassVar, Final, Protocol
from urllib.parse import urlencode, urlsplit

from brokers.batching import Bound, batches
from brokers.confirming import HeldTokens
from brokers.contract import (
    BrokerAdapter,
    BrokerCapabilities,
    BrokerEvent,
    Confirmed,
    Credentials,
    Handshake,
    SubscriptionRejected,
)
from brokers.dhan.codec import Decoded, FeedDecoder, encode_request, encode_single_request
from brokers.dhan.config import (
    CAPABILITIES,
    DEPTH_20,
    DEPTH_200,
    DhanSettings,
    DhanWaits,
    master_url,
)
from brokers.dhan.constants import (
    REASON_INSTRUMENTS,
    REASON_REPLACED,
    REASONS,
    REFUSED_CREDENTIAL,
    REFUSED_REQUEST,
    REQUEST_CODES,
    REQUEST_DEEP,
    SEGMENTS,
)
from brokers.dhan.deep_codec import DeepDecoder
from brokers.dhan.symbols import parse_master
from brokers.dhan.values import Disconnection
from brokers.endpoints.urls import feed_url
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerLimitError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokers.passed_over import PassedOver
from brokers.types import FeedMode, Instrument, InstrumentKey, InstrumentRow, Subscription, TickSink

__all__ = ["DhanAdapter", "DhanDepth20Adapter", "DhanDepth200Adapter", "DhanFeed"]

_SEGMENT_NAMES: Final = frozenset(SEGMENTS.values())
# The longest request of no instruments.
_EMPTY_REQUEST_BYTES: Final = len(encode_request(REQUEST_DEEP + 1, ())) + len("00")
# What stands around the token of an instrument, its comma included.
_NAMED_BYTES: Final = len(encode_request(REQUEST_DEEP, ("A:1",))) - len(
    encode_request(REQUEST_DEEP, ())
)


class _Decoder(Protocol):
    """Abilities of both feeds' decoders."""

    def watch(self, tokens: Iterable[str]) -> None: ...

    def forget(self, tokens: Iterable[str]) -> None: ...

    def clear(self) -> None: ...

    def decode(self, frame: bytes, now_s: int) -> list[Decoded]: ...


class DhanFeed(BrokerAdapter):
    """A feed of Dhan's, as far as all are alike. Called from its connection's loop only.

    Dhan acknowledges nothing: a subscription is confirmed by its first tick that covers the mode
    asked for. It says why it ends a connection, in a packet on the open socket: a credential that
    it does not take is raised as ``BrokerAuthError``, being replaced by a newer connection as
    ``BrokerRateLimitError``, and a request that it does not take is a rejected subscription.
    """

    settings: ClassVar[DhanWaits] = DhanWaits()
    query_names = frozenset({"version", "token", "clientId", "authType"})

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        self._decoder = self._make_decoder()
        # Tokens of this socket, and which of them wait.
        self._held = HeldTokens()
        # What the broker holds of this socket, as far as it has been told.
        self._modes: dict[str, FeedMode] = {}
        # How often in a row a newer connection took this one's place, over sockets.
        self._times_replaced = 0
        # When it did so last, in epoch microseconds; 0: never.
        self._replaced_at_us = 0

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments master, a CSV."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield those of the master that this feed has; see ``symbols.parse_master``."""
        return parse_master(master, passed, cls.capabilities.exchanges)

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the credential into the query, which is the whole of Dhan's authentication."""
        values = {}
        for field in self.capabilities.credential_fields:
            value = credentials.values.get(field.name, "").strip()
            if not value:
                raise BrokerConfigError(f"dhan: the credential has no {field.name}")
            values[field.name] = value
        query = self._version() | {
            "token": values["access_token"],
            "clientId": values["client_id"],
            "authType": "2",
        }
        path = urlsplit(self.capabilities.default_endpoint).path or "/"
        return Handshake(url=feed_url(self.endpoint, path, urlencode(query)))

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> BrokerError:
        """Map the status. A 429 stands for too many connections, and for a blocked client."""
        error = super().refused(status, headers, body)
        if isinstance(error, BrokerRateLimitError) and error.retry_after_seconds is None:
            return BrokerRateLimitError(
                str(error), retry_after_seconds=self.settings.replaced_wait_seconds
            )
        return error

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return a request per mode and 100; a token that is held in another mode changes it."""
        wanted = {self._checked(item.instrument): item for item in items}
        changing = {
            token: item
            for token, item in wanted.items()
            if self._modes.get(token, item.mode) is not item.mode
        }
        fresh = {token: item.mode for token, item in wanted.items() if token not in self._modes}
        self._take(wanted)
        messages = self._change(changing)
        self._modes.update(fresh)
        return messages + self._requests(fresh)

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``, and drop their late ticks from now on."""
        named = {self._checked(item.instrument): item.mode for item in items}
        ending = {token: self._modes.pop(token, mode) for token, mode in named.items()}
        for token in ending:
            self._held.end(token)
        self._decoder.forget(ending)
        return self._requests(ending, ends=True)

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return requests that end the old mode and ask for the new one; see ``DhanSettings``."""
        wanted = {self._checked(new.instrument): (old, new) for old, new in items}
        for token, (old, _) in wanted.items():
            self._modes.setdefault(token, old.mode)
        self._take({token: new for token, (_, new) in wanted.items()})
        return self._change(
            {token: new for token, (_, new) in wanted.items() if self._modes[token] is not new.mode}
        )

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the ticks of a frame, and tell or raise why the broker ends the connection.

        Raises:
            BrokerAuthError: the credential is not taken.
            BrokerRateLimitError: a newer connection has taken this one's place.
            BrokerUnavailableError: it ends for another reason.
            BrokerProtocolError: a text, or a malformed frame.
        """
        if isinstance(frame, str):
            raise BrokerProtocolError("dhan: it sends no text")
        events: list[BrokerEvent] = []
        confirmed: list[InstrumentKey] = []
        held = self._held
        for item in self._decoder.decode(frame, ts_received_us // 1_000_000):
            if isinstance(item, Disconnection):
                events.append(self._disconnected(item.reason, ts_received_us))
                continue
            token = item.broker_token
            instrument = held.instruments.get(token)
            if instrument is None:
                self.ticks_unknown += held.is_unknown(token)
                continue
            self.sink.publish(instrument, item, ts_received_us)
            self.ticks_published += 1
            if token in held.awaiting:
                key = held.confirm(token, item.mode)
                if key is not None:
                    confirmed.append(key)
        if confirmed:
            events.insert(0, Confirmed(tuple(confirmed)))
        return events

    def reset(self) -> None:
        """Forget tokens and what waits: Dhan keeps no subscription across sockets."""
        self._held.clear()
        self._modes.clear()
        self._decoder.clear()

    # What the feeds do otherwise

    @abstractmethod
    def _make_decoder(self) -> _Decoder: ...

    def _begins_before_ending(self) -> bool:
        return False

    def _version(self) -> dict[str, str]:
        return {"version": "2"}

    def _checked(self, instrument: Instrument) -> str:
        """Return the ``segment:id``. Raises BrokerConfigError for another form."""
        token = instrument.broker_token
        segment, _, number = token.partition(":")
        if segment not in _SEGMENT_NAMES or not (number.isascii() and number.isdigit()):
            raise BrokerConfigError(
                f"dhan: {instrument.key} has no id of a segment; load the instruments again"
            )
        return token

    def _requests(self, modes: Mapping[str, FeedMode], *, ends: bool = False) -> list[str | bytes]:
        messages: list[str | bytes] = []
        by_mode = sorted(modes.items(), key=itemgetter(1))
        for mode, group in groupby(by_mode, key=itemgetter(1)):
            code = REQUEST_CODES[mode] + ends
            messages += [encode_request(code, some) for some in self._cut(t for t, _ in group)]
        return messages

    # Inside

    def _take(self, wanted: Mapping[str, Subscription]) -> None:
        for token, item in wanted.items():
            self._held.take(token, item.instrument, item.mode)
        self._decoder.watch(wanted)

    def _change(self, changes: Mapping[str, Subscription]) -> list[str | bytes]:
        ends = self._requests({token: self._modes[token] for token in changes}, ends=True)
        begins = self._requests({token: new.mode for token, new in changes.items()})
        self._modes.update({token: new.mode for token, new in changes.items()})
        return begins + ends if self._begins_before_ending() else ends + begins

    def _cut(self, tokens: Iterable[str]) -> list[list[str]]:
        limits = self.capabilities
        return batches(
            tokens,
            Bound("instruments", limits.batch_size, lambda token: 1),
            Bound(
                "bytes",
                limits.max_message_bytes - _EMPTY_REQUEST_BYTES,
                lambda token: len(token) + _NAMED_BYTES,
            ),
        )

    def _disconnected(self, reason: int, now_us: int) -> BrokerEvent:
        """Raise what the reason means, or return it where it concerns requests only."""
        words = REASONS.get(reason, "no reason that is documented")
        text = f"Dhan ended the connection: {words} ({reason})"
        if reason in REFUSED_CREDENTIAL:
            raise BrokerAuthError(f"Dhan refused the credential: {words} ({reason})")
        if reason == REASON_REPLACED:
            raise BrokerRateLimitError(text, retry_after_seconds=self._replaced_wait(now_us))
        if reason != REASON_INSTRUMENTS and reason not in REFUSED_REQUEST:
            raise BrokerUnavailableError(text)
        # It does not say which request it is about: one of those that nothing has confirmed yet.
        # Whether the connection ends with it is not known either; if it does, it is opened again.
        refused = f"Dhan refused a request: {words} ({reason})"
        error = BrokerLimitError(refused) if reason == REASON_INSTRUMENTS else BrokerError(refused)
        awaited = self._held.end_awaited()
        for instrument in awaited:
            self._modes.pop(instrument.broker_token, None)
        self._decoder.forget(instrument.broker_token for instrument in awaited)
        return SubscriptionRejected(error, tuple(instrument.key for instrument in awaited))

    def _replaced_wait(self, now_us: int) -> float:
        """Return how long to stay away, twice as long as the last time if that was not long ago."""
        limit = self.settings.replaced_wait_limit_seconds
        if now_us - self._replaced_at_us > 2 * limit * 1_000_000:
            self._times_replaced = 0
        self._replaced_at_us = now_us
        wait = self.settings.replaced_wait_seconds * 2.0 ** min(self._times_replaced, 16)
        self._times_replaced += 1
        return min(wait, limit)


class DhanAdapter(DhanFeed):
    """One connection to the live market feed."""

    capabilities = CAPABILITIES
    settings: ClassVar[DhanSettings] = DhanSettings()

    def _make_decoder(self) -> _Decoder:
        return FeedDecoder(
            trade_time_offset_seconds=self.settings.trade_time_offset_seconds,
            takes_close_from_quotes=self.settings.takes_close_from_quotes,
        )

    def _begins_before_ending(self) -> bool:
        return self.settings.subscribes_before_ending


class DhanDepth20Adapter(DhanFeed):
    """One connection to the books of 20 levels, 50 instruments of NSE and NFO."""

    capabilities: ClassVar[BrokerCapabilities] = DEPTH_20

    def _make_decoder(self) -> _Decoder:
        return DeepDecoder(levels=self.capabilities.depth_levels[0])

    def _version(self) -> dict[str, str]:
        return {}

    def _requests(self, modes: Mapping[str, FeedMode], *, ends: bool = False) -> list[str | bytes]:
        code = REQUEST_DEEP + ends
        return [self._encode(code, some) for some in self._cut(modes)]

    def _encode(self, code: int, tokens: Sequence[str]) -> str:
        return encode_request(code, tokens)


class DhanDepth200Adapter(DhanDepth20Adapter):
    """One connection to the book of 200 levels of a single instrument."""

    capabilities: ClassVar[BrokerCapabilities] = DEPTH_200

    def _encode(self, code: int, tokens: Sequence[str]) -> str:
        (token,) = tokens
        return encode_single_request(code, token)
