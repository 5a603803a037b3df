"""Accounts whose connections a broker counts together, and whether they are too many."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q, QuerySet

from brokers.contract import BrokerCapabilities
from brokers.exceptions import BrokerConfigError
from pooling.models import BrokerAccount, PoolConfig, PoolStatus
from pooling.operations.naming import account_name

__all__ = ["crowding"]


def crowding(account: BrokerAccount) -> str | None:
    """Return a warning if the account and those beside it may open too many connections together.

    Beside it are the enabled accounts with the credential that their broker counts by, whoever owns
    them, as the worker has found by the credential that is stored now; and those of the same user
    and label at brokers that may count with its own, as a label stands for one credential.
    """
    try:
        capabilities = account.capabilities()
        if not account.enabled:
            return None
        by_credential = _of_one_credential(account, capabilities)
        found = by_credential if len(by_credential) > 1 else _of_one_label(account, capabilities)
        counts = [(each, _connections(each)) for each in found]
    except BrokerConfigError:
        return None  # said elsewhere
    total, most = sum(count for _, count in counts), capabilities.max_connections
    if len(counts) < 2 or total <= most:
        return None
    listed = " and ".join(f"{account_name(each)} with {count}" for each, count in counts)
    if len(by_credential) > 1:
        return (
            f"{capabilities.label} counts the connections of {listed} together, as they have one "
            f"credential, and allows {most}: they are shared out by need. Lower "
            f'"max connections" so that they are {most} at most together to decide it yourself.'
        )
    return (
        f"{capabilities.label} may count the connections of {listed} together, and allows {most}. "
        f'Lower "max connections" so that they are {most} at most together, unless you know that '
        "they are counted apart."
    )


def _of_one_credential(
    account: BrokerAccount, capabilities: BrokerCapabilities
) -> Sequence[BrokerAccount]:
    if not capabilities.connections_count_by:
        return []
    beside = _enabled((account.broker,)).exclude(credentials_version=0)
    rows = list(beside.filter(Q(paused=False) | Q(pk=account.pk)))
    groups = _seat_groups(rows)
    own = groups.get(account.pk, "")
    return [each for each in rows if own and groups.get(each.pk) == own]


def _seat_groups(accounts: Sequence[BrokerAccount]) -> dict[int, str]:
    """Return the groups that workers have told of these accounts' credentials, by primary key."""
    versions = {account.pk: account.credentials_version for account in accounts}
    facts = PoolStatus.objects.filter(account__in=versions)
    return {
        pk: PoolStatus.seat_group_of(fact, versions[pk])
        for pk, fact in facts.values_list("account_id", f"stats__{PoolStatus.SEAT_GROUP}")
    }


def _of_one_label(
    account: BrokerAccount, capabilities: BrokerCapabilities
) -> Sequence[BrokerAccount]:
    if not capabilities.may_count_with:
        return []
    brokers = (account.broker, *capabilities.may_count_with)
    return list(_enabled(brokers).filter(user=account.user, label=account.label))


def _enabled(brokers: Sequence[str]) -> QuerySet[BrokerAccount]:
    rows = BrokerAccount.objects.filter(broker__in=brokers, enabled=True)
    return rows.select_related("user", "config").order_by("pk")


def _connections(account: BrokerAccount) -> int:
    config = getattr(account, "config", None) or PoolConfig(account=account)
    return config.to_options().max_connections
