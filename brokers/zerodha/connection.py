"""The Zerodha adapter: Kite ticker messages and frames for one connection."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import BinaryIO, ClassVar
from urllib.parse import urlencode

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
    OrderUpdate,
    SubscriptionRejected,
)
from brokers.endpoints.urls import feed_url
from brokers.exceptions import BrokerConfigError, BrokerError, BrokerLimitError
from brokers.passed_over import PassedOver
from brokers.types import (
    FeedMode,
    Instrument,
    InstrumentKey,
    InstrumentRow,
    Subscription,
    Tick,
    TickSink,
)
from brokers.zerodha.codec import (
    decode_frame,
    decode_text,
    encode_mode,
    encode_subscribe,
    encode_unsubscribe,
)
from brokers.zerodha.config import (
    CAPABILITIES,
    KITE_VERSION,
    ZerodhaSettings,
    capabilities_with,
    master_url,
)
from brokers.zerodha.symbols import parse_master

__all__ = ["ZerodhaAdapter"]

_LIMIT_WORDS = re.compile(r"\b(?:more than|at most|too many|maximum|exceed\w*|limit\w*)\b", re.I)
# The longest request of no tokens.
_EMPTY_REQUEST_BYTES = max(
    len(encode_unsubscribe([])), *(len(encode_mode(mode, [])) for mode in FeedMode)
)


class ZerodhaAdapter(BrokerAdapter):
    """One Kite ticker connection. Called from its connection's loop only.

    Kite acknowledges nothing: a subscription is confirmed by its first tick that covers the mode
    asked for. Ticks of a lower mode that still arrive after a raise are published with their own.
    ``packets_skipped`` counts packets of a length that the protocol does not know.
    """

    capabilities = CAPABILITIES
    settings: ClassVar[ZerodhaSettings] = ZerodhaSettings()

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        self.packets_skipped = 0
        # Tokens of this socket, and which of them wait.
        self._held = HeldTokens()

    @classmethod
    def capabilities_with(cls, settings: ZerodhaSettings) -> BrokerCapabilities:
        """Return what Zerodha allows an account of these settings."""
        return capabilities_with(cls.capabilities, settings)

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments dump, a gzipped CSV."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of the dump, gzipped or not; see ``symbols.parse_master``."""
        return parse_master(master, passed)

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the credential into the query, which is the whole of Kite's authentication."""
        query = {}
        for field in self.capabilities.credential_fields:
            value = credentials.values.get(field.name, "").strip()
            if not value:
                raise BrokerConfigError(f"zerodha: the credential has no {field.name}")
            query[field.name] = value
        return Handshake(
            url=feed_url(self.endpoint, query=urlencode(query)),
            headers={"X-Kite-Version": KITE_VERSION},
        )

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return a ``subscribe`` per batch, and a ``mode`` behind it unless quotes are wanted."""
        modes = self._take(items)
        messages: list[str | bytes] = []
        for mode, tokens in self._batches(modes):
            messages.append(encode_subscribe(tokens))
            if mode is not FeedMode.QUOTE:
                messages.append(encode_mode(mode, tokens))
        return messages

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``, and drop their late ticks from now on."""
        tokens = list(dict.fromkeys(_token(item.instrument) for item in items))
        for token in tokens:
            self._held.end(token)
        return [encode_unsubscribe(batch) for batch in self._cut(tokens)]

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return ``mode`` requests only: Kite replaces a token's mode without ending it."""
        modes = self._take([new for _, new in items])
        return [encode_mode(mode, tokens) for mode, tokens in self._batches(modes)]

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the ticks of a binary frame, or tell what a text frame says."""
        if isinstance(frame, str):
            return self._receive_text(frame)
        ticks, skipped = decode_frame(frame)
        self.packets_skipped += skipped
        if not ticks:
            return ()
        publish, instrument_of = self.sink.publish, self._held.instruments.get
        published = 0
        for tick in ticks:
            instrument = instrument_of(tick.broker_token)
            if instrument is not None:
                publish(instrument, tick, ts_received_us)
                published += 1
        self.ticks_published += published
        if published != len(ticks):
            self._count_unknown(ticks)
        return self._confirm(ticks) if self._held.awaiting else ()

    def reset(self) -> None:
        """Forget tokens and what waits: Kite keeps no subscription across sockets."""
        self._held.clear()

    def _take(self, items: Sequence[Subscription]) -> Mapping[int, FeedMode]:
        """Note ``items`` as awaited; a token named twice counts once, with its last mode."""
        wanted = {_token(item.instrument): item for item in items}
        for token, item in wanted.items():
            self._held.take(token, item.instrument, item.mode)
        return {token: item.mode for token, item in wanted.items()}

    def _batches(self, modes: Mapping[int, FeedMode]) -> Iterator[tuple[FeedMode, list[int]]]:
        by_mode = sorted(modes.items(), key=itemgetter(1))
        for mode, group in groupby(by_mode, key=itemgetter(1)):
            for tokens in self._cut(token for token, _ in group):
                yield mode, tokens

    def _cut(self, tokens: Iterable[int]) -> list[list[int]]:
        limits = self.capabilities
        return batches(
            tokens,
            Bound("instruments", limits.batch_size, lambda token: 1),
            # Each with its comma.
            Bound(
                "bytes",
                limits.max_message_bytes - _EMPTY_REQUEST_BYTES,
                lambda token: len(str(token)) + 1,
            ),
        )

    def _count_unknown(self, ticks: Sequence[Tick]) -> None:
        for tick in ticks:
            self.ticks_unknown += self._held.is_unknown(tick.broker_token)

    def _confirm(self, ticks: Sequence[Tick]) -> Sequence[BrokerEvent]:
        awaiting, confirm = self._held.awaiting, self._held.confirm
        keys: list[InstrumentKey] = []
        for tick in ticks:
            if tick.broker_token in awaiting:
                key = confirm(tick.broker_token, tick.mode)
                if key is not None:
                    keys.append(key)
        return (Confirmed(tuple(keys)),) if keys else ()

    def _receive_text(self, frame: str) -> Sequence[BrokerEvent]:
        kind, data = decode_text(frame)
        if kind == "order":
            return (OrderUpdate(data),)
        if kind == "error":
            # Kite names no instruments, and its wording (and number) has changed over the years.
            # What does not speak of a limit may be of anything, its own maintenance included.
            is_limit = _LIMIT_WORDS.search(data) is not None
            return (
                SubscriptionRejected(BrokerLimitError(data) if is_limit else BrokerError(data)),
            )
        if kind == "message":
            return (Notice(data),)
        return ()


def _token(instrument: Instrument) -> int:
    try:
        return int(instrument.broker_token)
    except ValueError as error:
        raise BrokerConfigError(
            f"zerodha: {instrument.key} has no numeric token; load the instruments again"
        ) from error
