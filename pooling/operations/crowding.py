"""Accounts whose connections a broker may count together, and whether they are too many."""

from __future__ import annotations

from brokers.exceptions import BrokerConfigError
from pooling.models import BrokerAccount, PoolConfig
from pooling.operations.naming import account_name

__all__ = ["crowding"]


def crowding(account: BrokerAccount) -> str | None:
    """Return a warning if the account and those beside it may open too many connections together.

    Beside it are the enabled accounts of the same user and label at brokers that may count with its
    own: a label stands for one credential.
    """
    try:
        capabilities = account.capabilities()
        if not (account.enabled and capabilities.may_count_with):
            return None
        beside = BrokerAccount.objects.filter(
            user=account.user,
            label=account.label,
            broker__in=(account.broker, *capabilities.may_count_with),
            enabled=True,
        )
        found = [
            (each, _connections(each))
            for each in beside.select_related("user", "config").order_by("pk")
        ]
    except BrokerConfigError:
        return None  # said elsewhere
    total, most = sum(count for _, count in found), capabilities.max_connections
    if len(found) < 2 or total <= most:
        return None
    listed = " and ".join(f"{account_name(each)} with {count}" for each, count in found)
    return (
        f"{capabilities.label} may count the connections of {listed} together, and allows {most}. "
        f'Lower "max connections" so that they are {most} at most together, unless you know that '
        "they are counted apart."
    )


def _connections(account: BrokerAccount) -> int:
    config = getattr(account, "config", None) or PoolConfig(account=account)
    return config.to_options().max_connections
