"""Owner of a connection: the questions and the news that its pool takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from brokers.contract import BrokerEvent
from brokers.exceptions import BrokerError
from brokers.types import Subscription
from pooling.lifecycle import ConnectionState
from pooling.subscriptions.reconciler import Batch

__all__ = ["ConnectionOwner"]


class ConnectionOwner(Protocol):
    """The pool as a connection sees it. Called on the worker's loop."""

    def is_needed(self, slot: int) -> bool:
        """Tell whether the connection is to be open."""

    def carries(self, slot: int) -> bool:
        """Tell whether the connection is to carry anything."""

    def has_changes(self, slot: int) -> bool:
        """Tell whether there may be anything to send."""

    def take_batch(self, slot: int, limit: int) -> Batch:
        """Return the next changes to send; empty when there are none."""

    async def prepare(self) -> None:
        """Get ready to say what a new socket is to carry; under two seconds, never raises."""

    def parted(self, slot: int) -> None:
        """Take note that the end of everything that was ``cut`` has been said."""

    def on_state(self, slot: int, state: ConnectionState, reason: str) -> None:
        """Take note of a change of state; an open socket counts from SUBSCRIBING on."""

    def on_lost(self, slot: int, reason: str) -> None:
        """Take note that the socket is gone, and with it every subscription on it."""

    def on_events(self, slot: int, events: Sequence[BrokerEvent]) -> None:
        """Take what a frame said beside its ticks."""

    def on_ticks(self, count: int) -> None:
        """Count ticks that were published."""

    def on_unsendable(self, slot: int, subscription: Subscription, error: BrokerError) -> None:
        """Take note of a subscription that the adapter cannot express."""
