"""``Directory`` on Django's database: who a client is, and which pools it may use."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple, ParamSpec, TypeVar

from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.models import Session
from django.db import Error as DatabaseFailure
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from brokers.batching import portions
from brokers.exceptions import BrokerConfigError
from brokers.types import InstrumentKey
from brokers.words import named_error
from pooling import conf
from pooling.instruments.reasons import why_not_listed
from pooling.instruments.suggestions import nearest_names
from pooling.models import BrokerAccount, Instrument, SearchTier
from pooling.store.database import from_database
from streaming.exceptions import DirectoryUnavailableError
from streaming.models import ApiKey
from streaming.ports.directory import AccountRef, Principal
from streaming.scopes import EVERYTHING, Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["DjangoDirectory"]

P = ParamSpec("P")
T = TypeVar("T")

LOOK_UP_SECONDS = 5.0
MAX_SESSION_KEY = 64
IDS_PER_QUERY = 500


class DjangoDirectory:
    """Authentication and look-ups in the site's database.

    Every coroutine runs its queries in a thread for look-ups, on a connection that is given back
    afterwards, and writes nothing. Safe for concurrent calls; cancelling one leaves nothing behind.

    Args:
        on_use: told the id of each API key that opened the door.
    """

    def __init__(self, *, on_use: Callable[[int], None] = lambda key_id: None) -> None:
        self._on_use = on_use

    async def authenticate_api_key(self, api_key: str) -> Principal | None:
        """Return whose key this is; None for an unknown, revoked or inactive one. Constant work.

        Raises:
            KeyEndedError: it was valid, and has ended.
        """
        principal = await _look_up(_principal_of_key, api_key)
        if principal is not None and principal.key_id is not None:
            self._on_use(principal.key_id)
        return principal

    async def authenticate_session(self, session_key: str) -> Principal | None:
        """Return the principal of a logged-in browser session; None when it has ended."""
        return await _look_up(_principal_of_session, session_key)

    async def refresh(self, principals: Sequence[Principal]) -> Sequence[Principal | None]:
        """Return each principal as it is now: None where key, session or user has ended."""
        return await _look_up(_refresh, principals)

    async def suggest(
        self, broker: str, exchange: str, symbol: str, limit: int = 3
    ) -> Sequence[str]:
        """Return up to ``limit`` names nearest to an unknown one, best first.

        Those of another exchange come with it: "NSE_INDEX:NIFTY".
        """
        return await _look_up(nearest_names, broker, exchange, symbol, limit)

    async def why_not_listed(self, broker: str) -> str:
        """Return why nothing of ``broker`` can be subscribed; "" where something can."""
        return await _look_up(why_not_listed, broker)

    async def listed(self, broker: str, keys: Sequence[InstrumentKey]) -> Collection[InstrumentKey]:
        """Return those of ``keys`` that are instruments of ``broker`` today, exactly as named."""
        return await _look_up(_listed, broker, keys)

    async def supported_brokers(self) -> Sequence[str]:
        """Name all brokers that this installation can serve."""
        return conf.broker_registry().names()


def _listed(broker: str, keys: Sequence[InstrumentKey]) -> set[InstrumentKey]:
    symbols: dict[str, set[str]] = {}
    for exchange, symbol in keys:
        symbols.setdefault(exchange, set()).add(symbol)
    found: set[InstrumentKey] = set()
    for exchange, names in symbols.items():
        for part in portions(names, IDS_PER_QUERY):
            rows = Instrument.objects.filter(broker=broker, exchange=exchange, symbol__in=part)
            listed = rows.exclude(tier=SearchTier.EXPIRED).values_list("symbol", flat=True)
            found.update(InstrumentKey(exchange, symbol) for symbol in listed)
    return found


async def _look_up(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a look-up. Raises DirectoryUnavailableError when it fails or takes too long."""
    try:
        async with asyncio.timeout(LOOK_UP_SECONDS):
            return await from_database(function, *args, **kwargs)
    except TimeoutError as error:
        raise DirectoryUnavailableError(
            f"the database did not answer within {LOOK_UP_SECONDS:g} s"
        ) from error
    except DatabaseFailure as error:
        raise DirectoryUnavailableError(named_error(error)) from error


def _principal_of_session(session_key: str) -> Principal | None:
    if not (
        session_key.isascii() and session_key.isalnum() and len(session_key) <= MAX_SESSION_KEY
    ):
        return None
    session = _valid_sessions({session_key}).get(session_key)
    try:
        user_id = int(str((session or {}).get(SESSION_KEY, "")))
    except ValueError:
        return None  # nobody is logged in there
    claimed = Principal(user_id=user_id, username="", accounts=(), session_key=session_key)
    return _refresh([claimed])[0]


