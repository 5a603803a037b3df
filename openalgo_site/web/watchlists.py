"""JSON of the page's watchlists: a user's own, by session only, bounded in number and size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest
from django.urls import path

from brokers.masters.index_names import COMMON_NAMES, common_name
from openalgo_site.web.api_access import ApiError, api_view, json_body
from openalgo_site.web.preferences import preferred_exchange
from pooling.instruments.exchange_order import rank_of
from pooling.instruments.search import LISTED
from pooling.models import BrokerAccount, Instrument
from streaming.models import MAX_WATCHLIST_ITEMS, MAX_WATCHLISTS, Watchlist
from streaming.models.watchlists import MAX_NAME_LENGTH

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["listed_instruments", "named_instruments", "urlpatterns", "watchlist", "watchlists"]

UNKNOWN = "There is no such list, or it is not yours."


class _NewList(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    symbols: list[dict[str, str]] = []
    view: dict[str, str | list[str]] = {}


class _ListChange(msgspec.Struct, forbid_unknown_fields=True):
    name: str | msgspec.UnsetType = msgspec.UNSET
    symbols: list[dict[str, str]] | msgspec.UnsetType = msgspec.UNSET
    view: dict[str, str | list[str]] | msgspec.UnsetType = msgspec.UNSET


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    symbol: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
    exchange: Annotated[str, msgspec.Meta(max_length=MAX_NAME_LENGTH)] = ""


class _Names(msgspec.Struct, forbid_unknown_fields=True):
    names: Annotated[list[_Name], msgspec.Meta(max_length=MAX_WATCHLIST_ITEMS)]


_Body = TypeVar("_Body", _NewList, _ListChange, _Names)


@api_view("GET", "POST", scope=None)
def watchlists(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return the user's lists in their order, or make one: ``{"name", "symbols"?, "view"?}``."""
    if request.method == "POST":
        return _create(user, _read(request, _NewList))
    return {
        "lists": [_shown(each) for each in Watchlist.objects.filter(user=user)],
        "max_lists": MAX_WATCHLISTS,
        "max_symbols": MAX_WATCHLIST_ITEMS,
    }


@api_view("GET", "PUT", "DELETE", scope=None)
def watchlist(request: HttpRequest, user: User, list_id: int) -> dict[str, Any]:
    """Return one of the user's lists, change its name, symbols or view, or delete it.

    Another user's list is as unknown as one that never was.
    """
    if request.method == "PUT":
        return _change(user, list_id, _read(request, _ListChange))
    if request.method == "DELETE":
        return _delete(user, list_id)
    found = Watchlist.objects.filter(user=user, pk=list_id).first()
    if found is None:
        raise ApiError(404, UNKNOWN)
    return _shown(found)


@api_view("GET", scope=None)
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


@api_view("POST", scope=None)
def named_instruments(request: HttpRequest, user: User) -> dict[str, Any]:
    """Return which of ``{"names": [{"symbol", "exchange"?}]}`` the user's brokers know.

    ``results`` are the instruments in the order of the names, ``missing`` the names that nobody
    knows. A name without an exchange is looked for on all, the one that the user prefers first.
    """
    wanted = _read(request, _Names).names
    accounts = BrokerAccount.objects.filter(user=user, enabled=True)
    # By broker, tier and symbol: an index has them in this order. Expired ones are of no tier.
    known = Instrument.objects.filter(
        broker__in=list(accounts.values_list("broker", flat=True).distinct()),
        tier__in=LISTED,
        symbol__in={name for each in wanted for name in _spelled(each.symbol.upper())},
    )
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in known.values("exchange", "symbol", "name", "tick_size"):
        found.setdefault((row["exchange"], row["symbol"]), dict(row))
    preferred = preferred_exchange(user)
    for exchange, symbol in sorted(found, key=lambda key: rank_of(key[0], preferred)):
        found.setdefault(("", symbol), found[exchange, symbol])
    keys = dict.fromkeys((each.exchange.upper(), each.symbol.upper()) for each in wanted)
    for exchange, symbol in keys:
        # An index by what its exchange or another broker calls it.
        here = common_name(exchange, symbol)
        if here is not None and (exchange, here) in found:
            found.setdefault((exchange, symbol), found[exchange, here])
    rows = [found[key] for key in keys if key in found]
    named = {(row["exchange"], row["symbol"]): row for row in rows}
    missing = [{"exchange": key[0], "symbol": key[1]} for key in keys if key not in found]
    return {"results": list(named.values()), "missing": missing}


