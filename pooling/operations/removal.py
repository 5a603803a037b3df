"""Removal of a broker account, with everything that is kept of it. Blocking.

Whoever calls has checked that the person may remove the account, and has asked with the words of
``RemovalPlan.sentences``. The worker that serves the pool closes it within two seconds; clients are
told at once that what they hold of it has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from brokers.words import counted, verb
from pooling.exceptions import PoolingError
from pooling.models import (
    AlertTarget,
    BrokerAccount,
    LoginAttempt,
    LoginSetup,
    PoolCommand,
    PoolEvent,
    PoolStatus,
    PoolUsage,
    PoolUsageDay,
)
from pooling.operations.naming import account_name

__all__ = ["AccountGoneError", "RemovalPlan", "plan_removal", "remove_account"]

logger = logging.getLogger("pooling")

# What a row of each is called, in the order in which it is told.
_ROWS: Mapping[str, Any] = {
    "interval": PoolUsage,
    "day": PoolUsageDay,
    "event": PoolEvent,
    "request": PoolCommand,
    "login attempt": LoginAttempt,
    "alert target": AlertTarget,
}


class AccountGoneError(PoolingError):
    """The account does not exist any more."""

    def __init__(self) -> None:
        super().__init__("This account does not exist any more.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovalPlan:
    """What goes with an account.

    ``rows`` counts them by what one is called. ``secrets`` counts the sealed values: of its
    credential and of its login. ``connections``, ``symbols`` and ``clients`` are those of now, as
    the worker told them last; 0 without one.
    """

    account_id: int
    name: str
    rows: Mapping[str, int]
    secrets: int
    connections: int
    symbols: int
    clients: int

    def to_dict(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "pool": self.account_id,
            "name": self.name,
            **{f"{name.replace(' ', '_')}s": count for name, count in self.rows.items()},
            "secrets": self.secrets,
            "connections": self.connections,
            "symbols": self.symbols,
            "clients": self.clients,
        }

    def sentences(self) -> list[str]:
        """Return what goes with it, for people."""
        kept = [counted(count, name) for name, count in self.rows.items() if count]
        if self.secrets:
            kept.append(counted(self.secrets, "stored secret"))
        gone = f"{', '.join(kept)} and its limits" if kept else "its limits"
        return [
            f"With {self.name} {'go' if kept else 'go only'} {gone}. Nothing of it comes back.",
            self._now(),
            "API keys and watchlists are the user's, not the account's: they stay.",
        ]

    def _now(self) -> str:
        if not self.connections and not self.symbols:
            return "Nothing of it is in use now."
        parts = []
        if self.connections:
            closes = verb(self.connections, "closes", "close")
            parts.append(f"{counted(self.connections, 'connection')} {closes}")
        if self.symbols:
            symbols, clients = counted(self.symbols, "symbol"), counted(self.clients, "client")
            ends = verb(self.symbols, "ends", "end")
            parts.append(
                f"{symbols} of {clients} {ends}, who are told that the account was removed"
            )
        return f"{', and '.join(parts)}."


def plan_removal(account: BrokerAccount) -> RemovalPlan:
    """Return what would go with a saved account now. Changes nothing."""
    setup = LoginSetup.objects.filter(account=account).first()
    status = PoolStatus.objects.filter(account=account).defer("stats").first()
    is_served = status is not None and account.enabled and status.is_alive()
    return RemovalPlan(
        account_id=account.pk,
        name=account_name(account),
        rows={
            name: model._default_manager.filter(account=account).count()
            for name, model in _ROWS.items()
        },
        secrets=len(account.credentials) + (len(setup.secrets) if setup is not None else 0),
        connections=status.connections if status is not None and is_served else 0,
        symbols=status.symbols if status is not None and is_served else 0,
        clients=status.clients if status is not None and is_served else 0,
    )


def remove_account(account: BrokerAccount, *, by: str) -> RemovalPlan:
    """Remove an account and everything that is kept of it, or nothing; returns what went.

    Args:
        account: saved; its own rows are read again.
        by: who asked for it, for the log.

    Raises:
        AccountGoneError: somebody else was first.
    """
    with transaction.atomic():
        # Locked: a worker that writes of it meanwhile waits, and then finds it gone.
        of_it = BrokerAccount.objects.select_for_update(of=("self",)).select_related("user")
        current = of_it.filter(pk=account.pk).first()
        if current is None:
            raise AccountGoneError
        plan = plan_removal(current)
        current.delete()
    logger.warning(
        "pool %s: the account %s was removed by %s",
        plan.account_id,
        plan.name,
        by,
        extra={"action": "account_removed"},
    )
    return plan
