"""Tells gateways that somebody's rights changed: rare, per user, through the channel layer.

A gateway that gets the notice asks the directory again. One that misses it finds out at its next
regular look, so a lost notice delays and never harms.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from brokers.words import named_error
from pooling.models import BrokerAccount, PoolConfig
from streaming.gateway.notices import send_notice
from streaming.models import ApiKey

__all__ = ["SENDER", "NoticeSender", "connect", "principal_changed"]

logger = logging.getLogger("openalgo_site")

COMMAND_SECONDS = 1.5
REST_SECONDS = 5.0
UNINTERESTING = frozenset({"last_login", "last_used"})
UID = "openalgo_site.adapters.notices"


def principal_changed(user_id: int) -> None:
    """Tell the user's gateways, once the database holds what they will read."""
    transaction.on_commit(lambda: SENDER.send(user_id))


def connect() -> None:
    """Listen to what changes a principal. Idempotent."""
    for sender in (ApiKey, BrokerAccount, PoolConfig, get_user_model()):
        for change in (post_save, post_delete):
            change.connect(_on_change, sender=sender, dispatch_uid=f"{UID}.{sender.__name__}")
    user_logged_out.connect(_on_logout, dispatch_uid=UID)


def _on_change(
    instance: Any, created: bool = False, update_fields: frozenset[str] | None = None, **_: Any
) -> None:
    if update_fields and update_fields <= UNINTERESTING:
        return
    match instance:
        case ApiKey() if created:
            return  # nobody can have used it yet
        case ApiKey() | BrokerAccount():
            principal_changed(instance.user_id)
        case PoolConfig():
            principal_changed(instance.account.user_id)
        case _ if not created:
            principal_changed(instance.pk)


def _on_logout(user: Any, **_: Any) -> None:
    if user is not None:
        principal_changed(user.pk)


class NoticeSender:
    """Sends this process's notices: through its gateway where one is open, or by itself.

    In a gateway process nothing waits: the database thread, which all requests share, hands the
    notice over. A command has nobody else to keep waiting, but does not wait for long either, and
    after a failure leaves the layer alone for a while. Thread-safe; never raises.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # Takes a notice to a gateway in this process; set once, before requests come.
        self._announce: Callable[[int], bool] = lambda user_id: False
        self._rests_until = 0.0  # before that the layer is not asked again

    def send_through(self, announce: Callable[[int], bool]) -> None:
        """Offer each notice to ``announce`` first, which is False for what it does not take."""
        self._announce = announce

    def send(self, user_id: int) -> None:
        """Tell every gateway that a user changed."""
        if self._announce(user_id) or self._clock() < self._rests_until:
            return
        try:
            async_to_sync(_send_within)(user_id, COMMAND_SECONDS)
        except Exception as error:  # supervision point: what was saved stays saved
            self._rests_until = self._clock() + REST_SECONDS
            logger.warning(
                "user %s: gateways could not be told of a change (%s); they find it within seconds",
                user_id,
                named_error(error, "no answer in time"),
            )


async def _send_within(user_id: int, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        await send_notice(get_channel_layer(), (user_id,))


SENDER = NoticeSender()
