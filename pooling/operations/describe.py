"""Pools as plain values, the same for a table, for JSON and for the live view."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet

from brokers.pool_service import CONNECTED_STATES
from pooling.models import BrokerAccount, PoolCommand, PoolConfig, PoolEvent, PoolStatus
from pooling.operations.naming import account_name
from pooling.operations.pool_state import PoolState
from pooling.operations.state_rows import state_now

__all__ = [
    "PoolView",
    "accounts_with_status",
    "command_dict",
    "connections",
    "connections_text",
    "event_dict",
    "limits_of",
    "totals",
    "view_of",
]

_TOTALS = (
    "connections",
    "max_connections",
    "symbols",
    "used",
    "capacity",
    "waiting",
    "clients",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolView:
    """One pool as a person sees it now. Ages are seconds, None before the first event.

    ``connections`` have an open socket, those that are ``trying`` have none.
    """

    id: int
    name: str
    user: str
    broker: str
    label: str
    enabled: bool
    paused: bool
    state: PoolState
    reason: str
    is_served: bool
    owner: str | None
    since: datetime | None
    connections: int
    trying: int | None = None
    max_connections: int
    symbols: int
    used: int
    capacity: int
    waiting: int
    clients: int
    ticks_per_second: float
    last_frame_age: float | None
    last_tick_age: float | None
    heartbeat_age: float | None
    credential_expiry: datetime | None
    revision: int
    applied_revision: int | None


def accounts_with_status() -> QuerySet[BrokerAccount]:
    """Return all accounts with what ``view_of`` reads, in one query."""
    return BrokerAccount.objects.select_related("user", "config", "status").order_by("pk")


def view_of(account: BrokerAccount, now: datetime) -> PoolView:
    """Return how the pool of an account is at ``now`` (aware)."""
    status: PoolStatus | None = getattr(account, "status", None)
    is_alive = status is not None and account.enabled and status.is_alive(now)
    numbers = {name: getattr(status, name) if is_alive else 0 for name in _TOTALS}
    state, reason = state_now(account, status, now)
    return PoolView(
        id=account.pk,
        name=account_name(account),
        user=account.user.get_username(),
        broker=account.broker,
        label=account.label,
        enabled=account.enabled,
        paused=account.paused,
        state=state,
        reason=reason,
        is_served=is_alive,
        trying=_trying(status) if status is not None and is_alive else 0,
        owner=status.owner if status is not None and is_alive else None,
        since=status.since if status is not None else None,
        **numbers,
        ticks_per_second=status.ticks_per_second if status is not None and is_alive else 0.0,
        last_frame_age=_age(status.last_frame if status else None, now),
        last_tick_age=_age(status.last_tick if status else None, now),
        heartbeat_age=_age(status.heartbeat if status else None, now),
        credential_expiry=account.credentials_expire,
        revision=_config(account).revision,
        applied_revision=status.applied_revision if status is not None else None,
    )


def limits_of(account: BrokerAccount) -> dict[str, dict[str, Any]]:
    """Return for each limit and timing what is set, what is in force, and the broker's cap.

    ``set`` None: the installation's default; ``broker`` None: the broker has no say.

    Raises:
        BrokerConfigError: the account's broker is unknown to this installation.
    """
    config, capabilities = _config(account), account.capabilities()
    options = config.to_options()
    return {
        name: {
            "set": getattr(config, name),
            "in_force": getattr(options, option),
            "broker": getattr(capabilities, name) if name in PoolConfig.CAPPED else None,
        }
        for name, option in PoolConfig.OPTIONS.items()
    }


def connections_text(view: PoolView) -> str:
    """Return how many connections a pool has, and how many try to be, in words."""
    trying = f", {view.trying} trying" if view.trying else ""
    return f"{view.connections} of {view.max_connections} connected{trying}"


def connections(account: BrokerAccount, now: datetime) -> list[Mapping[str, Any]]:
    """Return the pool's connections as its worker described them; none once it is gone."""
    status: PoolStatus | None = getattr(account, "status", None)
    return list(status.connection_stats) if status is not None and status.is_alive(now) else []


def event_dict(event: PoolEvent) -> dict[str, Any]:
    """Return an event as it is printed."""
    return {"at": event.at, "kind": event.kind, "message": event.message}


def command_dict(command: PoolCommand) -> dict[str, Any]:
    """Return a request to a pool, and what became of it, as it is printed."""
    return {
        "id": command.pk,
        "pool": command.account_id,
        "verb": command.verb,
        "argument": command.argument,
        "state": command.state,
        "result": command.result,
        "source": command.source,
        "requested": command.requested,
        "finished": command.finished,
    }


def totals(views: Iterable[PoolView]) -> dict[str, float]:
    """Return the sums over pools."""
    found: dict[str, float] = dict.fromkeys((*_TOTALS, "ticks_per_second"), 0)
    for view in views:
        for name in found:
            found[name] += getattr(view, name)
    return found


def _trying(status: PoolStatus) -> int | None:
    """Return how many connections have no socket and want one; None where it was not read."""
    if "stats" in status.get_deferred_fields():
        return None
    return sum(each.get("state") not in CONNECTED_STATES for each in status.connection_stats)


def _config(account: BrokerAccount) -> PoolConfig:
    return getattr(account, "config", None) or PoolConfig(account=account)


def _age(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max(0.0, (now - moment).total_seconds())
