"""The adapter that speaks with ``FakeBroker``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import msgspec

from brokers.batching import Bound, batches
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
    Tick,
    TickSink,
)

__all__ = ["FakeAdapter", "make_adapter_class"]


class FakeAdapter(BrokerAdapter):
    """Speaks the JSON of ``FakeBroker``; ``make_adapter_class`` varies it."""

    capabilities = BrokerCapabilities(
        name="fake",
        label="Fake",
        exchanges=frozenset({"NSE"}),
        max_connections=3,
        symbols_per_connection=3,
    )
    depth_cost = 1

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        self._instruments: dict[str, Instrument] = {}

    @classmethod
    def cost(cls, instrument: Instrument, mode: FeedMode) -> int:
        """Return ``depth_cost`` for depth, else 1."""
        return cls.depth_cost if mode is FeedMode.DEPTH else 1

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return nothing that could be reached."""
        return "http://fake.invalid/"

    @classmethod
    def parse_master(
        cls, master: BinaryIO, passed: PassedOver | None = None
    ) -> Iterator[InstrumentRow]:
        """Yield nothing."""
        return iter(())

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the token into the URL."""
        token = credentials.values.get("token", "")
        if self.capabilities.credential_fields and not token:
            raise BrokerConfigError("the credential has no token")
        return Handshake(url=f"{self.endpoint}?token={token}")

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return messages. Raises BrokerConfigError for a broker token that is no number."""
        for item in items:
            if not item.instrument.broker_token.isdigit():
                raise BrokerConfigError("not a number")
        self._instruments.update((item.instrument.broker_token, item.instrument) for item in items)
        return self._messages("subscribe", items)

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return messages."""
        for item in items:
            self._instruments.pop(item.instrument.broker_token, None)
        return self._messages("unsubscribe", items)

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return messages."""
        return self._messages("mode", [new for _, new in items])

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Decode one frame of the fake broker."""
        try:
            said = msgspec.json.decode(frame)
        except msgspec.DecodeError as error:
            raise BrokerProtocolError("not JSON") from error
        for token in said.get("ticks", ()):
            instrument = self._instruments.get(token)
            if instrument is None:
                self.ticks_unknown += 1
                continue
            tick = Tick(token, FeedMode.LTP, 100, ltp=said.get("price", 100))
            self.sink.publish(instrument, tick, ts_received_us)
            self.ticks_published += 1
        events: list[BrokerEvent] = []
        for kind, make in (("ok", self._confirmed), ("no", self._rejected)):
            if kind in said:
                events.append(make(said[kind]))
        if "says" in said:
            events.append(SubscriptionRejected(BrokerError(said["says"])))
        if "bye" in said:
            events.append(ReconnectSoon(said["bye"]))
        return events

    def reset(self) -> None:
        """Forget the instruments."""
        self._instruments.clear()

    def _messages(self, do: str, items: Sequence[Subscription]) -> list[str | bytes]:
        room = self.capabilities.max_message_bytes - len(_message(do, []))
        takes = Bound[Subscription]("bytes", room, _row_bytes)
        return [_message(do, batch) for batch in batches(items, takes)]

    def _confirmed(self, tokens: Sequence[str]) -> BrokerEvent:
        return Confirmed(self._keys(tokens))

    def _rejected(self, tokens: Sequence[str]) -> BrokerEvent:
        return SubscriptionRejected(BrokerLimitError("too many"), self._keys(tokens))

    def _keys(self, tokens: Sequence[str]) -> tuple[InstrumentKey, ...]:
        return tuple(self._instruments[t].key for t in tokens if t in self._instruments)


def make_adapter_class(*, depth_cost: int = 1, **capabilities: Any) -> type[FakeAdapter]:
    """Return an adapter class with other capabilities; tiny limits by default."""
    defaults: dict[str, Any] = {
        "name": "fake",
        "label": "Fake",
        "exchanges": frozenset({"NSE"}),
        "max_connections": 3,
        "symbols_per_connection": 3,
        "default_endpoint": "ws://fake.invalid",
    }
    declared = BrokerCapabilities(**(defaults | capabilities))
    namespace = {"capabilities": declared, "depth_cost": depth_cost}
    return type("ConfiguredFakeAdapter", (FakeAdapter,), namespace)


def _message(do: str, items: Sequence[Subscription]) -> str:
    return msgspec.json.encode({"do": do, "items": [_row(item) for item in items]}).decode()


def _row(item: Subscription) -> tuple[str, int, int]:
    return item.instrument.broker_token, int(item.mode), item.depth_levels


def _row_bytes(item: Subscription) -> int:
    return len(msgspec.json.encode(_row(item))) + 1  # and a comma
