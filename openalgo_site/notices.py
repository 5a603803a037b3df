"""Tells gateways that somebody's rights changed: rare, per user, through the channel layer.

A gateway that gets the notice asks the directory again. One that misses it finds out at its next
regular look, so a lost notice delays and never harms.
"""

from __future__ import annotations

import logging
from typing import Any

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from redis.exceptions import RedisError

from pooling.models import BrokerAccount, PoolConfig
from streaming.consumers import user_group
from streaming.models import ApiKey

__all__ = ["connect", "principal_changed"]

logger = logging.getLogger("openalgo_site")

MESSAGE = {"type": "principal.changed"}
UNINTERESTING = frozenset({"last_login", "last_used"})
UID = "openalgo_site.notices"


def principal_changed(user_id: int) -> None:
    """Tell the user's gateways, once the database holds what they will read."""
    transaction.on_commit(lambda: _send(user_id))


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


def _send(user_id: int) -> None:
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(user_group(user_id), MESSAGE)
    except (RedisError, OSError, ChannelFull) as error:
        logger.warning("user %s: gateways could not be told of a change: %s", user_id, error)
