"""Ticks that outboxes kept from clients, gone ones included, by reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from streaming.clients.outbox import Outbox

__all__ = ["OutboxCounts"]


class OutboxCounts(NamedTuple):
    """Deliveries that did not happen, by reason.

    ``conflated``: a later tick of the same line took the place. ``unsubscribed`` and ``closed``:
    still waiting when the client left the line, or was closed or gone.
    """

    conflated: int = 0
    unsubscribed: int = 0
    closed: int = 0

    def plus(self, outboxes: Iterable[Outbox[Any]]) -> OutboxCounts:
        """Return these counts and those of ``outboxes`` together."""
        conflated, unsubscribed, closed = self
        for outbox in outboxes:
            conflated += outbox.conflated
            unsubscribed += outbox.dropped_unsubscribed
            closed += outbox.dropped_closed
        return OutboxCounts(conflated, unsubscribed, closed)
