"""Figures that a worker adds to a pool's statistics: what it shares, what it lends. Pure."""

from __future__ import annotations

from brokers.pool_service import EndpointStats, ExclusiveTotals
from pooling.connectors.circuit import CircuitStats
from pooling.connectors.rate import ConnectRateStats
from pooling.exclusive.options import ExclusiveStats

__all__ = ["endpoint_stats", "exclusive_totals"]


def endpoint_stats(
    worker: int, circuit: CircuitStats, rate: ConnectRateStats | None
) -> EndpointStats:
    """Return an endpoint's circuit and, where the broker counts them, its connects."""
    return EndpointStats(
        worker=worker,
        name=circuit.endpoint,
        failures=circuit.failures,
        times_opened=circuit.times_opened,
        attempts_held=circuit.attempts_held,
        connects=rate.used if rate else 0,
        connects_allowed=rate.attempts if rate else 0,
        connects_held=rate.attempts_held if rate else 0,
    )


def exclusive_totals(stats: ExclusiveStats | None) -> ExclusiveTotals | None:
    """Return the numbers of lent connections without the connections themselves."""
    if stats is None:
        return None
    return ExclusiveTotals(
        active=stats.active_connections,
        idle=stats.idle_connections,
        opening=stats.opening_connections,
        closing=stats.closing_connections,
        waiting=stats.waiting,
        messages_sent=stats.total_messages_sent,
        messages_received=stats.total_messages_received,
        reconnects=stats.total_reconnects,
        reuses=stats.reuses,
        exhausted=stats.exhausted,
    )
