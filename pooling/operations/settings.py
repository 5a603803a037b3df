"""Settings of accounts at their brokers: to look at, and to change one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from brokers.exceptions import BrokerConfigError
from brokers.settings import SettingField, SettingValue, changed, fields_of, parse
from pooling import conf
from pooling.exceptions import PoolingError
from pooling.models import BrokerAccount, PoolEvent

__all__ = [
    "SettingChange",
    "SettingError",
    "apply_settings",
    "plan_settings",
    "setting_dicts",
    "settings_of",
]


class SettingError(PoolingError):
    """A setting cannot be what was asked for; the message says what it may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """What a change would store: ``stored`` is all that then differs from the defaults."""

    account: BrokerAccount
    old: Mapping[str, SettingValue]
    new: Mapping[str, SettingValue]
    stored: Mapping[str, SettingValue]

    @property
    def is_change(self) -> bool:
        """Whether anything would be different."""
        return dict(self.account.broker_settings) != dict(self.stored)


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


def plan_settings(account: BrokerAccount, values: Mapping[str, object | None]) -> SettingChange:
    """Return what setting ``values`` would do (None: the default); saves nothing.

    Raises:
        SettingError: an unknown setting or broker, or a value that is not allowed.
    """
    before = {field.name: value for field, value in settings_of(account)}
    try:
        adapter = conf.broker_registry().get(account.broker)
        kind = type(adapter.settings)
        known = {field.name: field.default for field in fields_of(kind)}
        asked = {
            name: known.get(name, value) if value is None else value
            for name, value in values.items()
        }
        settings = parse(kind, {**before, **asked})
    except BrokerConfigError as error:
        raise SettingError(f"{error}.") from None
    return SettingChange(
        account=account,
        old={name: before[name] for name in values},
        new={name: getattr(settings, name) for name in values},
        stored=changed(settings),
    )


def apply_settings(change: SettingChange, *, by: str) -> None:
    """Save a change and note in the pool's events who made it, with old and new values."""
    account = change.account
    words = ", ".join(
        f"{name} {change.old[name]} → {value}"
        for name, value in change.new.items()
        if value != change.old[name]
    )
    with transaction.atomic():
        account.broker_settings = dict(change.stored)
        account.save(update_fields=["broker_settings"])
        PoolEvent.objects.create(
            account=account,
            kind="settings_changed",
            message=f"{words or 'what could not be used was taken out'} by {by}"[:500],
        )
