"""JSON of the page's watchlists: a user's own, by session only, bounded in number and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.urls import path

from openalgo_site.api_access import ApiError, api_view
from pooling.models import BrokerAccount, Instrument
from streaming.models import MAX_WATCHLIST_ITEMS, MAX_WATCHLISTS, Watchlist

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["listed_instruments", "urlpatterns", "watchlist", "watchlists"]

MAX_BODY_BYTES = 256 * 1024
UNKNOWN = "There is no such list, or it is not yours."


class _NewList(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    symbols: list[dict[str, str]] = []


class _ListChange(msgspec.Struct, forbid_unknown_fields=True):
    name: str | msgspec.UnsetType = msgspec.UNSET
    symbols: list[dict[str, str]] | msgspec.UnsetType = msgspec.UNSET


_Body = TypeVar("_Body", _NewList, _ListChange)


@api_view("GET", "POST", keys=False)
def watchlists(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the user's lists in their order, or make one: ``{"name", "symbols"?}``."""
    if request.method == "POST":
        return _create(user, _read(request, _NewList))
    return {
        "lists": [_shown(each) for each in Watchlist.objects.filter(user=user)],
        "max_lists": MAX_WATCHLISTS,
        "max_symbols": MAX_WATCHLIST_ITEMS,
    }


@api_view("GET", "PUT", "DELETE", keys=False)
def watchlist(request: HttpRequest, user: User, list_id: int) -> dict[str, Any]:
    """Return one of the user's lists, change its name or symbols, or delete it.

    Another user's list is as unknown as one that never was.
    """
    if request.method == "PUT":
        return _change(user, list_id, _read(request, _ListChange))
    found = Watchlist.objects.filter(user=user, pk=list_id).first()
    if found is None:
        raise ApiError(404, UNKNOWN)
    if request.method == "DELETE":
        found.delete()
    return {**_shown(found), "id": list_id}


@api_view("GET", keys=False)
def listed_instruments(request: HttpRequest, user: User, list_id: int) -> dict[str, Any]:
    """Return name and tick size of what is in one of the user's lists, as its brokers know them."""
    found = Watchlist.objects.filter(user=user, pk=list_id).first()
    if found is None:
        raise ApiError(404, UNKNOWN)
    symbols: dict[str, set[str]] = {}
    for item in found.symbols:
        symbols.setdefault(item["exchange"], set()).add(item["symbol"])
    wanted = Q(pk__in=[])
    for exchange, names in symbols.items():
        wanted |= Q(exchange=exchange, symbol__in=names)
    accounts = BrokerAccount.objects.filter(user=user, enabled=True)
    known = Instrument.objects.filter(wanted, broker__in=accounts.values("broker"))
    return {"results": list(known.values("exchange", "symbol", "name", "tick_size"))}


def _create(user: User, wanted: _NewList) -> dict[str, Any]:
    with transaction.atomic():
        others = _others(user)
        if len(others) >= MAX_WATCHLISTS:
            raise ApiError(409, f"A user has at most {MAX_WATCHLISTS} lists; delete one first.")
        position = max((each.position for each in others), default=-1) + 1
        made = Watchlist(user=user, position=position)
        _store(made, others, name=wanted.name, symbols=wanted.symbols)
    return _shown(made)


def _change(user: User, list_id: int, wanted: _ListChange) -> dict[str, Any]:
    with transaction.atomic():
        others = _others(user, list_id)
        found = Watchlist.objects.filter(user=user, pk=list_id).first()
        if found is None:
            raise ApiError(404, UNKNOWN)
        _store(
            found,
            others,
            name=found.name if wanted.name is msgspec.UNSET else wanted.name,
            symbols=found.symbols if wanted.symbols is msgspec.UNSET else wanted.symbols,
        )
    return _shown(found)


def _others(user: User, list_id: int = 0) -> list[Watchlist]:
    """Return the user's other lists; until the transaction ends nobody else changes any of them."""
    get_user_model().objects.select_for_update().filter(pk=user.pk).first()
    return list(Watchlist.objects.filter(user=user).exclude(pk=list_id).defer("symbols"))


def _store(
    row: Watchlist, others: list[Watchlist], *, name: str, symbols: list[dict[str, str]]
) -> None:
    row.name, row.symbols = name.strip(), symbols
    try:
        row.clean_fields(exclude=["user"])
        row.clean()
    except ValidationError as error:
        parameter, messages = next(iter(error.message_dict.items()))
        raise ApiError(400, " ".join(messages), parameter=parameter) from None
    if any(each.name.casefold() == row.name.casefold() for each in others):
        raise ApiError(409, f"There is a list “{row.name}” already.", parameter="name")
    row.save()


def _shown(row: Watchlist) -> dict[str, Any]:
    return {"id": row.pk, "name": row.name, "symbols": row.symbols}


def _read(request: HttpRequest, wanted: type[_Body]) -> _Body:
    if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
        raise ApiError(413, f"At most {MAX_BODY_BYTES:,} bytes.")
    try:
        return msgspec.json.decode(request.body, type=wanted)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise ApiError(
            400, 'Send {"name": …, "symbols": [{"exchange": …, "symbol": …}]}.', parameter="symbols"
        ) from None


urlpatterns = [
    path("watchlists", watchlists, name="api-watchlists"),
    path("watchlists/<int:list_id>", watchlist, name="api-watchlist"),
    path(
        "watchlists/<int:list_id>/instruments",
        listed_instruments,
        name="api-watchlist-instruments",
    ),
]
