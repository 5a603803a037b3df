"""JSON of what a user prefers: by session only, as it is what a page asks for its user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from django.http import HttpRequest
from django.urls import path

from brokers.exceptions import BrokerConfigError
from openalgo_site.web.api_access import ApiError, api_view, json_body
from pooling.instruments.exchange_order import family_of, rank_of
from pooling.models import BrokerAccount
from streaming.models import UserPreferences

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["exchanges_of", "preferences", "preferred_exchange", "urlpatterns"]


class _Change(msgspec.Struct, forbid_unknown_fields=True):
    preferred_exchange: str


@api_view("GET", "PUT", scope=None)
def preferences(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the exchange that comes first in the user's searches, or change it.

    ``exchanges`` are those that there are to choose from; "" stands for the usual order.
    """
    known = exchanges_of(user)
    if request.method == "PUT":
        wanted = _read(request).preferred_exchange.strip().upper()
        if wanted and wanted not in known:
            names = ", ".join(known) or "none: you have no enabled broker account"
            raise ApiError(
                400,
                f"{wanted[:16]!r} cannot come first; there are {names}.",
                parameter="preferred_exchange",
            )
        UserPreferences.objects.update_or_create(user=user, defaults={"preferred_exchange": wanted})
    return {"preferred_exchange": preferred_exchange(user), "exchanges": known}


def preferred_exchange(user: User) -> str:
    """Return the family of exchanges that comes first for ``user``; "": the usual one."""
    chosen = UserPreferences.objects.filter(user=user).values_list("preferred_exchange", flat=True)
    return chosen.first() or ""


def exchanges_of(user: User) -> list[str]:
    """Return the families of exchanges that ``user`` may have first, in the usual order."""
    found: set[str] = set()
    for account in BrokerAccount.objects.filter(user=user, enabled=True):
        try:
            found.update(map(family_of, account.capabilities().exchanges))
        except BrokerConfigError:
            continue  # the worker reports it; there is no pool to use
    return sorted(found, key=rank_of)


def _read(request: HttpRequest) -> _Change:
    return json_body(
        request,
        _Change,
        shape='Send {"preferred_exchange": "NSE"}.',
        parameter="preferred_exchange",
    )


urlpatterns = [path("preferences", preferences, name="api-preferences")]
