"""All pools at a glance, for the first page of the admin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, Q, Sum
from django.utils.safestring import SafeString

from pooling.admin.lists.cells import badge
from pooling.models import BrokerAccount, PoolStatus
from pooling.operations.state_rows import conditions, state_now

__all__ = ["Overview", "StateCount", "overview"]

MAX_LISTED = 8


@dataclass(frozen=True, slots=True)
class StateCount:
    """Number of pools in a state; ``state`` is the parameter of the list's filter."""

    state: str
    badge: SafeString
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The pools together. Numbers are those of pools whose worker is there."""

    states: tuple[StateCount, ...]
    troubled: tuple[tuple[BrokerAccount, SafeString, str], ...]
    symbols: int
    capacity: int
    waiting: int
    clients: int
    connections: int
    ticks_per_second: float
    workers: int


def overview(now: datetime) -> Overview:
    """Return all pools at a glance, in three queries however many there are."""
    found = conditions(now)
    counts = BrokerAccount.objects.aggregate(
        **{state.name: Count("pk", filter=condition) for state, condition in found.items()}
    )
    totals = PoolStatus.objects.alive(now).aggregate(
        symbols=Sum("used"),
        capacity=Sum("capacity"),
        waiting=Sum("waiting"),
        clients=Sum("clients"),
        connections=Sum("connections"),
        ticks=Sum("ticks_per_second"),
        workers=Count("owner", distinct=True),
    )
    trouble = Q()
    for state, condition in found.items():
        if state.needs_somebody:
            trouble |= condition
    accounts = (
        BrokerAccount.objects.filter(trouble)
        .select_related("user", "status")
        .defer("status__stats")
        .order_by(F("status__since").desc(nulls_last=True))[:MAX_LISTED]
    )
    return Overview(
        states=tuple(
            StateCount(state.value, badge(state.tone, state.value), counts[state.name])
            for state in found
            if counts[state.name]
        ),
        troubled=tuple(_trouble(account, now) for account in accounts),
        symbols=totals["symbols"] or 0,
        capacity=totals["capacity"] or 0,
        waiting=totals["waiting"] or 0,
        clients=totals["clients"] or 0,
        connections=totals["connections"] or 0,
        ticks_per_second=totals["ticks"] or 0.0,
        workers=totals["workers"],
    )


def _trouble(account: BrokerAccount, now: datetime) -> tuple[BrokerAccount, SafeString, str]:
    state, reason = state_now(account, getattr(account, "status", None), now)
    return account, badge(state.tone, state.value), reason
