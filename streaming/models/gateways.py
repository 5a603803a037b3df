"""Gateway processes and the clients that are connected to them, as each gateway writes them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from streaming.models.keys import ApiKey

__all__ = ["GATEWAY_KEPT", "MAX_USER_AGENT", "ClientConnection", "GatewayStatus"]

# A gateway writes about every two seconds; a row that is older tells of one that is gone.
GATEWAY_KEPT = timedelta(seconds=10)
MAX_USER_AGENT = 200


class GatewayStatusStore(models.Manager["GatewayStatus"]):
    """Finds and forgets gateways."""

    def alive(self, now: datetime | None = None) -> models.QuerySet[GatewayStatus]:
        """Return the gateways that are there."""
        return self.filter(heartbeat__gt=(now or timezone.now()) - GATEWAY_KEPT)

    def forget_dead(self, now: datetime | None = None) -> int:
        """Delete the gateways that are gone, and with them their clients; returns how many."""
        dead = self.filter(heartbeat__lte=(now or timezone.now()) - GATEWAY_KEPT)
        return dead.delete()[1].get("streaming.GatewayStatus", 0)


class GatewayStatus(models.Model):
    """One gateway process as it is now. Counters are since it started."""

    gateway = models.CharField(max_length=64, unique=True, help_text="Its id at the workers.")
    host = models.CharField(max_length=128)
    pid = models.PositiveIntegerField()
    started = models.DateTimeField()
    heartbeat = models.DateTimeField(db_index=True)
    clients = models.PositiveIntegerField(default=0)
    deliveries = models.PositiveBigIntegerField(default=0)
    deliveries_per_second = models.FloatField(default=0.0)
    conflated = models.PositiveBigIntegerField(
        default=0, help_text="Deliveries that a later tick replaced, as the client was slow."
    )
    dropped = models.PositiveBigIntegerField(
        default=0, help_text="Ticks of the bus that did not arrive, or were of no use."
    )
    slow_closes = models.PositiveIntegerField(
        default=0, help_text="Clients that were closed because they did not keep up."
    )
    latency = models.JSONField(
        default=dict,
        editable=False,
        help_text="Milliseconds of each stage of a tick's way, sampled within the last minute.",
    )

    objects = GatewayStatusStore()

    class Meta:
        verbose_name_plural = "gateway statuses"
        ordering = ("host", "pid")

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def is_alive(self, now: datetime | None = None) -> bool:
        """Tell whether the gateway that wrote this is still there."""
        return self.heartbeat > (now or timezone.now()) - GATEWAY_KEPT


class ClientConnectionStore(models.Manager["ClientConnection"]):
    """Finds connected clients."""

    def alive(self, now: datetime | None = None) -> models.QuerySet[ClientConnection]:
        """Return the clients of gateways that are there."""
        return self.filter(gateway__heartbeat__gt=(now or timezone.now()) - GATEWAY_KEPT)

    def request_disconnect(self, ids: list[int]) -> int:
        """Have these clients closed within five seconds; returns how many are still there."""
        return self.filter(pk__in=ids).update(disconnect_requested=True)


class ClientConnection(models.Model):
    """One client that is connected and admitted, as its gateway wrote it a few seconds ago."""

    class Protocol(models.TextChoices):
        """What it speaks."""

        OPENALGO = "openalgo", "OpenAlgo"
        BROWSER = "browser", "browser page"
        BATCH = "batch", "batches"

    gateway = models.ForeignKey(
        GatewayStatus, on_delete=models.CASCADE, related_name="client_connections"
    )
    client = models.CharField(max_length=64, help_text="Its id within the gateway.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="client_connections"
    )
    api_key = models.ForeignKey(
        ApiKey,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="client_connections",
        verbose_name="API key",
    )
    address = models.CharField(max_length=64)
    user_agent = models.CharField(max_length=MAX_USER_AGENT, blank=True)
    protocol = models.CharField(max_length=16, choices=Protocol.choices)
    connected = models.DateTimeField()
    symbols = models.PositiveIntegerField(default=0)
    disconnect_requested = models.BooleanField(default=False)

    objects = ClientConnectionStore()

    class Meta:
        ordering = ("-connected",)
        permissions = (("disconnect_clientconnection", "Can disconnect clients"),)
        constraints = (
            models.UniqueConstraint(fields=["gateway", "client"], name="one_row_per_client"),
        )
        indexes = (
            # The gateways' look every two seconds: nearly always empty.
            models.Index(
                fields=["gateway"],
                name="client_to_disconnect",
                condition=models.Q(disconnect_requested=True),
            ),
        )

    def __str__(self) -> str:
        return f"{self.user} from {self.address}"
