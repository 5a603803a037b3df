"""The directory: the gateway's questions to the site, who a client is and what it may use.

``openalgo_site/adapters/users_and_accounts.py`` answers them from the database, tests from a
dictionary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from brokers.types import InstrumentKey
from streaming.scopes import EVERYTHING, Scope

__all__ = ["AccountRef", "Directory", "Principal"]


class AccountRef(msgspec.Struct, frozen=True):
    """One broker account that a principal owns. ``depth_levels`` are what the broker offers.

    ``away`` says why nothing of it can be had for now, in a sentence for people; "": it can.
    """

    pool_id: str
    broker: str
    label: str
    exchanges: frozenset[str]
    depth_levels: tuple[int, ...] = (5,)
    away: str = ""


class Principal(msgspec.Struct, frozen=True):
    """An authenticated user with the accounts that it owns, default account first.

    ``key_id`` names the API key used, None for a browser session; ``session_key`` the Django
    session, None for an API key. ``away`` are the accounts that it owns and cannot use for now;
    one whose exchanges nobody can tell has none.

    ``scope`` is what the key may be used for, everything for a session; ``ends_ms`` when the key
    ends, in epoch milliseconds, None for one without an end.
    """

    user_id: int
    username: str
    accounts: tuple[AccountRef, ...]
    key_id: int | None = None
    session_key: str | None = None
    away: tuple[AccountRef, ...] = ()
    scope: frozenset[Scope] = EVERYTHING
    ends_ms: int | None = None

    def has_ended(self, now_ms: int) -> bool:
        """Tell whether this is of a key whose end has come."""
        return self.ends_ms is not None and now_ms >= self.ends_ms

    def account_for(self, exchange: str) -> AccountRef | None:
        """Return the first account whose broker trades ``exchange``, or None.

        One that is away is asked only where no other trades it.
        """
        for account in (*self.accounts, *self.away):
            if exchange in account.exchanges:
                return account
        return next((account for account in self.away if not account.exchanges), None)


class Directory(Protocol):
    """Authentication and look-ups; never called on the tick path.

    All raise DirectoryUnavailableError while it cannot be said; they do not wait long for that.
    """

    async def authenticate_api_key(self, api_key: str) -> Principal | None:
        """Return whose key this is; None for an unknown, revoked or inactive one. Constant work.

        Raises:
            KeyEndedError: it was valid, and has ended.
        """

    async def authenticate_session(self, session_key: str) -> Principal | None:
        """Return the principal of a logged-in browser session; None when it has ended."""

    async def refresh(self, principals: Sequence[Principal]) -> Sequence[Principal | None]:
        """Return each principal as it is now: None where it is no longer valid."""

    async def suggest(
        self, broker: str, exchange: str, symbol: str, limit: int = 3
    ) -> Sequence[str]:
        """Return up to ``limit`` names nearest to an unknown one, best first.

        Those of another exchange come with it: "NSE_INDEX:NIFTY".
        """

    async def why_not_listed(self, broker: str) -> str:
        """Return why nothing of ``broker`` can be subscribed; "" where something can."""

    async def listed(self, broker: str, keys: Sequence[InstrumentKey]) -> Collection[InstrumentKey]:
        """Return those of ``keys`` that are instruments of ``broker`` today, exactly as named."""

    async def supported_brokers(self) -> Sequence[str]:
        """Name all brokers that this installation can serve."""
