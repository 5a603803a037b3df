"""The Upstox adapter: requests and frames of the market data feed V3 for one connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import BinaryIO, ClassVar, Final
from uuid import uuid4

import msgspec

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
)
from brokers.endpoints.urls import feed_url
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerProtocolError,
)
from brokers.passed_over import PassedOver
from brokers.types import (
    FeedMode,
    Instrument,
    InstrumentRow,
    Subscription,
    TickSink,
)
from brokers.upstox.codec import (
    CHANGE_MODE,
    SUBSCRIBE,
    UNSUBSCRIBE,
    Frame,
    decode_frame,
    encode_request,
)
from brokers.upstox.config import (
    CAPABILITIES,
    FEED_PATH,
    UpstoxSettings,
    capabilities_with,
    master_url,
)
from brokers.upstox.constants import (
    CATEGORY_D30,
    CATEGORY_FULL,
    CATEGORY_LTPC,
    DEPTH_LEVELS,
    DEPTH_LEVELS_PLUS,
    MODE_D30,
    MODE_FULL,
    MODE_LTPC,
    SEGMENTS,
)
from brokers.upstox.credential import UpstoxToken
from brokers.upstox.symbols import parse_master

__all__ = ["UpstoxAdapter"]

# Segment, bar, and an ISIN, a token or an index's name, in which nothing needs escaping in JSON.
_KEY: Final = re.compile(rf"({'|'.join(sorted(SEGMENTS))})\|[ !#-\[\]-~]{{1,64}}", re.ASCII)
_ERROR_CODE: Final = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
_GUID_CHARACTERS: Final = 36
# The longest request of no keys.
_EMPTY_REQUEST_BYTES: Final = len(encode_request(CHANGE_MODE, (), MODE_D30, "0" * _GUID_CHARACTERS))


class _Error(msgspec.Struct):
    code: str = msgspec.field(name="errorCode", default="")


class _Refusal(msgspec.Struct):
    errors: list[_Error] = []


_REFUSAL: Final = msgspec.json.Decoder(_Refusal)


class UpstoxAdapter(BrokerAdapter):
    """One connection to the market data feed V3. Called from its connection's loop only.

    The handshake is answered with a redirect to where the feed is, under a code that is good for
    one connection; whoever connects follows it, and every connect begins at the endpoint again.

    Upstox acknowledges nothing: a subscription is confirmed by its first frame of the kind asked
    for. Quotes and five levels of depth are one mode of its own, ``full``, and thirty levels are
    another, ``full_d30``; ticks are published at the mode that is wanted. What is beyond its limits
    it is not known to answer, so that the limits are kept here.

    Args:
        guids: makes the id that every request carries; at most 36 characters of ASCII.
    """

    capabilities = CAPABILITIES
    settings: ClassVar[UpstoxSettings] = UpstoxSettings()

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        sink: TickSink | None = None,
        guids: Callable[[], str] = lambda: str(uuid4()),
    ) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        self._guids = guids
        # Tokens of this socket, and which of them wait.
        self._held = HeldTokens()
        # What is subscribed on this socket, and at which of our modes it is published.
        self._modes: dict[str, FeedMode] = {}
        # What Upstox calls the modes in which it holds them, as far as it has been told.
        self._names: dict[str, str] = {}
        # What Upstox said last of each segment's market, over sockets.
        self._statuses: Mapping[str, str] = {}

    @classmethod
    def capabilities_with(cls, settings: UpstoxSettings) -> BrokerCapabilities:
        """Return what Upstox allows an account of these settings, which name its plan."""
        return capabilities_with(cls.capabilities, settings)

    @classmethod
    def category(cls, subscription: Subscription) -> str:
        """Return which of Upstox's kinds a subscription is of."""
        return _CATEGORIES[_mode_name(subscription)]

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments master, a gzipped JSON array."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of the master, gzipped or not; see ``symbols.parse_master``."""
        return parse_master(master, passed)

    @classmethod
    def credential_expiry(cls, credentials: Credentials, stored_at: datetime) -> datetime | None:
        """Return when a token ends: at half past three, or after its year if it is long-lived."""
        try:
            return UpstoxToken.of(credentials.values.get("access_token", "")).ends_at(stored_at)
        except BrokerConfigError:
            return super().credential_expiry(credentials, stored_at)

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the access token into the header that the redirect is asked for with."""
        token = UpstoxToken.of(credentials.values.get("access_token", "")).value
        if not token:
            raise BrokerConfigError("upstox: the credential has no access_token")
        if not (token.isascii() and token.isprintable()):
            raise BrokerConfigError("upstox: access_token has characters that no header can carry")
        headers = {"Authorization": f"Bearer {token}", "Accept": "*/*"}
        return Handshake(
            url=feed_url(self.endpoint, FEED_PATH), headers=headers, redirect_domain="upstox.com"
        )

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> BrokerError:
        """Map the status; where the body has the code of Upstox's error, it is told."""
        error = super().refused(status, headers, body)
        code = _error_code(body)
        if isinstance(error, BrokerAuthError) and code:
            return BrokerAuthError(f"Upstox refused the credential: {code} (HTTP {status})")
        return error

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return a request per mode and batch; a key that is held in another mode changes it."""
        wanted = {_checked(item.instrument): item for item in items}
        fresh = {key: item for key, item in wanted.items() if key not in self._modes}
        held = {key: item for key, item in wanted.items() if key in self._modes}
        changes = self._changes(held)
        self._take(wanted)
        return [*self._requests(CHANGE_MODE, changes), *self._requests(SUBSCRIBE, fresh)]

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``, and drop their late ticks from now on."""
        keys = list(dict.fromkeys(_checked(item.instrument) for item in items))
        for key in keys:
            self._modes.pop(key, None)
            self._names.pop(key, None)
            self._held.end(key)
        return [encode_request(UNSUBSCRIBE, some, "", self._guids()) for some in self._cut(keys)]

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return ``change_mode`` requests; quotes that come of depth need none."""
        wanted = {_checked(new.instrument): new for _, new in items}
        for old, _ in items:
            key = old.instrument.broker_token
            if key not in self._modes:
                self._note(key, old)
        changes = self._changes(wanted)
        self._take(wanted)
        return self._requests(CHANGE_MODE, changes)

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the ticks of a frame, and tell what became of markets since the last time."""
        if isinstance(frame, str):
            raise BrokerProtocolError("upstox: a text frame")
        decoded = decode_frame(frame, self._modes)
        publish, instruments = self.sink.publish, self._held.instruments
        for tick in decoded.ticks:
            publish(instruments[tick.broker_token], tick, ts_received_us)
        self.ticks_published += len(decoded.ticks)
        for key in decoded.strangers:
            self.ticks_unknown += self._held.is_unknown(key)
        events: list[BrokerEvent] = []
        if self._held.awaiting:
            events += self._confirm(decoded)
        if decoded.statuses:
            events += self._market_changed(decoded.statuses)
        return events

    def reset(self) -> None:
        """Forget keys and what waits: Upstox keeps no subscription across sockets."""
        self._held.clear()
        self._modes.clear()
        self._names.clear()

    def _take(self, wanted: Mapping[str, Subscription]) -> None:
        for key, item in wanted.items():
            self._note(key, item)
            self._held.take(key, item.instrument, _LEVELS[self._names[key]])

    def _note(self, key: str, item: Subscription) -> None:
        self._modes[key] = item.mode
        self._names[key] = _mode_name(item)

    def _changes(self, wanted: Mapping[str, Subscription]) -> dict[str, Subscription]:
        """Return what has to be told of: another mode of Upstox's, or more of the same one."""
        changes = {}
        for key, item in wanted.items():
            is_raised = item.mode > self._modes[key] and self.settings.asks_again_on_raise
            if is_raised or _mode_name(item) != self._names[key]:
                changes[key] = item
        return changes

    def _requests(self, method: str, items: Mapping[str, Subscription]) -> list[str | bytes]:
        by_name: dict[str, list[str]] = {}
        for key, item in items.items():
            by_name.setdefault(_mode_name(item), []).append(key)
        return [
            encode_request(method, some, name, self._guids())
            for name, keys in sorted(by_name.items())
            for some in self._cut(keys)
        ]

    def _cut(self, keys: Iterable[str]) -> list[list[str]]:
        limits = self.capabilities
        return batches(
            keys,
            Bound("instruments", limits.batch_size, lambda key: 1),
            # Each in quotes and with its comma.
            Bound(
                "bytes",
                limits.max_message_bytes - _EMPTY_REQUEST_BYTES,
                lambda key: len(key) + 3,
            ),
        )

    def _confirm(self, decoded: Frame) -> Sequence[BrokerEvent]:
        # What was sent with them is all that Upstox has of it, also where the tick holds less.
        held = self._held
        keys = [
            held.confirm(tick.broker_token, levels)
            for tick, levels in zip(decoded.ticks, decoded.levels, strict=True)
            if tick.broker_token in held.awaiting
        ]
        found = tuple(key for key in keys if key is not None)
        return (Confirmed(found),) if found else ()

    def _market_changed(self, statuses: Mapping[str, str]) -> Sequence[BrokerEvent]:
        before, self._statuses = self._statuses, {**self._statuses, **statuses}
        changed = [
            f"{segment} {status}"
            for segment, status in statuses.items()
            if before.get(segment, status) != status
        ]
        return (Notice(f"Markets: {', '.join(changed)}"),) if changed else ()


_CATEGORIES: Final = {
    MODE_LTPC: CATEGORY_LTPC,
    MODE_FULL: CATEGORY_FULL,
    MODE_D30: CATEGORY_D30,
}


# What a feed must have been sent with for the subscription to be confirmed.
_LEVELS: Final = {MODE_LTPC: 0, MODE_FULL: DEPTH_LEVELS, MODE_D30: DEPTH_LEVELS_PLUS}


def _mode_name(item: Subscription) -> str:
    if item.mode is FeedMode.DEPTH and item.depth_levels > DEPTH_LEVELS:
        return MODE_D30
    return MODE_LTPC if item.mode is FeedMode.LTP else MODE_FULL


def _error_code(body: bytes) -> str:
    try:
        errors = _REFUSAL.decode(body).errors
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
    code = errors[0].code if errors else ""
    return code if _ERROR_CODE.fullmatch(code) else ""


def _checked(instrument: Instrument) -> str:
    """Return the instrument's key at Upstox. Raises BrokerConfigError for another form."""
    key = instrument.broker_token
    if not _KEY.fullmatch(key):
        raise BrokerConfigError(
            f"upstox: {instrument.key} has no instrument key; load the instruments again"
        )
    return key
