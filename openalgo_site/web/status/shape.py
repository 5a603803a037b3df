"""Pools and gateways as the status page reads them. Pure.

Times leave as ages in milliseconds wherever the page counts on: a browser's clock may be wrong, and
an age goes on being true while nothing arrives. ``None`` is what nobody knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brokers.pool_service import state_word
from pooling.operations.pool_state import connection_tone

if TYPE_CHECKING:
    from pooling.operations.describe import PoolView

__all__ = ["CONNECTIONS_SHOWN", "POOLS_PER_PAGE", "Page", "matches", "page_of", "pool_entry"]

POOLS_PER_PAGE = 25
CONNECTIONS_SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of pools among those that match, and the states of all that may be seen."""

    pools: Sequence[PoolView]
    page: int
    pages: int
    total: int
    states: Mapping[str, int]


def matches(view: PoolView, search: str) -> bool:
    """Tell whether every word of ``search`` (casefolded) is in what names or describes the pool."""
    text = f"{view.id} {view.name} {view.state} {view.owner or ''}".casefold()
    return all(word in text for word in search.split())


def page_of(views: Iterable[PoolView], search: str, page: int) -> Page:
    """Return a page, those first that need somebody; one beyond the last is the last."""
    seen = list(views)
    found = [view for view in seen if matches(view, search)]
    found.sort(key=lambda view: (view.state.rank, not view.waiting, view.id))
    pages = max(1, -(-len(found) // POOLS_PER_PAGE))
    page = min(page, pages)
    start = (page - 1) * POOLS_PER_PAGE
    return Page(
        pools=found[start : start + POOLS_PER_PAGE],
        page=page,
        pages=pages,
        total=len(found),
        states=Counter(view.state.value for view in seen),
    )


def pool_entry(
    view: PoolView, stats: Mapping[str, Any], *, has_credential: bool, now_ms: int
) -> dict[str, Any]:
    """Return one pool as the page reads it.

    Args:
        view: the pool's row.
        stats: ``PoolStats`` as the worker stored it; may be of another version.
        has_credential: whether one is stored.
        now_ms: epoch milliseconds.
    """
    heartbeat_age_ms = _ms(view.heartbeat_age)
    since_ms = round(view.since.timestamp() * 1000) if view.since is not None else None
    connections = stats.get("connections") or [] if view.is_served else []
    return {
        "id": view.id,
        "broker": view.broker,
        "label": view.label,
        "user": view.user,
        "state": view.state.value,
        "tone": view.state.tone.value,
        "reason": view.reason,
        "since_age_ms": _age(since_ms, now_ms) if view.is_served else None,
        "is_served": view.is_served,
        "owner": view.owner,
        "heartbeat_age_ms": heartbeat_age_ms,
        "connections_used": view.connections,
        "connections_trying": max(0, len(connections) - view.connections),
        "max_connections": view.max_connections,
        "symbols": view.symbols,
        "used": view.used,
        "capacity": view.capacity,
        "symbols_per_connection": stats.get("symbols_per_connection"),
        "waiting": view.waiting,
        "clients": view.clients,
        "ticks_per_second": view.ticks_per_second if view.is_served else None,
        "last_frame_age_ms": _ms(view.last_frame_age),
        "last_tick_age_ms": _ms(view.last_tick_age),
        "reconnects_today": stats.get("reconnects_today"),
        "circuit": stats.get("circuit") or "",
        "today": stats.get("today"),
        "all_time": stats.get("all_time"),
        "has_credential": has_credential,
        "credential_expiry_ms": (
            round(view.credential_expiry.timestamp() * 1000) if view.credential_expiry else None
        ),
        "revision": view.revision,
        "applied_revision": view.applied_revision,
        "connections": [
            _connection(each, heartbeat_age_ms or 0, now_ms)
            for each in connections[:CONNECTIONS_SHOWN]
        ],
        "connections_left_out": max(0, len(connections) - CONNECTIONS_SHOWN),
    }


def _connection(stats: Mapping[str, Any], heartbeat_age_ms: int, now_ms: int) -> dict[str, Any]:
    state = str(stats.get("state", ""))
    retry_ms = stats.get("next_retry_ms")
    return {
        "slot": stats.get("slot"),
        "state": state_word(state),
        "tone": connection_tone(state).value,
        "since_age_ms": _age(stats.get("since_ms"), now_ms),
        "symbols": stats.get("symbols"),
        "used": stats.get("used"),
        "capacity": stats.get("capacity"),
        "messages_received": stats.get("frames_received"),
        "messages_sent": stats.get("messages_sent"),
        "ticks": stats.get("ticks_received"),
        "reconnects_today": stats.get("reconnects_today"),
        "last_close": stats.get("last_close") or "",
        "last_close_code": stats.get("last_close_code"),
        "last_close_age_ms": _age(stats.get("last_close_ms"), now_ms),
        "next_retry_in_ms": None if retry_ms is None else max(0, retry_ms - now_ms),
        "last_frame_age_ms": _later(stats.get("last_frame_age_ms"), heartbeat_age_ms),
        "last_tick_age_ms": _later(stats.get("last_tick_age_ms"), heartbeat_age_ms),
    }


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _age(at_ms: int | None, now_ms: int) -> int | None:
    return None if at_ms is None else max(0, now_ms - at_ms)


def _later(age_ms: int | None, by_ms: int) -> int | None:
    return None if age_ms is None else age_ms + by_ms
