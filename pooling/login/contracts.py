"""Small protocols and frozen values: what the worker's login desk needs from the outside."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from typing import Protocol

from brokers.login.contract import Granted, Refusal, Refused
from pooling.calendar.days import TradingDays
from pooling.http.policy import HttpReply
from pooling.login.states import AttemptKind

__all__ = ["DailyLogin", "Http", "LoginStore", "PastTry", "TakenLogin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenLogin:
    """One attempt that a worker has taken; no other worker gets it. Its repr shows no secret.

    ``kept`` is all that the account keeps for its login, in clear. ``code`` is what the browser
    brought; of a pasted credential ``values`` are its fields. ``owner`` is who has to come back
    ("": whoever comes is learnt), ``told_owner`` who the callback said it is. ``totp_counter`` is
    the period of the last code that was sent (0: none). ``trouble`` says why it cannot be tried.
    ``user_id`` is whose account it is.
    """

    attempt_id: int
    pool_id: str
    broker: str
    kind: AttemptKind
    user_id: int = 0
    base_url: str = ""
    redirect_uri: str = ""
    owner: str = ""
    told_owner: str = ""
    totp_counter: int = 0
    is_preparing: bool = False
    trouble: str = ""
    kept: Mapping[str, str] = field(default_factory=dict, repr=False)
    code: str = field(default="", repr=False)
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class PastTry:
    """One unattended attempt of the day: when it began (aware) and why it failed (None: not)."""

    at: datetime
    why: Refusal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyLogin:
    """An account that is to be logged in every day without anybody's doing.

    ``at`` is the time of day where the broker is. ``credential_end`` is when the stored credential
    ends (None: there is none, or nobody knows), ``is_refused`` that the broker does not take it.
    """

    account_id: int
    at: time
    tries: tuple[PastTry, ...] = ()
    credential_end: datetime | None = None
    is_refused: bool = False


class Http(Protocol):
    """The part of ``pooling.http.pool.HttpPool`` that a login needs."""

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes | None
    ) -> HttpReply:
        """Send a request once. Raises BrokerError."""


class LoginStore(Protocol):
    """Where attempts are kept. Every coroutine may raise StoreUnavailableError."""

    async def take(
        self, worker_id: str, pool_ids: Collection[str], most: int
    ) -> Sequence[TakenLogin]:
        """Take up to ``most`` attempts of these pools that wait, each once in its life."""

    async def prepared(self, attempt_id: int, name: str) -> None:
        """Let the browser go to the broker, under the name that it gave."""

    async def sends_totp(self, attempt_id: int, counter: int) -> None:
        """Remember the period of the code that is about to be sent."""

    async def finish(self, attempt_id: int, result: Granted | Refused) -> None:
        """End an attempt; what was granted is stored, encrypted, in the same transaction."""

    async def trading_days(self) -> TradingDays:
        """Return the days of trade, as they are entered."""

    async def daily(self, pool_ids: Collection[str]) -> Sequence[DailyLogin]:
        """Return those of these pools that are to be logged in without anybody's doing."""

    async def begin_daily(self, account_id: int) -> None:
        """Begin an unattended attempt, unless one is under way, whoever began it."""
