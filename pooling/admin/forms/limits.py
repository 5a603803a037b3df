"""The limits of a pool as a form: beside each its default, the broker's cap, what is in force and
what is used now, and what a lower value would drop.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.utils import timezone

from brokers.contract import BrokerCapabilities
from brokers.exceptions import BrokerConfigError
from brokers.times.moments import moment_text
from pooling import conf
from pooling.admin.forms.broker_settings import PoolConfigFormSet
from pooling.admin.lists.cells import NOTHING, long_age
from pooling.models import BrokerAccount, PoolConfig, PoolStatus
from pooling.subscriptions.capacity import effective_limits

if TYPE_CHECKING:
    ConfigFormBase = forms.ModelForm[PoolConfig]
    ConfigInlineBase = admin.StackedInline[PoolConfig, BrokerAccount]
else:
    ConfigFormBase = forms.ModelForm
    ConfigInlineBase = admin.StackedInline

__all__ = [
    "LimitFacts",
    "LimitsPanel",
    "PoolConfigForm",
    "PoolConfigInline",
    "limit_in_words",
    "limits_panel",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitFacts:
    """Facts beside one limit. ``default_number`` and ``cap_number`` are for the live hint."""

    default: str
    cap: str = NOTHING
    effective: str = NOTHING
    in_use: str = NOTHING
    default_number: float | None = None
    cap_number: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsPanel:
    """Facts that stand around the limits of one pool.

    ``held`` are the symbols that clients hold, ``account_cap`` what the broker grants all
    connections together (None: as much as each may carry).
    """

    facts: Mapping[str, LimitFacts]
    unit: str
    in_force: str
    is_applied: bool
    held: int
    clients: int
    used: int
    account_cap: int | None
    told: str


class PoolConfigForm(ConfigFormBase):
    """The limits; an empty field takes the installation's default."""

    class Meta:
        model = PoolConfig
        fields = tuple(PoolConfig.OPTIONS)


class PoolConfigInline(ConfigInlineBase):
    """The limits of the account's pool, one a row."""

    model = PoolConfig
    form = PoolConfigForm
    formset = PoolConfigFormSet
    can_delete = False
    fields = tuple(PoolConfig.OPTIONS)
    template = "pooling/admin/limits_inline.html"


def limits_panel(account: BrokerAccount, now: datetime | None = None) -> LimitsPanel:
    """Return what to show around the limits of an account, which may be new and without a broker.

    The stored limits are read, not those of a form that was refused.
    """
    moment_now = now or timezone.now()
    capabilities = _capabilities(account)
    stored = PoolConfig.objects.filter(account=account).first() if account.pk else None
    status = PoolStatus.objects.filter(account=account).first() if account.pk else None
    same = BrokerAccount(broker=account.broker, broker_settings=account.broker_settings)
    config = stored or PoolConfig(account=same)
    in_force, is_applied = _in_force(config, status)
    facts = {name: _facts(name, config, capabilities, status) for name in PoolConfig.OPTIONS}
    return LimitsPanel(
        facts=facts,
        unit=capabilities.unit if capabilities else "symbols",
        in_force=in_force,
        is_applied=is_applied,
        held=status.symbols + status.waiting if status else 0,
        clients=status.clients if status else 0,
        used=status.used if status else 0,
        account_cap=_account_cap(capabilities),
        told=_told(status, moment_now),
    )


def _account_cap(capabilities: BrokerCapabilities | None) -> int | None:
    if capabilities is None:
        return None
    return effective_limits(
        symbols_per_connection=capabilities.symbols_per_connection,
        max_connections=capabilities.max_connections,
        capabilities=capabilities,
    ).shared_cap


def _capabilities(account: BrokerAccount) -> BrokerCapabilities | None:
    if not account.broker:
        return None
    try:
        return account.capabilities()
    except BrokerConfigError:
        return None


def _facts(
    name: str,
    config: PoolConfig,
    capabilities: BrokerCapabilities | None,
    status: PoolStatus | None,
) -> LimitFacts:
    option = PoolConfig.OPTIONS[name]
    default = getattr(conf.default_options(), option)
    cap = getattr(capabilities, name) if capabilities and name in PoolConfig.CAPPED else None
    effective = NOTHING
    if capabilities is not None:
        with suppress(BrokerConfigError):  # limits that no form stores; the worker says so
            effective = _number(getattr(config.to_options(), option))
    return LimitFacts(
        default=_number(default),
        cap=NOTHING if cap is None else _number(cap),
        effective=effective,
        in_use=_in_use(name, status),
        default_number=default,
        cap_number=cap,
    )


def _in_use(name: str, status: PoolStatus | None) -> str:
    if status is None:
        return NOTHING
    if name == "max_connections":
        return f"{status.connections:,} open"
    if name == "symbols_per_connection":
        fullest = max((each.get("used", 0) for each in status.connection_stats), default=0)
        return f"{fullest:,} on the fullest"
    return NOTHING


def _in_force(config: PoolConfig, status: PoolStatus | None) -> tuple[str, bool]:
    if status is None:
        return "No worker has served this account yet.", False
    if config.pk is not None and status.applied_revision != config.revision:
        return (
            f"The worker still uses revision {status.applied_revision}; "
            f"revision {config.revision} is stored.",
            False,
        )
    return f"Revision {status.applied_revision} in force since {_plain(status.applied)}.", True


def _plain(at: datetime | None) -> str:
    return NOTHING if at is None else moment_text(timezone.localtime(at))


def _told(status: PoolStatus | None, now: datetime) -> str:
    if status is None:
        return ""
    seconds = (now - status.heartbeat).total_seconds()
    when = "just now" if seconds < 2 else f"{long_age(seconds)} ago"
    return f"Usage as the worker told it {when}."


def _number(value: Any) -> str:
    return f"{value:,g}" if isinstance(value, float) and value < 1_000_000 else f"{value:,}"


def limit_in_words(name: str, value: Any) -> str:
    """Return how a value of the account's form reads in its history.

    An empty limit is the default; of an address only what comes before its query is told, which
    may hold a secret.
    """
    if name in PoolConfig.OPTIONS:
        if value is None:
            default = getattr(conf.default_options(), PoolConfig.OPTIONS[name])
            return f"default ({_number(default)})"
        return _number(value)
    if name == "endpoint":
        return str(value).partition("?")[0] or "the broker's own"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or NOTHING
