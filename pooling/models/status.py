"""Pools as they are now, as their workers wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.db import models
from django.utils import timezone

from brokers.pool_service import FeedStatus
from pooling.feed_health import CLOSED_REASON
from pooling.models.accounts import BrokerAccount

__all__ = ["STATUS_KEPT", "PeakSeen", "PoolStatus"]

# A worker writes about once a second; a row that is older tells of a worker that is gone.
STATUS_KEPT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class PeakSeen:
    """The highest value of one measure, and when it was seen (aware)."""

    value: float
    at: datetime


class PoolStatusStore(models.Manager["PoolStatus"]):
    """Finds the rows that are still true."""

    def alive(self, now: datetime | None = None) -> models.QuerySet[PoolStatus]:
        """Return the rows of workers that are there, without the last words of those that left."""
        return self.filter(self.is_alive_at(now or timezone.now()))

    @staticmethod
    def is_alive_at(now: datetime, prefix: str = "") -> models.Q:
        """Return the condition of ``PoolStatus.is_alive``; ``prefix`` leads to the status."""
        left = {f"{prefix}state": FeedStatus.CLOSED.value, f"{prefix}reason": CLOSED_REASON}
        return models.Q(**{f"{prefix}heartbeat__gt": now - STATUS_KEPT}) & ~models.Q(**left)

    def has_worker(self, account_id: int | None = None) -> bool:
        """Tell whether a worker is there; for the account of that id, where one is named."""
        rows = self.alive()
        return (rows if account_id is None else rows.filter(account_id=account_id)).exists()


class PoolStatus(models.Model):
    """One pool as it is now, as its worker wrote it about a second ago.

    ``state`` (the feed status) and the numbers are as true as ``heartbeat`` is recent: show what
    ``operations.pool_state`` says.
    ``used`` and ``capacity`` count what the broker counts, ``symbols`` counts instruments.
    ``stats`` is ``brokers.pool_service.PoolStats`` as JSON: all that there is to know of each
    connection.
    """

    # In ``stats``, of the worker alone: which accounts' credentials the broker counts together.
    SEAT_GROUP: ClassVar[str] = "seat_group"

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="status")
    owner = models.CharField(max_length=128, help_text="The worker, as host:process.")
    epoch = models.BigIntegerField(default=0)
    state = models.CharField(max_length=32)
    reason = models.CharField(max_length=255, blank=True)
    since = models.DateTimeField()
    connections = models.PositiveIntegerField(default=0)
    max_connections = models.PositiveIntegerField(default=0)
    symbols_per_connection = models.PositiveIntegerField(default=0)
    symbols = models.PositiveIntegerField(default=0)
    used = models.PositiveIntegerField(default=0)
    capacity = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0)
    clients = models.PositiveIntegerField(default=0)
    ticks_per_second = models.FloatField(default=0.0)
    last_frame = models.DateTimeField(null=True)
    last_tick = models.DateTimeField(null=True)
    credential_expiry = models.DateTimeField(null=True)
    applied_revision = models.PositiveIntegerField(default=0)
    applied = models.DateTimeField(null=True)
    heartbeat = models.DateTimeField()
    stats = models.JSONField(default=dict)

    objects = PoolStatusStore()

    class Meta:
        verbose_name_plural = "pool statuses"

    def __str__(self) -> str:
        return f"{self.account}: pool status"

    @staticmethod
    def seat_group_fact(version: int, group: str) -> str:
        """Return what ``stats`` says of the group of a credential's version; "" for no group."""
        return f"{version} {group}" if group else ""

    @staticmethod
    def seat_group_of(fact: object, version: int) -> str:
        """Return the group that was told of this version; "" for none, or of another version."""
        told, _, group = str(fact or "").partition(" ")
        return group if told == str(version) else ""

    @property
    def figures(self) -> dict[str, Any]:
        """``stats`` for people and programs."""
        return {name: value for name, value in self.stats.items() if name != self.SEAT_GROUP}

    @property
    def has_left(self) -> bool:
        """Whether these are the last words of a worker that ended. Nobody else closes a pool so.

        An account that a person switched off or paused says that instead.
        """
        return self.state == FeedStatus.CLOSED and self.reason == CLOSED_REASON

    def is_alive(self, now: datetime | None = None) -> bool:
        """Tell whether the worker that wrote this is still there."""
        is_fresh = self.heartbeat > (now or timezone.now()) - STATUS_KEPT
        return is_fresh and not self.has_left

    @property
    def peaks_today(self) -> Mapping[str, PeakSeen]:
        """The highest value of each measure since midnight in TIME_ZONE.

        The measures are symbols, connections, clients and ticks_per_second. Empty before the
        worker wrote for the first time.
        """
        return _peaks(self.stats.get("today"))

    @property
    def peaks_all_time(self) -> Mapping[str, PeakSeen]:
        """The highest value of each measure ever; keys as in ``peaks_today``."""
        return _peaks(self.stats.get("all_time"))

    @property
    def connection_stats(self) -> list[dict[str, Any]]:
        """Each connection as ``brokers.pool_service.ConnectionStats`` in JSON; slots ascend."""
        found: list[dict[str, Any]] = self.stats.get("connections") or []
        return found


def _peaks(stored: Mapping[str, Mapping[str, float]] | None) -> dict[str, PeakSeen]:
    return {
        name: PeakSeen(peak["value"], datetime.fromtimestamp(peak["at_ms"] / 1000, UTC))
        for name, peak in (stored or {}).items()
    }
