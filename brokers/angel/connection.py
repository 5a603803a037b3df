"""The Angel One adapter: streaming requests and frames for one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import BinaryIO, ClassVar, Final

from brokers.angel.codec import (
    SUBSCRIBE,
    UNSUBSCRIBE,
    decode_frame,
    decode_text,
    encode_request,
)
from brokers.angel.config import (
    CAPABILITIES,
    FEED_PATH,
    JWT_BARE,
    JWT_BEARER,
    KEEPALIVE_TEXT,
    AngelSettings,
    capabilities_with,
    master_url,
)
from brokers.angel.constants import (
    CATEGORY_DEPTH_20,
    MODE_DEPTH_20,
    PAIRS_PER_CONNECTION,
    SEGMENTS,
    TOKENS_PER_DEPTH_20_REQUEST,
)
from brokers.angel.deep_books import DeepBooks
from brokers.angel.pairs import (
    ALL_MODES,
    by_segment,
    checked_token,
    has_its_levels,
    is_deep,
    modes_of,
    no_deep_book,
)
from brokers.angel.requests import ID_CHARACTERS, Pair, SentRequests
from brokers.angel.symbols import parse_master
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
    SubscriptionRejected,
)
from brokers.endpoints.urls import feed_url
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerLimitError,
)
from brokers.passed_over import PassedOver
from brokers.types import (
    InstrumentKey,
    InstrumentRow,
    Subscription,
    TickSink,
)

__all__ = ["AngelAdapter"]

_HEADERS: Final = {
    "Authorization": "access_token",
    "x-api-key": "api_key",
    "x-client-code": "client_code",
    "x-feed-token": "feed_token",
}
_PING: Final = "ping"
_BEARER: Final = "Bearer "
_LIMIT_EXCEEDED: Final = "E1002"
_MAX_REASON_CHARACTERS: Final = 200
# The longest request of no tokens: it names every segment.
_EMPTY_REQUEST_BYTES: Final = len(
    encode_request(UNSUBSCRIBE, 1, dict.fromkeys(SEGMENTS, ()), "0" * ID_CHARACTERS)
)


class AngelAdapter(BrokerAdapter):
    """One SmartAPI streaming connection. Called from its connection's loop only.

    Angel acknowledges nothing: a subscription is confirmed by its first tick that covers the mode
    asked for, and refused by an error that carries the request's correlation id. It counts pairs
    of token and mode and cannot change a mode, so a change subscribes the new pair and ends the
    old one behind it, as many tokens at a time as the connection has room for: no tick is missed,
    and the pairs never exceed the broker's 1000.

    A book of 20 levels comes without a price: it is a pair beside that of five levels, and what
    both bring is published as one.
    """

    capabilities = CAPABILITIES
    settings: ClassVar[AngelSettings] = AngelSettings()

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        # Tokens of this socket, and which of them wait.
        self._held = HeldTokens()
        # What the broker holds of this socket, as far as it has been told: numbers of modes.
        self._modes: dict[str, tuple[int, ...]] = {}
        # The instruments that are wanted with 20 levels, and the latest of both their frames.
        self._deep = DeepBooks()
        # Changes that cannot be expressed; told once those that can have been sent.
        self._unsendable: list[InstrumentKey] = []
        # The requests that may still be refused.
        self._sent = SentRequests()

    @classmethod
    def capabilities_with(cls, settings: AngelSettings) -> BrokerCapabilities:
        """Return what Angel One allows an account of these settings."""
        return capabilities_with(cls.capabilities, settings)

    @classmethod
    def category(cls, subscription: Subscription) -> str:
        """Return what bounds a book of 20 levels; nothing but the pairs bounds anything else."""
        return CATEGORY_DEPTH_20 if is_deep(subscription) else ""

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments master, a JSON array."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of the master; see ``symbols.parse_master``."""
        return parse_master(master.read(), passed)

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the credential into four headers, the JWT in the form that the settings say.

        Both forms of it are in use, with ``Bearer`` and without.
        """
        headers = {}
        for header, name in _HEADERS.items():
            value = credentials.values.get(name, "").strip()
            if not value:
                raise BrokerConfigError(f"angel: the credential has no {name}")
            if not (value.isascii() and value.isprintable()):
                raise BrokerConfigError(f"angel: {name} has characters that no header can carry")
            headers[header] = value if name != "access_token" else self._jwt(value)
        return Handshake(url=feed_url(self.endpoint, FEED_PATH), headers=headers)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> BrokerError:
        """Map the status; a 401 says in a header of its own which of the four values is wrong."""
        error = super().refused(status, headers, body)
        reason = headers.get("X-Error-Message", "")[:_MAX_REASON_CHARACTERS]
        if isinstance(error, BrokerAuthError) and reason:
            return BrokerAuthError(f"Angel One refused the credential: {reason} (HTTP {status})")
        return error

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return a request per mode and batch; a token that is held in another mode changes it.

        Raises:
            BrokerConfigError: a token without a segment, or 20 levels of what has not so many.
        """
        wanted = {checked_token(item.instrument): item for item in items}
        if unsendable := [item for item in items if not has_its_levels(item)]:
            raise no_deep_book(unsendable[0].instrument.key)
        modes = {token: modes_of(item) for token, item in wanted.items()}
        fresh = {token: some for token, some in modes.items() if token not in self._modes}
        self._take(wanted)
        messages = self._change({t: some for t, some in modes.items() if t not in fresh})
        self._modes.update(fresh)
        return messages + self._requests(SUBSCRIBE, fresh)

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``, and drop their late ticks from now on."""
        named = {
            checked_token(item.instrument): modes_of(item) if has_its_levels(item) else ()
            for item in items
        }
        ending = {token: self._modes.pop(token, modes) for token, modes in named.items()}
        self._drop(ending)
        return self._requests(UNSUBSCRIBE, ending)

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return requests that subscribe the new mode and, behind them, end the old one."""
        for old, new in items:
            self._modes.setdefault(checked_token(new.instrument), modes_of(old))
        self._unsendable += [new.instrument.key for _, new in items if not has_its_levels(new)]
        wanted = {new.instrument.broker_token: new for _, new in items if has_its_levels(new)}
        self._take(wanted)
        return self._change({token: modes_of(item) for token, item in wanted.items()})

    def settle(self) -> Sequence[BrokerEvent]:
        """Tell of changes to 20 levels of what has not so many; they were not sent."""
        keys = tuple(self._unsendable)
        self._unsendable.clear()
        return (SubscriptionRejected(no_deep_book(keys[0]), keys),) if keys else ()

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the tick of a binary frame, or tell what a text frame says."""
        if isinstance(frame, str):
            return self._receive_text(frame)
        tick = decode_frame(frame)
        token, held = tick.broker_token, self._held
        instrument = held.instruments.get(token)
        if instrument is None:
            self.ticks_unknown += held.is_unknown(token)
            return ()
        if self._deep or frame[0] == MODE_DEPTH_20:
            joined = self._deep.join(tick, is_book=frame[0] == MODE_DEPTH_20)
            if joined is None:
                return ()
            tick = joined
        self.sink.publish(instrument, tick, ts_received_us)
        self.ticks_published += 1
        if token in held.awaiting and self._deep.is_whole(token):
            key = held.confirm(token, tick.mode)
            return () if key is None else (Confirmed((key,)),)
        return ()

    def reset(self) -> None:
        """Forget tokens and what waits: Angel keeps no subscription across sockets."""
        self._held.clear()
        self._modes.clear()
        self._deep.clear()
        self._unsendable.clear()
        self._sent.clear()

    def keepalive(self) -> str | None:
        """Return the text that Angel wants every 30 s; it answers with ``pong``."""
        return _PING if self.settings.keepalive == KEEPALIVE_TEXT else None

    def _jwt(self, stored: str) -> str:
        bare = stored.removeprefix(_BEARER).strip()
        if self.settings.jwt_form == JWT_BEARER:
            return _BEARER + bare
        return bare if self.settings.jwt_form == JWT_BARE else stored

    def _take(self, wanted: Mapping[str, Subscription]) -> None:
        for token, item in wanted.items():
            self._held.take(token, item.instrument, item.mode)
            if is_deep(item):
                self._deep.track(token)
            else:
                self._deep.drop(token)

    def _drop(self, tokens: Iterable[str]) -> None:
        for token in tokens:
            self._modes.pop(token, None)
            self._held.end(token)
            self._deep.drop(token)
            self._sent.forget((mode, token) for mode in ALL_MODES)

    def _change(self, changes: Mapping[str, tuple[int, ...]]) -> list[str | bytes]:
        """Return the requests that turn tokens over to other modes, and note those."""
        held = sum(map(len, self._modes.values()))
        waiting = [(t, self._modes[t], new) for t, new in changes.items() if self._modes[t] != new]
        most_added = max((len({*new} - {*old}) for _, old, new in waiting), default=0) or 1
        messages: list[str | bytes] = []
        while waiting:
            # One at a time at the least: the reserve of the capabilities is what keeps it more.
            room = max(1, (PAIRS_PER_CONNECTION - held) // most_added)
            some, waiting = waiting[:room], waiting[room:]
            added = {t: tuple(m for m in new if m not in old) for t, old, new in some}
            ended = {t: tuple(m for m in old if m not in new) for t, old, new in some}
            messages += self._requests(SUBSCRIBE, added)
            messages += self._requests(UNSUBSCRIBE, ended)
            self._modes.update({token: new for token, _, new in some})
            held += sum(len(new) - len(old) for _, old, new in some)
        return messages

    def _requests(self, action: int, modes: Mapping[str, Iterable[int]]) -> list[str | bytes]:
        by_mode: dict[int, list[str]] = {}
        for token, numbers in modes.items():
            for mode in numbers:
                by_mode.setdefault(mode, []).append(token)
        messages: list[str | bytes] = []
        for mode, named in sorted(by_mode.items()):
            for tokens in self._cut(named, mode):
                sent = self._sent
                number = sent.add((mode, token) for token in tokens if action == SUBSCRIBE)
                messages.append(encode_request(action, mode, by_segment(tokens), number))
        return messages

    def _cut(self, tokens: Iterable[str], mode: int) -> list[list[str]]:
        limits = self.capabilities
        most = limits.batch_size
        if mode == MODE_DEPTH_20:
            most = min(most, TOKENS_PER_DEPTH_20_REQUEST)
        return batches(
            tokens,
            Bound("instruments", most, lambda token: 1),
            # Each in quotes and with its comma; that it is longer by its segment is room to spare.
            Bound(
                "bytes",
                limits.max_message_bytes - _EMPTY_REQUEST_BYTES,
                lambda token: len(token) + 3,
            ),
        )

    def _receive_text(self, frame: str) -> Sequence[BrokerEvent]:
        refusal = decode_text(frame)
        if refusal is None:
            return ()
        text = f"Angel One refused a request: {refusal.text} ({refusal.code})"
        error = BrokerLimitError(text) if refusal.code == _LIMIT_EXCEEDED else BrokerError(text)
        pairs = self._sent.refused(refusal.correlation_id)
        if pairs is None:
            return (SubscriptionRejected(error),)
        keys = self._end_refused(pairs)
        # Of a request that is known and concerns nobody any more, people may know.
        return (SubscriptionRejected(error, keys),) if keys else (Notice(text),)

    def _end_refused(self, pairs: Iterable[Pair]) -> tuple[InstrumentKey, ...]:
        """Note what a refused request did not bring; returns the instruments concerned."""
        concerned: dict[str, InstrumentKey] = {}
        for mode, token in pairs:
            modes = self._modes.get(token, ())
            if mode not in modes:
                continue
            concerned[token] = self._held.instruments[token].key
            # Of a book of 20 levels the other pair is there still, until it is ended. Any other
            # refused change has neither mode: its old one was ended right behind the request.
            if rest := tuple(each for each in modes if each != mode):
                self._modes[token] = rest
            else:
                self._drop((token,))
        return tuple(concerned.values())