def _spelled(symbol: str) -> set[str]:
    """Return the symbols that a name may mean: its own, and those of indices that are called so."""
    return {symbol} | {common_name(market, symbol) or symbol for market in COMMON_NAMES}


def _create(user: User, wanted: _NewList) -> dict[str, Any]:
    with transaction.atomic():
        others = _others(user)
        if len(others) >= MAX_WATCHLISTS:
            raise ApiError(409, f"A user has at most {MAX_WATCHLISTS} lists; delete one first.")
        position = max((each.position for each in others), default=-1) + 1
        made = Watchlist(user=user, position=position)
        _store(made, others, name=wanted.name, symbols=wanted.symbols, view=wanted.view)
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
            view=found.view if wanted.view is msgspec.UNSET else wanted.view,
        )
    return _shown(found)


def _delete(user: User, list_id: int) -> dict[str, Any]:
    with transaction.atomic():
        _others(user, list_id)  # a change under way would store it again
        found = Watchlist.objects.filter(user=user, pk=list_id).first()
        if found is None:
            raise ApiError(404, UNKNOWN)
        shown = _shown(found)
        found.delete()
    return shown


def _others(user: User, list_id: int = 0) -> list[Watchlist]:
    """Return the user's other lists; until the transaction ends nobody else changes any of them."""
    get_user_model().objects.select_for_update().filter(pk=user.pk).first()
    return list(Watchlist.objects.filter(user=user).exclude(pk=list_id).defer("symbols"))


def _store(
    row: Watchlist,
    others: list[Watchlist],
    *,
    name: str,
    symbols: list[dict[str, str]],
    view: dict[str, str | list[str]],
) -> None:
    row.name, row.symbols, row.view = name.strip(), symbols, view
    try:
        row.clean_fields(exclude=["user"])
        row.clean()
        for item in row.symbols:
            item["exchange"] = item["exchange"].strip().upper()
    except ValidationError as error:
        parameter, messages = next(iter(error.message_dict.items()))
        raise ApiError(400, " ".join(messages), parameter=parameter) from None
    if any(each.name.casefold() == row.name.casefold() for each in others):
        raise ApiError(409, f"There is a list “{row.name}” already.", parameter="name")
    row.save()


def _shown(row: Watchlist) -> dict[str, Any]:
    return {"id": row.pk, "name": row.name, "symbols": row.symbols, "view": row.view}


def _read(request: HttpRequest, wanted: type[_Body]) -> _Body:
    return json_body(
        request,
        wanted,
        shape=_SHAPES[wanted],
        parameter="symbols",
    )


_LIST_SHAPE = 'Send {"name": …, "symbols": [{"exchange": …, "symbol": …}]}.'
_SHAPES = {
    _NewList: _LIST_SHAPE,
    _ListChange: _LIST_SHAPE,
    _Names: 'Send {"names": [{"symbol": …, "exchange"?: …}]}, '
    f"at most {MAX_WATCHLIST_ITEMS:,}, of at most {MAX_NAME_LENGTH} characters each.",
}

urlpatterns = [
    path("watchlists", watchlists, name="api-watchlists"),
    path("watchlists/named", named_instruments, name="api-watchlist-named"),
    path("watchlists/<int:list_id>", watchlist, name="api-watchlist"),
    path(
        "watchlists/<int:list_id>/instruments",
        listed_instruments,
        name="api-watchlist-instruments",
    ),
]
