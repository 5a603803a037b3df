"""Changes of pools' states, noted as events when a worker writes its status. Blocking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from brokers.pool_service import FeedStatus
from pooling.feed_health import CLOSED_REASON, PAUSED_REASON
from pooling.models import BrokerAccount, PoolEvent, PoolStatus
from pooling.outages import DISABLED, NOT_SERVED, STATE_PREFIX

__all__ = ["StateLog"]

# A worker writes its status about once a second.
SILENCE = timedelta(seconds=2)


class StateLog:
    """Knows which state of each pool was noted last. Used by one store, one write at a time."""

    def __init__(self) -> None:
        # By account, of this store's own writes.
        self._noted: dict[int, str] = {}

    def __bool__(self) -> bool:
        """Whether any pool's state was noted."""
        return bool(self._noted)

    def events_for(self, rows: Sequence[PoolStatus]) -> list[PoolEvent]:
        """Return what is to be stored with these rows, before they replace the stored ones.

        Of a pool that this worker writes for the first time, what is stored says since when nobody
        served it.
        """
        changed = [row for row in rows if self._noted.get(row.account_id) != row.state]
        unseen = {row.account_id for row in changed if row.account_id not in self._noted}
        before = {
            row.account_id: row
            for row in PoolStatus.objects.filter(account__in=unseen).defer("stats")
        }  # fmt: skip
        events: list[PoolEvent] = []
        for row in changed:
            last = before.get(row.account_id)
            is_gap = last is not None and last.state != FeedStatus.CLOSED
            if last is not None and is_gap and row.since - last.heartbeat > SILENCE:
                message = f"worker {last.owner} was not heard any more"
                events.append(_event(row.account_id, NOT_SERVED, message, last.heartbeat))
            events.append(_event(row.account_id, *_told(row), row.since))
        return events

    def noted(self, rows: Sequence[PoolStatus]) -> None:
        """Take note that these rows, and what was to be stored with them, are stored."""
        self._noted.update({row.account_id: row.state for row in rows})

    def events_of_left(self, served: set[int], now: datetime) -> list[PoolEvent]:
        """Return what is to be stored of pools that were served and are not any more.

        What another worker serves now is noted by that one. Once it is stored, ``keep`` forgets
        them.
        """
        left = set(self._noted) - served
        if not left:
            return []
        switched_off = BrokerAccount.objects.filter(pk__in=left, enabled=False)
        return [
            _event(pk, DISABLED, "the account is not enabled", now)
            for pk in switched_off.values_list("pk", flat=True)
        ]

    def keep(self, served: set[int]) -> None:
        """Forget all pools but these."""
        for pk in set(self._noted) - served:
            del self._noted[pk]


def _told(row: PoolStatus) -> tuple[str, str]:
    """Return kind and reason of a state: one that is closed and not paused is not served."""
    if row.state == FeedStatus.CLOSED and row.reason != PAUSED_REASON:
        is_end = row.reason == CLOSED_REASON
        return NOT_SERVED, f"worker {row.owner} ended" if is_end else row.reason
    return f"{STATE_PREFIX}{row.state}", row.reason


def _event(account_id: int, kind: str, message: str, at: datetime) -> PoolEvent:
    return PoolEvent(account_id=account_id, kind=kind[:64], message=message[:500], at=at)
