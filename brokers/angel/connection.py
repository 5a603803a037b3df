"""The Angel One adapter: streaming requests and frames for one connection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, ClassVar, Final
from urllib.parse import urlsplit, urlunsplit

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
from brokers.angel.constants import MODE_NUMBERS, PAIRS_PER_CONNECTION, SEGMENTS
from brokers.angel.requests import ID_CHARACTERS, SentRequests
from brokers.angel.symbols import parse_master
from brokers.base import (
    BrokerAdapter,
    BrokerCapabilities,
    BrokerEvent,
    Confirmed,
    Credentials,
    Handshake,
    SubscriptionRejected,
)
from brokers.batching import Bound, batches
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerLimitError,
)
from brokers.types import FeedMode, Instrument, InstrumentRow, Subscription, TickSink

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
_SEGMENT_NAMES: Final = frozenset(map(str, SEGMENTS))
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
    """

    capabilities = CAPABILITIES
    settings: ClassVar[AngelSettings] = AngelSettings()

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        self._instruments: dict[str | int, Instrument] = {}
        # What the broker holds of this socket, as far as it has been told.
        self._modes: dict[str, FeedMode] = {}
        self._sent = SentRequests()
        # Tokens whose subscription ended on this socket: their last ticks are nothing unknown.
        self._ended: set[str | int] = set()
        # What waits for its first tick; empty in the steady state, which the tick path relies on.
        self._awaiting: dict[str | int, FeedMode] = {}

    @classmethod
    def capabilities_with(cls, settings: AngelSettings) -> BrokerCapabilities:
        """Return what Angel One allows an account of these settings."""
        return capabilities_with(cls.capabilities, settings)

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments master, a JSON array."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(cls, master: BinaryIO) -> Iterator[InstrumentRow]:
        """Yield the instruments of the master; see ``symbols.parse_master``."""
        return parse_master(master.read())

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
        return Handshake(url=_feed_url(self.endpoint), headers=headers)

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> BrokerError:
        """Map the status; a 401 says in a header of its own which of the four values is wrong."""
        error = super().refused(status, headers, body)
        reason = headers.get("X-Error-Message", "")[:_MAX_REASON_CHARACTERS]
        if isinstance(error, BrokerAuthError) and reason:
            return BrokerAuthError(f"Angel One refused the credential: {reason} (HTTP {status})")
        return error

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return a request per mode and batch; a token that is held in another mode changes it."""
        wanted = {_checked(item.instrument): item for item in items}
        changing = [
            (token, self._modes[token], item)
            for token, item in wanted.items()
            if self._modes.get(token, item.mode) is not item.mode
        ]
        fresh = {token: item for token, item in wanted.items() if token not in self._modes}
        self._take(wanted)
        messages = self._change(changing)
        self._modes.update({token: item.mode for token, item in fresh.items()})
        return messages + self._requests(
            SUBSCRIBE, {token: item.mode for token, item in fresh.items()}
        )

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``, and drop their late ticks from now on."""
        named = {_checked(item.instrument): item.mode for item in items}
        ending = {token: self._modes.pop(token, mode) for token, mode in named.items()}
        self._drop(ending)
        return self._requests(UNSUBSCRIBE, ending)

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return requests that subscribe the new mode and, behind them, end the old one."""
        wanted = {_checked(new.instrument): (old, new) for old, new in items}
        changing = [
            (token, self._modes.get(token, old.mode), new) for token, (old, new) in wanted.items()
        ]
        self._take({token: new for token, (_, new) in wanted.items()})
        return self._change([change for change in changing if change[1] is not change[2].mode])

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the tick of a binary frame, or tell what a text frame says."""
        if isinstance(frame, str):
            return self._receive_text(frame)
        tick = decode_frame(frame)
        token = tick.broker_token
        instrument = self._instruments.get(token)
        if instrument is None:
            if token not in self._ended:
                self.ticks_unknown += 1
            return ()
        self.sink.publish(instrument, tick, ts_received_us)
        self.ticks_published += 1
        if self._awaiting:
            awaited = self._awaiting.get(token)
            if awaited is not None and tick.mode.covers(awaited):
                del self._awaiting[token]
                return (Confirmed((instrument.key,)),)
        return ()

    def reset(self) -> None:
        """Forget tokens and what waits: Angel keeps no subscription across sockets."""
        self._instruments.clear()
        self._modes.clear()
        self._sent.clear()
        self._ended.clear()
        self._awaiting.clear()

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
            self._instruments[token] = item.instrument
            self._awaiting[token] = item.mode
        self._ended.difference_update(wanted)

    def _drop(self, tokens: Iterable[str]) -> None:
        for token in tokens:
            self._modes.pop(token, None)
            self._instruments.pop(token, None)
            self._awaiting.pop(token, None)
            self._ended.add(token)
        self._sent.forget(tokens)

    def _change(self, changes: Sequence[tuple[str, FeedMode, Subscription]]) -> list[str | bytes]:
        # One at a time at the least: the reserve of the capabilities is what keeps it more.
        room = max(1, PAIRS_PER_CONNECTION - len(self._modes))
        messages: list[str | bytes] = []
        for start in range(0, len(changes), room):
            some = changes[start : start + room]
            messages += self._requests(SUBSCRIBE, {token: new.mode for token, _, new in some})
            messages += self._requests(UNSUBSCRIBE, {token: old for token, old, _ in some})
        self._modes.update({token: new.mode for token, _, new in changes})
        return messages

    def _requests(self, action: int, modes: Mapping[str, FeedMode]) -> list[str | bytes]:
        messages: list[str | bytes] = []
        for mode, group in groupby(sorted(modes.items(), key=itemgetter(1)), key=itemgetter(1)):
            for tokens in self._cut(token for token, _ in group):
                sent = self._sent
                number = sent.add(tokens) if action == SUBSCRIBE else sent.new_id()
                by_segment = _by_segment(tokens)
                messages.append(encode_request(action, MODE_NUMBERS[mode], by_segment, number))
        return messages

    def _cut(self, tokens: Iterable[str]) -> list[list[str]]:
        limits = self.capabilities
        return batches(
            tokens,
            Bound("instruments", limits.batch_size, lambda token: 1),
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
        tokens = self._sent.refused(refusal.correlation_id)
        keys = tuple(self._instruments[token].key for token in tokens)
        # A refused change has neither mode: its old one was ended right behind the request.
        self._drop(tokens)
        return (SubscriptionRejected(error, keys),)


def _feed_url(endpoint: str) -> str:
    """Return the endpoint with the feed's path, unless it has one of its own."""
    url = urlsplit(endpoint)
    path = FEED_PATH if url.path in ("", "/") else url.path
    return urlunsplit((url.scheme, url.netloc, path, url.query, ""))


def _by_segment(tokens: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for token in tokens:
        segment, _, name = token.partition(":")
        found.setdefault(int(segment), []).append(name)
    return found


def _checked(instrument: Instrument) -> str:
    """Return the instrument's ``exchangeType:token``. Raises BrokerConfigError for another form."""
    token = instrument.broker_token
    segment, _, name = token.partition(":")
    if segment not in _SEGMENT_NAMES or not (name.isascii() and name.isdigit()):
        raise BrokerConfigError(
            f"angel: {instrument.key} has no token of a segment; load the instruments again"
        )
    return token
