"""What the site remembers of brokers, pools and instruments.

A model turns into a frozen value (``BrokerAccount.to_spec``, ``PoolConfig.to_options``) and only
the value travels on; nothing here runs on the tick path.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import connection, models
from django.db.models import Q
from django.utils import timezone

from brokers.base import BrokerCapabilities
from brokers.exceptions import BrokerConfigError
from brokers.types import Instrument as InstrumentValue
from brokers.types import InstrumentKey
from pooling import conf
from pooling.contracts import AccountSpec, PoolOptions
from pooling.crypto import CredentialCipher

__all__ = [
    "BrokerAccount",
    "Instrument",
    "PoolConfig",
    "PoolEvent",
    "PoolStatus",
    "PoolUsage",
    "starting_with",
    "validate_endpoint",
]

USAGE_KEPT = timedelta(days=90)
EVENTS_KEPT_PER_POOL = 1000


def validate_endpoint(value: str) -> None:
    """Refuse anything but a ``ws`` or ``wss`` URL with a host and without credentials."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(sign.isspace() for sign in value):
        raise ValidationError("Enter a WebSocket URL such as wss://ws.example.com/path.")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("Leave credentials out of the URL: they have fields of their own.")


class BrokerAccount(models.Model):
    """One user's account at one broker; its primary key, as text, is the id of its pool."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="broker_accounts"
    )
    broker = models.CharField(max_length=32, choices=conf.broker_choices)
    label = models.CharField(
        max_length=64, default="main", help_text="Tells several accounts at one broker apart."
    )
    credentials = models.JSONField(
        default=dict, editable=False, help_text="Encrypted field by field; never shown."
    )
    credentials_version = models.PositiveIntegerField(default=0, editable=False)
    endpoint = models.CharField(
        max_length=255,
        blank=True,
        validators=[validate_endpoint],
        help_text="WebSocket URL to use instead of the broker's own. Empty: the broker's own.",
    )
    enabled = models.BooleanField(default=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["user", "broker", "label"],
                name="one_label_per_user_and_broker",
                violation_error_message="This user has an account with that broker and label.",
            ),
        )
        ordering = ("user_id", "id")

    def __str__(self) -> str:
        return f"{self.user}: {self.broker} ({self.label})"

    @property
    def pool_id(self) -> str:
        """The name of this account's pool on the bus and in every statistic."""
        return str(self.pk)

    def capabilities(self) -> BrokerCapabilities:
        """Return what the broker allows. Raises BrokerConfigError for a broker unknown here."""
        return conf.broker_capabilities(self.broker)

    def set_credentials(self, values: Mapping[str, str], cipher: CredentialCipher) -> None:
        """Encrypt and keep ``values``; fields that are not named stay. Does not save."""
        changed = {name: cipher.encrypt(value) for name, value in values.items()}
        if changed:
            self.credentials = {**self.credentials, **changed}
            self.credentials_version += 1

    def to_spec(self) -> AccountSpec:
        """Return what a worker needs. Raises BrokerConfigError for an unknown broker."""
        config = getattr(self, "config", None) or PoolConfig(account=self)
        return AccountSpec(
            pool_id=self.pool_id,
            broker=self.broker,
            user_id=self.user_id,
            label=self.label,
            options=config.to_options(),
            endpoint=self.endpoint or None,
            credentials_version=self.credentials_version,
        )


class PoolConfig(models.Model):
    """Limits and timings of one account's pool; an empty field takes the installation's default."""

    # Model field -> field of PoolOptions.
    OPTIONS: ClassVar[Mapping[str, str]] = {
        "symbols_per_connection": "symbols_per_connection",
        "max_connections": "max_connections",
        "max_idle_time": "max_idle_seconds",
        "health_check_interval": "health_check_seconds",
        "acquire_timeout": "acquire_timeout_seconds",
        "warm_connections": "warm_connections",
    }
    CAPPED: ClassVar[tuple[str, ...]] = ("symbols_per_connection", "max_connections")

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="config")
    symbols_per_connection = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    max_connections = models.PositiveIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1)]
    )
    max_idle_time = models.FloatField(
        "max idle time (seconds)", null=True, blank=True, validators=[MinValueValidator(0.0)]
    )
    health_check_interval = models.FloatField(
        "health check interval (seconds)",
        null=True,
        blank=True,
        validators=[MinValueValidator(1.0)],
    )
    acquire_timeout = models.FloatField(
        "acquire timeout (seconds)",
        null=True,
        blank=True,
        validators=[MinValueValidator(0.1), MaxValueValidator(300.0)],
    )
    warm_connections = models.PositiveIntegerField(null=True, blank=True)
    revision = models.PositiveIntegerField(default=1, editable=False)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "pool limits"
        verbose_name_plural = "pool limits"

    def __str__(self) -> str:
        return f"limits of {self.account}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, with a new revision whenever a limit or timing differs from the stored one."""
        stored = type(self).objects.filter(pk=self.pk).values(*self.OPTIONS, "revision").first()
        if stored is not None:
            same = all(stored[name] == getattr(self, name) for name in self.OPTIONS)
            self.revision = stored["revision"] if same else stored["revision"] + 1
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "revision"}
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Refuse limits above what the broker allows, naming the broker's own."""
        super().clean()
        try:
            capabilities = self.account.capabilities()
        except (BrokerConfigError, BrokerAccount.DoesNotExist):
            return  # the account's own form says so
        errors: dict[str, str] = {}
        for name in self.CAPPED:
            value, cap = getattr(self, name), getattr(capabilities, name)
            if value is not None and value > cap:
                errors[name] = f"{capabilities.label} allows at most {cap:,} here."
        limit = min(
            self.max_connections or capabilities.max_connections, capabilities.max_connections
        )
        if self.warm_connections is not None and self.warm_connections > limit:
            errors["warm_connections"] = f"At most {limit}, the number of connections of this pool."
        if errors:
            raise ValidationError(errors)

    def to_options(self) -> PoolOptions:
        """Return own values over the defaults, none above what the broker allows.

        Raises:
            BrokerConfigError: the account's broker is unknown to this installation.
        """
        capabilities = self.account.capabilities()
        own = {
            option: getattr(self, name)
            for name, option in self.OPTIONS.items()
            if getattr(self, name) is not None
        }
        options = replace(conf.default_options(), **own, revision=self.revision)
        connections = min(options.max_connections, capabilities.max_connections)
        return replace(
            options,
            symbols_per_connection=min(
                options.symbols_per_connection, capabilities.symbols_per_connection
            ),
            max_connections=connections,
            warm_connections=min(options.warm_connections, connections),
        )


