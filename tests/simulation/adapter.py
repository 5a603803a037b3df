"""The real Kite adapter with other limits, for a broker that names what it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from brokers.contract import BrokerCapabilities, BrokerEvent, SubscriptionRejected
from brokers.exceptions import BrokerLimitError
from brokers.types import FeedMode, Instrument
from brokers.zerodha.connection import ZerodhaAdapter

__all__ = ["make_adapter_class"]


class SimulatedAdapter(ZerodhaAdapter):
    """Kite names nothing in a refusal; the simulated exchange may, as other brokers do."""

    def receive(self, frame: str | bytes, ts_received_us: int) -> Sequence[BrokerEvent]:
        """Take named refusals, and leave everything else to the real adapter."""
        if isinstance(frame, str):
            said = msgspec.json.decode(frame)
            if tokens := said.get("tokens"):
                error = BrokerLimitError(said["data"])
                found = (self._held.instruments.get(token) for token in tokens)
                return (SubscriptionRejected(error, tuple(each.key for each in found if each)),)
        return super().receive(frame, ts_received_us)


def make_adapter_class(capabilities: BrokerCapabilities, depth_cost: int) -> type[SimulatedAdapter]:
    """Return an adapter class with these limits; depth costs so much."""

    def cost(cls: type[ZerodhaAdapter], instrument: Instrument, mode: FeedMode) -> int:
        return depth_cost if mode is FeedMode.DEPTH else 1

    namespace = {"capabilities": capabilities, "cost": classmethod(cost)}
    return type("ConfiguredAdapter", (SimulatedAdapter,), namespace)
