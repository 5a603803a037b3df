"""The adapter: messages and frames of one connection. Does no I/O of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import BinaryIO, ClassVar

from brokers._template.codec import decode_frame, decode_text, encode_request
from brokers._template.config import CAPABILITIES, TemplateSettings, master_url
from brokers._template.symbols import parse_master
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
from brokers.exceptions import BrokerConfigError, BrokerLimitError
from brokers.passed_over import PassedOver
from brokers.types import (
    FeedMode,
    Instrument,
    InstrumentKey,
    InstrumentRow,
    Subscription,
    TickSink,
)

__all__ = ["TemplateAdapter"]

_EMPTY_REQUEST_BYTES = max(len(encode_request("unsubscribe", mode, [])) for mode in FeedMode)


class TemplateAdapter(BrokerAdapter):
    """One connection. Called from its connection's loop only."""

    capabilities = CAPABILITIES
    settings: ClassVar[TemplateSettings] = TemplateSettings()

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        # Tokens of this socket, and which of them wait.
        self._held = HeldTokens()

    @classmethod
    def capabilities_with(cls, settings: TemplateSettings) -> BrokerCapabilities:
        """Return what the plan of an account allows."""
        return replace(cls.capabilities, max_connections=settings.connections)

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return the URL of the instruments master."""
        return master_url(http_endpoint)

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield the instruments of the master; see ``symbols.parse_master``."""
        return parse_master(master, passed)

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the credential where the broker wants it, here into a header."""
        token = credentials.values.get("access_token", "").strip()
        if not token:
            raise BrokerConfigError("template: the credential has no access_token")
        return Handshake(url=self.endpoint, headers={"Authorization": f"Bearer {token}"})

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return a request per mode and batch."""
        messages = self._requests("subscribe", items)
        self._take(items)
        return messages

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return the requests that end ``items``; their late ticks are dropped."""
        messages = self._requests("unsubscribe", items)
        for item in items:
            self._held.end(_token(item.instrument))
        return messages

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return the requests that replace modes, which this broker does without a gap."""
        wanted = [new for _, new in items]
        messages = self._requests("mode", wanted)
        self._take(wanted)
        return messages

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Publish the tick of a binary frame, or tell what a text frame says."""
        if isinstance(frame, str):
            return self._receive_text(frame)
        tick = decode_frame(frame)
        instrument = self._held.instruments.get(tick.broker_token)
        if instrument is None:
            self.ticks_unknown += self._held.is_unknown(tick.broker_token)
        else:
            self.sink.publish(instrument, tick, ts_received_us)
            self.ticks_published += 1
        return ()

    def reset(self) -> None:
        """Forget what the last socket had: the broker keeps nothing across sockets."""
        self._held.clear()

    def _take(self, items: Sequence[Subscription]) -> None:
        for item in items:
            self._held.take(_token(item.instrument), item.instrument, item.mode)

    def _receive_text(self, frame: str) -> Sequence[BrokerEvent]:
        message = decode_text(frame)
        events: list[BrokerEvent] = []
        # An answer confirms all that was asked for. Where a broker answers nothing, the first tick
        # that brings as much does it: ``confirm(token, tick.mode)`` in ``receive``.
        found = (self._held.confirm(token, max(FeedMode)) for token in message.confirmed)
        keys = tuple(key for key in found if key is not None)
        if keys:
            events.append(Confirmed(keys))
        if message.error:
            error = BrokerLimitError(message.error[:200])
            events.append(SubscriptionRejected(error, self._keys(message.tokens)))
        return events

    def _keys(self, tokens: Sequence[int]) -> tuple[InstrumentKey, ...]:
        found = (self._held.instruments.get(token) for token in tokens)
        return tuple(instrument.key for instrument in found if instrument is not None)

    def _requests(self, action: str, items: Sequence[Subscription]) -> list[str | bytes]:
        limits = self.capabilities
        messages: list[str | bytes] = []
        for mode, group in groupby(sorted(items, key=_mode), key=_mode):
            parts = batches(
                dict.fromkeys(_token(item.instrument) for item in group),
                Bound("instruments", limits.batch_size, lambda token: 1),
                Bound(
                    "bytes",
                    limits.max_message_bytes - _EMPTY_REQUEST_BYTES,
                    lambda token: len(str(token)) + 1,
                ),
            )
            messages += [encode_request(action, mode, tokens) for tokens in parts]
        return messages


def _mode(item: Subscription) -> FeedMode:
    return item.mode


def _token(instrument: Instrument) -> int:
    text = instrument.broker_token
    if not (text.isascii() and text.isdigit()):
        raise BrokerConfigError(f"template: {instrument.key} has the token {text[:20]!r}")
    return int(text)
