"""Pools that a person may look at: the same rule for every page, file and socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models import QuerySet

from pooling.models import BrokerAccount

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["SEE_GATEWAYS", "SEE_POOLS", "visible_accounts"]

SEE_POOLS = "pooling.view_poolstatus"
SEE_GATEWAYS = "streaming.view_gatewaystatus"


def visible_accounts(user: User) -> QuerySet[BrokerAccount]:
    """Return the accounts whose pools ``user`` may see: the own ones, with the permission all."""
    accounts = BrokerAccount.objects.select_related("user").order_by("pk")
    return accounts if user.has_perm(SEE_POOLS) else accounts.filter(user=user)