class PoolStatus(models.Model):
    """How one pool is now, as its worker wrote it about a second ago."""

    account = models.OneToOneField(BrokerAccount, on_delete=models.CASCADE, related_name="status")
    owner = models.CharField(max_length=128)
    epoch = models.BigIntegerField(default=0)
    state = models.CharField(max_length=32)
    reason = models.CharField(max_length=255, blank=True)
    since = models.DateTimeField()
    connections = models.PositiveIntegerField(default=0)
    max_connections = models.PositiveIntegerField(default=0)
    used = models.PositiveIntegerField(default=0)
    capacity = models.PositiveIntegerField(default=0)
    clients = models.PositiveIntegerField(default=0)
    ticks_per_second = models.FloatField(default=0.0)
    applied_revision = models.PositiveIntegerField(default=0)
    applied = models.DateTimeField(null=True)
    heartbeat = models.DateTimeField()
    stats = models.JSONField(default=dict)

    class Meta:
        verbose_name_plural = "pool statuses"

    def __str__(self) -> str:
        return f"{self.account}: {self.state}"


class PoolUsage(models.Model):
    """Peaks of one pool within one interval of some minutes, each with its own time."""

    account = models.ForeignKey(BrokerAccount, on_delete=models.CASCADE, related_name="usage")
    started = models.DateTimeField()
    ended = models.DateTimeField()
    symbols = models.PositiveIntegerField()
    symbols_at = models.DateTimeField()
    connections = models.PositiveIntegerField()
    connections_at = models.DateTimeField()
    clients = models.PositiveIntegerField()
    clients_at = models.DateTimeField()
    ticks_per_second = models.FloatField()
    ticks_per_second_at = models.DateTimeField()
    ticks_received = models.PositiveBigIntegerField(default=0)
    reconnects = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "pool usage"
        ordering = ("-started",)
        indexes = (
            models.Index(fields=["account", "-started"], name="usage_by_account"),
            models.Index(fields=["-started"], name="usage_by_time"),
        )

    def __str__(self) -> str:
        return f"{self.account}: {self.symbols} symbols"

    @classmethod
    def prune(cls, kept: timedelta = USAGE_KEPT) -> int:
        """Delete what ended longer than ``kept`` ago; returns the number of rows."""
        return cls.objects.filter(started__lt=timezone.now() - kept).delete()[0]


class PoolEvent(models.Model):
    """What happened to one pool, and why; the newest ones of each pool are kept."""

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
    def prune(cls, account_id: int, kept: int = EVENTS_KEPT_PER_POOL) -> int:
        """Delete all but the newest ``kept`` events of an account; returns the number of rows."""
        newest = cls.objects.filter(account_id=account_id).order_by("-id")
        oldest_kept = newest.values_list("id", flat=True)[kept - 1 : kept].first()
        if oldest_kept is None:
            return 0
        return cls.objects.filter(account_id=account_id, id__lt=oldest_kept).delete()[0]


class Instrument(models.Model):
    """One row of a broker's instruments master; exchange and symbol are in OpenAlgo's form."""

    broker = models.CharField(max_length=32)
    exchange = models.CharField(max_length=16)
    symbol = models.CharField(max_length=64, db_index=True)
    broker_token = models.CharField(max_length=64)
    broker_symbol = models.CharField(max_length=64)
    name = models.CharField(max_length=128, blank=True, help_text="In capitals, as it is searched.")
    expiry = models.DateField(null=True, blank=True)
    strike = models.FloatField(null=True, blank=True)
    tick_size = models.FloatField(null=True, blank=True)
    lot_size = models.FloatField(null=True, blank=True)
    instrument_type = models.CharField(max_length=16, blank=True)
    loaded = models.DateTimeField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["broker", "exchange", "symbol"], name="one_instrument_per_key"
            ),
        )

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"

    def to_value(self) -> InstrumentValue:
        """Return the row as the tick path needs it."""
        return InstrumentValue(
            key=InstrumentKey(self.exchange, self.symbol), broker_token=self.broker_token
        )


def starting_with(field: str, prefix: str) -> Q:
    """Return the condition that ``field`` begins with ``prefix``, in the form that uses the index.

    SQLite's LIKE ignores an index of binary collation, a range does not; PostgreSQL's locales order
    punctuation in their own way, and its pattern index answers LIKE.
    """
    if connection.vendor == "sqlite":
        return Q(**{f"{field}__gte": prefix, f"{field}__lt": prefix + "\U0010ffff"})
    return Q(**{f"{field}__startswith": prefix})
