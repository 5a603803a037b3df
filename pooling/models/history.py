"""The past of pools: peaks per interval, per day and of all time, and events."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

from pooling.models.accounts import BrokerAccount
from pooling.outages import STATE_PREFIX

__all__ = [
    "EVENTS_KEPT_PER_POOL",
    "STATES_KEPT_PER_POOL",
    "PoolEvent",
    "PoolRecord",
    "PoolUsage",
    "PoolUsageDay",
]

EVENTS_KEPT_PER_POOL = 1000
# Changes of state have room of their own: no other event drives out when the feed was down.
STATES_KEPT_PER_POOL = 2000


class Peaks(models.Model):
    """The highest value of each measure, each with its own time."""

    symbols = models.PositiveIntegerField(default=0)
    symbols_at = models.DateTimeField()
    connections = models.PositiveIntegerField(default=0)
    connections_at = models.DateTimeField()
    clients = models.PositiveIntegerField(default=0)
    clients_at = models.DateTimeField()
    ticks_per_second = models.FloatField(default=0.0)
    ticks_per_second_at = models.DateTimeField()

    class Meta:
        abstract = True


class Period(Peaks):
    """Peaks and counts of a period, with the limits that were in force at its end.

    ``drops`` are what came from the broker and reached nobody: malformed frames, and ticks of what
    is not subscribed.
    """

    ticks_received = models.PositiveBigIntegerField(default=0)
    reconnects = models.PositiveIntegerField(default=0)
    drops = models.PositiveBigIntegerField(default=0)
    max_connections = models.PositiveIntegerField(default=0)
    symbols_per_connection = models.PositiveIntegerField(default=0)
    capacity = models.PositiveIntegerField(default=0)

    class Meta:
        abstract = True


class PoolUsage(Period):
    """Peaks of one pool within one interval of some minutes, each with its own time."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="usage")
    started = models.DateTimeField()
    ended = models.DateTimeField()

    class Meta:
        verbose_name_plural = "pool usage"
        ordering = ("-started",)
        indexes = (
            models.Index(fields=["account", "-started"], name="usage_by_account"),
            models.Index(fields=["-started"], name="usage_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.account}: {self.symbols} symbols"


class PoolUsageDay(Period):
    """Peaks of one pool within one day of TIME_ZONE, and what it did that day. Kept for good."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="usage_days")
    day = models.DateField()

    class Meta:
        verbose_name = "pool usage by day"
        verbose_name_plural = "pool usage by day"
        ordering = ("-day",)
        constraints = (
            models.UniqueConstraint(fields=["account", "day"], name="one_usage_row_per_day"),
        )
        indexes = (models.Index(fields=["-day"], name="usage_day_by_day"),)

    def __str__(self) -> str:
        return f"{self.account}: {self.day}"


class PoolRecord(Peaks):
    """The highest values that one pool has ever reached."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="record")
    drops = models.PositiveBigIntegerField(default=0, help_text="The most in one interval.")
    drops_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "pool record"

    def __str__(self) -> str:
        return f"records of {self.account}"


class PoolEvent(models.Model):
    """An event of one pool, and why it came; the newest ones of each pool are kept."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=64)
    message = models.CharField(max_length=500)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-id",)
        indexes = (models.Index(fields=["account", "-id"], name="event_by_account"),)

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"

    @classmethod
    def prune(
        cls,
        account_id: int,
        kept: int = EVENTS_KEPT_PER_POOL,
        states_kept: int = STATES_KEPT_PER_POOL,
    ) -> int:
        """Delete all but the newest events of an account; returns the number of rows.

        Args:
            account_id: whose.
            kept: how many stay that are no changes of state.
            states_kept: how many of those stay.
        """
        rows, states = (
            cls.objects.filter(account_id=account_id),
            models.Q(kind__startswith=STATE_PREFIX),
        )
        return _prune(rows.filter(~states), kept) + _prune(rows.filter(states), states_kept)


def _prune(rows: models.QuerySet[PoolEvent], kept: int) -> int:
    oldest_kept = rows.order_by("-id").values_list("id", flat=True)[kept - 1 : kept].first()
    return 0 if oldest_kept is None else rows.filter(id__lt=oldest_kept).delete()[0]
