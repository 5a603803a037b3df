"""Settings of accounts at their brokers: to look at, and to change one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from django.db import close_old_connections, transaction
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.settings import SettingField, SettingValue, changed, fields_of, parse
from pooling import conf
from pooling.exceptions import PoolingError
from pooling.models import BrokerAccount, PoolEvent, PoolStatus

__all__ = [
    "SettingChange",
    "SettingError",
    "apply_settings",
    "plan_settings",
    "setting_dicts",
    "setting_text",
    "settings_of",
    "wait_until_in_force",
]

POLL_SECONDS = 0.1


class SettingError(PoolingError):
    """A setting cannot be what was asked for; the message says what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """Values that a change would store: ``stored`` is all that then differs from the defaults.

    ``is_change`` tells whether anything else is stored so far.
    """

    account: BrokerAccount
    old: Mapping[str, SettingValue]
    new: Mapping[str, SettingValue]
    stored: Mapping[str, SettingValue]
    is_change: bool

    def with_settings(self) -> BrokerAccount:
        """Return a copy of the account as it would be; saving it is not meant."""
        changed_account = copy(self.account)
        changed_account.broker_settings = dict(self.stored)
        return changed_account


def settings_of(account: BrokerAccount) -> list[tuple[SettingField, SettingValue]]:
    """Return each setting of the account's broker with its value; none of an unknown broker.

    Where what is stored cannot be used, the values are the defaults.
    """
    try:
        kind = type(conf.broker_registry().get(account.broker).settings)
    except BrokerConfigError:
        return []
    try:
        settings = account.adapter_class().settings
    except BrokerConfigError:
        settings = kind()
    return [(field, getattr(settings, field.name)) for field in fields_of(kind)]


def setting_dicts(account: BrokerAccount) -> list[dict[str, Any]]:
    """Return the settings as they are printed."""
    return [
        {
            "name": field.name,
            "value": value,
            "default": field.default,
            "is_default": value == field.default,
            "label": field.label,
            "allowed": field.allowed(),
        }
        for field, value in settings_of(account)
    ]


def setting_text(value: SettingValue) -> str:
    """Return a value as people write it on the command line."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def plan_settings(account: BrokerAccount, values: Mapping[str, object | None]) -> SettingChange:
    """Return what setting ``values`` would do (None: the default); saves nothing.

    Raises:
        SettingError: an unknown setting or broker, or a value that is not allowed.
    """
    before = {field.name: value for field, value in settings_of(account)}
    try:
        adapter = conf.broker_registry().get(account.broker)
    except BrokerConfigError as error:
        raise SettingError(f"{error}.") from None
    kind = type(adapter.settings)
    defaults = {field.name: field.default for field in fields_of(kind)}
    asked = {
        name: defaults.get(name, value) if value is None else value
        for name, value in values.items()
    }
    try:
        settings = parse(kind, {**before, **asked})
    except BrokerConfigError as error:
        raise SettingError(f"{adapter.capabilities.label}: {error}.") from None
    return SettingChange(
        account=account,
        old={name: before[name] for name in values},
        new={name: getattr(settings, name) for name in values},
        stored=changed(settings),
        is_change=account.broker_settings != changed(settings),
    )


def apply_settings(change: SettingChange, *, by: str) -> PoolEvent:
    """Save a change and note in the pool's events who made it, with old and new values.

    Returns that event.
    """
    account = change.account
    words = ", ".join(
        f"{name} {setting_text(change.old[name])} → {setting_text(value)}"
        for name, value in change.new.items()
        if value != change.old[name]
    )
    with transaction.atomic():
        account.broker_settings = dict(change.stored)
        account.save(update_fields=["broker_settings"])
        return PoolEvent.objects.create(
            account=account,
            kind="settings_changed",
            message=f"{words or 'what could not be used was taken out'} by {by}"[:500],
        )


def wait_until_in_force(
    told: PoolEvent,
    timeout_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool | None:
    """Wait for the worker to say that it uses what was saved; None without a worker.

    ``told`` is the event of the saving: what the worker said before it was about older settings.
    """
    deadline = clock() + timeout_seconds
    said = PoolEvent.objects.filter(account=told.account, kind="settings_applied", pk__gt=told.pk)
    while True:
        status = PoolStatus.objects.filter(account=told.account).first()
        if status is None or not status.is_alive(timezone.now()):
            return None
        if said.exists():
            return True
        if clock() >= deadline:
            return False
        close_old_connections()  # the server may be started again meanwhile
        sleep(POLL_SECONDS)
