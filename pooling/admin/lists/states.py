"""Badges of pools and of their connections, as the admin's lists show them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils.safestring import SafeString

from brokers.pool_service import state_word
from pooling.admin.lists.cells import NOTHING, age, badge
from pooling.models import BrokerAccount, PoolStatus
from pooling.operations.pool_state import connection_tone
from pooling.operations.state_rows import state_now

__all__ = ["connection_rows", "state_badge"]


def state_badge(account: BrokerAccount, status: PoolStatus | None, now: datetime) -> SafeString:
    """Return the badge of an account's pool; its reason is read when it is pointed at."""
    state, reason = state_now(account, status, now)
    return badge(state.tone, state.value, reason)


def connection_rows(status: PoolStatus | None, now: datetime) -> list[dict[str, Any]]:
    """Return the connections of a pool as its worker told them last, with badges and ages.

    Empty once the worker is gone: its connections went with it.
    """
    if status is None or not status.is_alive(now):
        return []
    return [
        {
            **each,
            "badge": badge(connection_tone(each["state"]), state_word(each["state"])),
            "since": age(datetime.fromtimestamp(each["since_ms"] / 1000, UTC), now),
            "last_close": each.get("last_close") or NOTHING,
            "closed": _moment_age(each.get("last_close_ms"), now) if each.get("last_close") else "",
        }
        for each in status.connection_stats
    ]


def _moment_age(at_ms: float | None, now: datetime) -> SafeString | str:
    return "" if at_ms is None else age(datetime.fromtimestamp(at_ms / 1000, UTC), now)
