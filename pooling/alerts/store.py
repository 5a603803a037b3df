"""Targets of alerts in Django's database, and the signal for code of one's own."""

from __future__ import annotations

import logging
from pathlib import Path

from django.db import Error, connections
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.words import one_line
from pooling.alerts.contracts import AlertKind, PoolTargets, Target
from pooling.alerts.message import Alert
from pooling.alerts.threads import in_daemon_thread
from pooling.keys.opening import CredentialOpener
from pooling.models import AlertTarget, BrokerAccount
from pooling.signals import pool_state_changed
from pooling.store.database import from_database, in_database

__all__ = ["DjangoAlertStore", "announce", "read_targets"]

logger = logging.getLogger(__name__)


class DjangoAlertStore:
    """``AlertStore`` on the site's database.

    Args:
        key_file: the keys of the stored secrets, read at each call that needs them.
    """

    def __init__(self, *, key_file: Path) -> None:
        self._key_file = key_file

    async def targets(self, pool_id: str) -> PoolTargets | None:
        """Return whom to tell about a pool; None: there is no such pool any more.

        A target whose secret cannot be decrypted is left out, and its row says why.
        """
        found, unreadable = await from_database(read_targets, int(pool_id), self._key_file)
        for target_id, why in unreadable.items():
            try:
                await self.delivered(target_id, why)
            except Error as error:
                # Its row is for people to read later; the others are told now.
                logger.warning(
                    "alert target %s: its row cannot be told why: %s", target_id, one_line(error)
                )
        return found

    async def delivered(self, target_id: int, error: str) -> None:
        """Note how the last attempt ended."""
        await in_database(_note, target_id, error)


def read_targets(account_id: int, key_file: Path) -> tuple[PoolTargets | None, dict[int, str]]:
    """Return whom to tell about an account's pool, secrets in clear, and who cannot be, and why."""
    account = BrokerAccount.objects.select_related("user").filter(pk=account_id).first()
    if account is None:
        return None, {}
    targets, unreadable = [], {}
    for row in AlertTarget.objects.filter(account=account, enabled=True):
        try:
            targets.append(_target(row, key_file))
        except (BrokerConfigError, ValueError) as error:
            # The others are told all the same.
            logger.error("alert target %s is left out: %s", row.pk, one_line(error))
            unreadable[row.pk] = str(error)
    found = PoolTargets(
        user=str(account.user),
        broker=account.broker,
        label=account.label,
        targets=targets,
    )
    return found, unreadable


async def announce(alert: Alert) -> None:
    """Send ``pool_state_changed`` in a thread of its own, apart from the worker's database work."""
    await in_daemon_thread(_send_signal, alert)


def _send_signal(alert: Alert) -> None:
    try:
        # Django logs what a receiver raises.
        pool_state_changed.send_robust(sender=BrokerAccount, alert=alert)
    finally:
        connections.close_all()


def _target(row: AlertTarget, key_file: Path) -> Target:
    values = row.secrets_in_clear(CredentialOpener.from_file(key_file)) if row.secrets else {}
    return Target(
        id=row.pk,
        kind=AlertKind(row.kind),
        address=values.get("url", row.address),
        secret=values.get("secret", ""),
        tells_recovery=row.tells_recovery,
    )


def _note(target_id: int, error: str) -> None:
    AlertTarget.objects.filter(pk=target_id).update(
        last_tried=timezone.now(), last_error=error[:255]
    )
