"""Brokers' accounts and the limits of their pools."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from brokers.contract import BrokerAdapter, BrokerCapabilities, Credentials
from brokers.endpoints.hosts import check_host, destination, kept_credentials
from brokers.exceptions import BrokerConfigError
from brokers.settings import changed
from pooling import conf
from pooling.contracts import AccountSpec, PoolOptions
from pooling.keys.crypto import Opens, Seals

__all__ = ["BrokerAccount", "PoolConfig", "validate_endpoint"]


def validate_endpoint(value: str) -> None:
    """Refuse anything but a ``ws`` or ``wss`` URL with a host, without credentials or fragment."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits or any(sign.isspace() for sign in value):
        raise ValidationError("Enter a WebSocket URL such as wss://ws.example.com/path.")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("Leave credentials out of the URL: they have fields of their own.")
    if "#" in value:
        raise ValidationError(
            "Leave out what stands behind #: the account's settings have fields of their own."
        )


class BrokerAccount(models.Model):
    """One user's account at one broker; its primary key, as text, is the id of its pool."""

    CREDENTIAL_COLUMNS: ClassVar[tuple[str, ...]] = (
        "credentials",
        "credentials_version",
        "credentials_stored",
        "credentials_expire",
    )

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
    credentials_stored = models.DateTimeField(null=True, blank=True, editable=False)
    credentials_expire = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When the broker stops taking the stored credential, where that is known.",
    )
    endpoint = models.CharField(
        max_length=255,
        blank=True,
        validators=[validate_endpoint],
        help_text="WebSocket URL to use instead of the broker's own. Empty: the broker's own.",
    )
    broker_settings = models.JSONField(
        default=dict,
        blank=True,
        editable=False,
        help_text="What differs from the defaults of the broker's settings, by name.",
    )
    enabled = models.BooleanField(default=True)
    paused = models.BooleanField(
        default=False,
        editable=False,
        help_text="Its connections stay closed until somebody resumes it.",
    )
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
        permissions = (("operate_pool", "Can operate pools: start, pause, reconnect, drain..."),)

    def __str__(self) -> str:
        return f"{self.user}: {self.broker} ({self.label})"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save; a credential that was entered for another destination is not kept."""
        names = kwargs.get("update_fields")
        if not self._state.adding and (names is None or {"broker", "endpoint"} & {*names}):
            stored = type(self).objects.filter(pk=self.pk).first()
            if stored is not None and self.destination() != stored.destination():
                self._leave_behind(stored.credentials)
                if names is not None:
                    kwargs["update_fields"] = {*names, *self.CREDENTIAL_COLUMNS}
        super().save(*args, **kwargs)

    @property
    def pool_id(self) -> str:
        """The name of this account's pool on the bus and in every statistic."""
        return str(self.pk)

    def _leave_behind(self, stored: Mapping[str, str]) -> None:
        kept = kept_credentials(stored, self.credentials)
        if kept == self.credentials:
            return
        self.credentials = kept
        self.credentials_version += 1
        if not kept:
            self.credentials_stored = self.credentials_expire = None

    def destination(self) -> str:
        """Return who gets this account's credential; see ``brokers.endpoints.hosts``."""
        return destination(self.broker, self.endpoint, self._own_endpoints())

    def _own_endpoints(self) -> tuple[str, ...]:
        try:
            return (conf.broker_registry().get(self.broker).capabilities.default_endpoint,)
        except BrokerConfigError:
            return ()  # nobody serves such an account

    def _check_host(self) -> None:
        capabilities = self.capabilities()
        check_host(
            self.endpoint,
            label=capabilities.label,
            is_public=not capabilities.credential_fields,
            own=self._own_endpoints(),
            further=conf.broker_hosts(),
        )

    def clean(self) -> None:
        """Refuse settings or an endpoint that the broker does not have or does not allow."""
        super().clean()
        if self.broker not in conf.broker_registry().names():
            return  # the field says so
        try:
            adapter = self.adapter_class()
            if self.endpoint:
                adapter.check_endpoint(self.endpoint)
                self._check_host()
        except ValueError:
            pass  # the endpoint is no URL, as its field says
        except BrokerConfigError as error:
            raise ValidationError(str(error)) from None

    def adapter_class(self) -> type[BrokerAdapter]:
        """Return the broker with this account's settings.

        Raises:
            BrokerConfigError: a broker unknown here, or settings that it does not allow.
        """
        settings = self.broker_settings
        if not isinstance(settings, dict):
            raise BrokerConfigError("broker_settings must be an object of names and values")
        return conf.broker_registry().get(self.broker, settings)

    def capabilities(self) -> BrokerCapabilities:
        """Return what the broker allows an account of these settings.

        Raises:
            BrokerConfigError: see ``adapter_class``.
        """
        return self.adapter_class().capabilities

    def set_credentials(self, values: Mapping[str, str], sealer: Seals) -> None:
        """Encrypt and keep ``values``; fields that are not named stay. Does not save.

        They are for the destination that the account has now, and are given to no other.
        """
        if values:
            self.credentials = {**self.credentials, **sealer.encrypt(values, self.destination())}
            self.credentials_version += 1
            self.credentials_stored = timezone.now()
            self.credentials_expire = self.expiry_of(values)

    def credentials_in_clear(
        self, opener: Opens, *, without: Collection[str] = ()
    ) -> dict[str, str]:
        """Return the credential in clear, for the account's destination.

        Args:
            without: names of parts that nobody asks for, so that none of them has to be opened.

        Raises:
            BrokerConfigError: it cannot be opened, or was entered for another destination.
        """
        asked = {name: token for name, token in self.credentials.items() if name not in without}
        return opener.decrypt(asked, self.destination()) if asked else {}

    def expiry_of(self, values: Mapping[str, str]) -> datetime | None:
        """Return when these credential values, in clear, end; None where nobody can know."""
        if self.credentials_stored is None:
            return None
        try:
            adapter = conf.broker_registry().get(self.broker)
        except BrokerConfigError:
            return None  # nobody serves such an account
        return adapter.credential_expiry(Credentials(values), self.credentials_stored)

    def to_spec(self) -> AccountSpec:
        """Return what a worker needs.

        Raises:
            BrokerConfigError: see ``adapter_class``; or its endpoint leads to a host that nobody
                has allowed, however it got there.
        """
        if self.endpoint:
            self._check_host()
        config = getattr(self, "config", None) or PoolConfig(account=self)
        adapter_class = self.adapter_class()
        stored = [name for name, value in self.credentials.items() if value]
        return AccountSpec(
            pool_id=self.pool_id,
            broker=self.broker,
            user_id=self.user_id,
            label=self.label,
            options=config.to_options(),
            endpoint=self.endpoint or None,
            settings=tuple(sorted(changed(adapter_class.settings).items())),
            credentials_version=self.credentials_version,
            is_paused=self.paused,
            credential_expiry_ms=(
                round(self.credentials_expire.timestamp() * 1000)
                if self.credentials_expire
                else None
            ),
            credential_lack=adapter_class.credential_lack(stored),
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
        "exclusive_reconnect": "exclusive_reconnect_seconds",
        "exclusive_heartbeat": "exclusive_heartbeat_seconds",
    }
    ZERO_OR_ONE_SECOND: ClassVar[tuple[str, ...]] = ("exclusive_reconnect", "exclusive_heartbeat")
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
    exclusive_reconnect = models.FloatField(
        "exclusive: longest wait to reconnect (seconds, 0: off)",
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(300.0)],
    )
    exclusive_heartbeat = models.FloatField(
        "exclusive: heartbeat (seconds, 0: off)",
        null=True,
        blank=True,
        validators=[MinValueValidator(0.0), MaxValueValidator(300.0)],
    )
    revision = models.PositiveIntegerField(default=1, editable=False)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = "pool limits"
        verbose_name_plural = "pool limits"

    def __str__(self) -> str:
        return f"limits of {self.account}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, with a new revision whenever a limit or timing differs from what held before."""
        stored = type(self).objects.filter(pk=self.pk).values(*self.OPTIONS, "revision").first()
        if stored is not None:
            same = all(stored[name] == getattr(self, name) for name in self.OPTIONS)
            self.revision = stored["revision"] if same else stored["revision"] + 1
            if kwargs.get("update_fields") is not None:
                kwargs["update_fields"] = {*kwargs["update_fields"], "revision"}
        else:
            # Without a row the worker runs the defaults, which have a revision, too.
            status = getattr(self.account, "status", None)
            self.revision = max(self.revision, status.applied_revision + 1 if status else 1)
        super().save(*args, **kwargs)

    def clean(self) -> None:
        """Refuse limits above what the broker allows, naming the broker's own."""
        super().clean()
        try:
            capabilities = self.account.capabilities()
        except (BrokerConfigError, BrokerAccount.DoesNotExist):
            return  # the account's own form says so
        errors: dict[str, str] = {}
        for name in self.ZERO_OR_ONE_SECOND:
            if 0 < (getattr(self, name) or 0) < 1:
                errors[name] = "At least 1 second, or 0 to switch it off."
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
            BrokerConfigError: limits that no form would store; see ``BrokerAccount.adapter_class``.
        """
        capabilities = self.account.capabilities()
        try:
            return self._options_within(capabilities)
        except ValueError as error:
            raise BrokerConfigError(f"its limits make no sense: {error}") from None

    def _options_within(self, capabilities: BrokerCapabilities) -> PoolOptions:
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
