"""A change of limits: what it would mean before it is saved, and whether it is in force after."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db import close_old_connections, transaction
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from pooling.exceptions import PoolingError
from pooling.models import BrokerAccount, PoolConfig, PoolEvent, PoolStatus
from pooling.subscriptions.capacity import effective_limits

__all__ = ["LimitChange", "LimitError", "apply_change", "plan_change", "wait_until_applied"]

POLL_SECONDS = 0.1


class LimitError(PoolingError):
    """A limit cannot be what was asked for; the message says what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitChange:
    """Effects of a change of limits. ``None`` as an old or new value is the installation's default.

    ``drops`` is how much of what is used now would lose its place, in the broker's units, and
    ``closes`` how many connections would be closed; both 0 while no worker serves the pool.
    """

    account: BrokerAccount
    config: PoolConfig
    old: Mapping[str, float | None]
    new: Mapping[str, float | None]
    effective: Mapping[str, float]
    used: int
    capacity: int
    drops: int
    closes: int

    @property
    def is_change(self) -> bool:
        """Whether anything would be different."""
        return self.old != self.new

    def to_dict(self) -> dict[str, Any]:
        """Return it as it is printed."""
        return {
            "pool": self.account.pk,
            "limits": {
                name: {
                    "old": self.old[name],
                    "new": self.new[name],
                    "effective": self.effective[name],
                }
                for name in self.new
            },
            "used": self.used,
            "capacity": self.capacity,
            "drops": self.drops,
            "closes": self.closes,
            "revision": self.config.revision,
        }


def plan_change(account: BrokerAccount, values: Mapping[str, float | None]) -> LimitChange:
    """Return what setting ``values`` (names of ``PoolConfig.OPTIONS``) would do; saves nothing.

    Raises:
        LimitError: the broker does not allow it, or it is no limit; the message names the cap.
    """
    config = PoolConfig.objects.filter(account=account).first() or PoolConfig(account=account)
    config.account = account
    old = {name: getattr(config, name) for name in values}
    for name, value in values.items():
        setattr(config, name, value)
    try:
        config.full_clean(validate_unique=False, validate_constraints=False)
        options, capabilities = config.to_options(), account.capabilities()
    except ValidationError as error:
        raise LimitError(_sentence(error)) from None
    except BrokerConfigError as error:
        raise LimitError(str(error)) from None
    limits = effective_limits(
        symbols_per_connection=options.symbols_per_connection,
        max_connections=options.max_connections,
        capabilities=capabilities,
    )
    status = PoolStatus.objects.alive().filter(account=account).first()
    used = status.used if status is not None else 0
    connections = status.connections if status is not None else 0
    return LimitChange(
        account=account,
        config=config,
        old=old,
        new={name: getattr(config, name) for name in values},
        effective={name: getattr(options, PoolConfig.OPTIONS[name]) for name in values},
        used=used,
        capacity=limits.capacity,
        drops=max(0, used - limits.capacity),
        closes=max(0, connections - limits.max_connections),
    )


def apply_change(change: LimitChange, *, by: str) -> PoolConfig:
    """Save a change and note in the pool's events who made it, with old and new values."""
    with transaction.atomic():
        change.config.save()
        words = ", ".join(
            f"{name} {_value(change.old[name])} → {_value(change.new[name])}"
            for name in change.new
            if change.old[name] != change.new[name]
        )
        if words:
            PoolEvent.objects.create(
                account=change.account, kind="limits_changed", message=f"{words} by {by}"[:500]
            )
    return change.config


def wait_until_applied(
    change: LimitChange,
    timeout_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool | None:
    """Wait for the worker to use the saved revision; True when it does, None without a worker."""
    deadline = clock() + timeout_seconds
    while True:
        status = PoolStatus.objects.filter(account=change.account).first()
        if status is None or not status.is_alive(timezone.now()):
            return None
        if status.applied_revision >= change.config.revision:
            return True
        if clock() >= deadline:
            return False
        close_old_connections()  # the server may be started again meanwhile
        sleep(POLL_SECONDS)


def _sentence(error: ValidationError) -> str:
    return " ".join(
        f"{name.replace('_', ' ')}: {' '.join(messages)}"
        for name, messages in error.message_dict.items()
    )


def _value(value: float | None) -> str:
    return "default" if value is None else f"{value:g}"