def _principal_of_key(api_key: str) -> Principal | None:
    key = ApiKey.objects.find(api_key)
    if key is None:
        return None
    return Principal(
        user_id=key.user.pk,
        username=key.user.get_username(),
        **_accounts_of([key.user.pk])[key.user.pk]._asdict(),
        key_id=key.pk,
        **_rights(key.scope, key.ends)._asdict(),
    )


def _refresh(principals: Sequence[Principal]) -> list[Principal | None]:
    """Look everything up with one query per kind: keys, sessions, users, accounts."""
    keys = _valid_keys({each.key_id for each in principals if each.key_id is not None})
    sessions = _valid_sessions({each.session_key for each in principals if each.session_key})
    users = _active_users({each.user_id for each in principals})
    accounts = _accounts_of(users)

    def current(principal: Principal) -> Principal | None:
        rights = _Rights()
        user = users.get(principal.user_id)
        if user is None:
            return None
        if principal.key_id is not None:
            owner, rights = keys.get(principal.key_id, (None, rights))
            valid = owner == user.pk
        elif principal.session_key is not None:
            valid = _belongs_to(sessions.get(principal.session_key, {}), user)
        else:
            valid = False
        if not valid:
            return None
        return Principal(
            user_id=user.pk,
            username=user.get_username(),
            **accounts[user.pk]._asdict(),
            key_id=principal.key_id,
            session_key=principal.session_key,
            **rights._asdict(),
        )

    return [current(principal) for principal in principals]


class _Rights(NamedTuple):
    """Rights of a principal and their end; a session everything, for as long as it is there."""

    scope: frozenset[Scope] = EVERYTHING
    ends_ms: int | None = None


def _rights(scope: Iterable[Scope], ends: datetime | None) -> _Rights:
    return _Rights(frozenset(scope), None if ends is None else round(ends.timestamp() * 1000))


def _valid_keys(ids: set[int]) -> dict[int, tuple[int, _Rights]]:
    """Return owner and rights of those keys that are valid."""
    columns = ("pk", "user_id", "ends", *(f"may_{each}" for each in Scope))
    return {
        pk: (user, _rights(compress(Scope, flags), ends))
        for part in portions(ids, IDS_PER_QUERY)
        for pk, user, ends, *flags in ApiKey.objects.valid()
        .filter(pk__in=part)
        .values_list(*columns)
    }


def _valid_sessions(session_keys: set[str]) -> dict[str, dict[str, object]]:
    rows = (
        Session.objects.filter(session_key__in=part, expire_date__gt=timezone.now())
        for part in portions(session_keys, IDS_PER_QUERY)
    )
    return {session.session_key: session.get_decoded() for part in rows for session in part}


def _active_users(ids: set[int]) -> dict[int, User]:
    rows = (
        get_user_model().objects.filter(pk__in=part, is_active=True)
        for part in portions(ids, IDS_PER_QUERY)
    )
    return {user.pk: user for part in rows for user in part}


def _belongs_to(session: dict[str, object], user: User) -> bool:
    """Tell whether a session's content logs ``user`` in, with the password that it has now."""
    return (
        str(session.get(SESSION_KEY)) == str(user.pk)
        and BACKEND_SESSION_KEY in session
        and constant_time_compare(
            str(session.get(HASH_SESSION_KEY, "")), user.get_session_auth_hash()
        )
    )


class _Accounts(NamedTuple):
    """Accounts of a user: accounts that can be used, and others that cannot for now."""

    accounts: tuple[AccountRef, ...] = ()
    away: tuple[AccountRef, ...] = ()


def _accounts_of(user_ids: Iterable[int]) -> defaultdict[int, _Accounts]:
    found: defaultdict[int, _Accounts] = defaultdict(_Accounts)
    for part in portions(set(user_ids), IDS_PER_QUERY):
        for account in BrokerAccount.objects.filter(user_id__in=part).order_by("pk"):
            ref, (accounts, away) = _ref_of(account), found[account.user_id]
            if ref.away:
                found[account.user_id] = _Accounts(accounts, (*away, ref))
            else:
                found[account.user_id] = _Accounts((*accounts, ref), away)
    return found


def _ref_of(account: BrokerAccount) -> AccountRef:
    name = " ".join(filter(None, (account.broker, account.label)))
    away = f"the broker account {name} is disabled; prices come by themselves once it is enabled"
    exchanges, depth_levels = frozenset[str](), tuple[int, ...]()
    try:
        capabilities = account.capabilities()
    except BrokerConfigError as error:
        if account.enabled:
            reason = str(error).rstrip(".")
            away = f"the broker account {name} cannot be served as it is stored: {reason}"
    else:
        exchanges, depth_levels = capabilities.exchanges, capabilities.depth_levels
        away = "" if account.enabled else away
    return AccountRef(
        pool_id=account.pool_id,
        broker=account.broker,
        label=account.label,
        exchanges=exchanges,
        depth_levels=depth_levels,
        away=away,
    )
