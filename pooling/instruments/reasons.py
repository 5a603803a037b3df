"""Why there is nothing to be found: sentences that name what mends it."""

from __future__ import annotations

from collections.abc import Iterable

from brokers.exceptions import BrokerConfigError
from pooling import conf
from pooling.instruments.exchange_order import rank_of
from pooling.models import BrokerAccount, Instrument, SearchTier

__all__ = ["why_not_listed", "why_nothing_found"]


def why_not_listed(broker: str) -> str:
    """Return why nothing of ``broker`` can be found or subscribed; "" where something can."""
    rows = Instrument.objects.filter(broker=broker)
    if rows.exclude(tier=SearchTier.EXPIRED).exists():
        return ""
    try:
        label = conf.broker_registry().get(broker).capabilities.label
    except BrokerConfigError as error:
        return f"{error}."
    run = f"run manage.py loadinstruments --broker {broker}"
    if rows.exists():
        return f"All instruments of {label} have expired: {run}."
    return f"No instruments are loaded for {label}: {run}."


def why_nothing_found(accounts: Iterable[BrokerAccount], exchange: str = "") -> str:
    """Return why a search over these accounts of one user is empty; "": it is only the text.

    Args:
        accounts: all of the user's, disabled ones, too.
        exchange: the only one that was searched; "": all.
    """
    accounts = list(accounts)
    enabled = [account for account in accounts if account.enabled]
    if not accounts:
        return "You have no broker account: add one on the Brokers page."
    if not enabled:
        return "All of your broker accounts are disabled: enable one in the admin."
    brokers = sorted({account.broker for account in enabled})
    reasons = [reason for reason in map(why_not_listed, brokers) if reason]
    traded = _traded(enabled)
    if exchange and traded and exchange not in traded:
        known = ", ".join(sorted(traded, key=rank_of))
        reasons.append(f"None of your brokers trades {exchange}; they trade {known}.")
    return " ".join(reasons)


def _traded(accounts: Iterable[BrokerAccount]) -> set[str]:
    traded: set[str] = set()
    for account in accounts:
        try:
            traded |= account.capabilities().exchanges
        except BrokerConfigError:
            continue  # the worker reports it; there is no pool to use
    return traded
