"""The one word that a list shows for a pool, and how it looks."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from django.utils.safestring import SafeString

from brokers.feed import FeedStatus, state_word
from pooling.admin.lists.cells import NOTHING, Tone, age, badge
from pooling.lifecycle import ConnectionState
from pooling.models import NO_WORKER, BrokerAccount, PoolStatus
from pooling.operations.describe import DISABLED_REASON, NOT_SERVED_REASON, PAUSED_REASON

__all__ = ["PoolState", "connection_rows", "state_badge", "state_of"]


class PoolState(StrEnum):
    """What a person wants to know first; the value is the parameter of the filter."""

    LIVE = FeedStatus.LIVE.value
    STALE = FeedStatus.STALE.value
    AUTH_REQUIRED = FeedStatus.AUTH_REQUIRED.value
    PAUSED = "paused"
    CLOSED = FeedStatus.CLOSED.value
    NO_WORKER = NO_WORKER
    NOT_SERVED = "not_served"
    DISABLED = "disabled"

    @property
    def word(self) -> str:
        """How it reads."""
        return state_word(self.value)

    @property
    def tone(self) -> Tone:
        """How it looks."""
        return _TONES.get(self, Tone.OFF)


_TONES = {
    PoolState.LIVE: Tone.GOOD,
    PoolState.STALE: Tone.WARN,
    PoolState.AUTH_REQUIRED: Tone.BAD,
    PoolState.NO_WORKER: Tone.BAD,
    PoolState.PAUSED: Tone.HELD,
}
_REASONS = {
    PoolState.NO_WORKER: "no worker has written its state lately; start one: manage.py runpool",
    PoolState.NOT_SERVED: NOT_SERVED_REASON,
    PoolState.DISABLED: DISABLED_REASON,
    PoolState.PAUSED: PAUSED_REASON,
}


def state_of(account: BrokerAccount, status: PoolStatus | None, now: datetime) -> PoolState:
    """Return how the pool of an account is. A state that nobody keeps up to date is none."""
    if not account.enabled:
        return PoolState.DISABLED
    if status is None:
        return PoolState.NOT_SERVED
    effective = str(status.effective_state(now))
    if account.paused and effective != NO_WORKER:
        return PoolState.PAUSED
    return PoolState(effective) if effective in _VALUES else PoolState.CLOSED


def state_badge(account: BrokerAccount, status: PoolStatus | None, now: datetime) -> SafeString:
    """Return the badge of an account's pool; its reason is read when it is pointed at."""
    state = state_of(account, status, now)
    reason = _REASONS.get(state) or (status.reason if status is not None else "")
    return badge(state.tone, state.word, reason)


def connection_rows(status: PoolStatus | None, now: datetime) -> list[dict[str, Any]]:
    """Return the connections of a pool as its worker told them last, with badges and ages.

    Empty once the worker is gone: its connections went with it.
    """
    if status is None or not status.is_alive(now):
        return []
    return [
        {
            **each,
            "badge": badge(
                _CONNECTION_TONES.get(each["state"], Tone.OFF), state_word(each["state"])
            ),
            "since": age(datetime.fromtimestamp(each["since_ms"] / 1000, UTC), now),
            "last_close": each.get("last_close") or NOTHING,
            "closed": _moment_age(each.get("last_close_ms"), now) if each.get("last_close") else "",
        }
        for each in status.connection_stats
    ]


def _moment_age(at_ms: float | None, now: datetime) -> SafeString | str:
    return "" if at_ms is None else age(datetime.fromtimestamp(at_ms / 1000, UTC), now)


_VALUES = frozenset(PoolState)
_CONNECTION_TONES = {
    ConnectionState.LIVE: Tone.GOOD,
    ConnectionState.STALE: Tone.WARN,
    ConnectionState.BACKOFF: Tone.WARN,
    ConnectionState.RATE_LIMITED: Tone.BAD,
    ConnectionState.AUTH_REQUIRED: Tone.BAD,
    ConnectionState.DRAINING: Tone.HELD,
}
