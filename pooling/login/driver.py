"""Asking a broker: one request for the credential, one that proves whose it is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from brokers.exceptions import BrokerConfigError, BrokerError, BrokerRateLimitError
from brokers.login import totp
from brokers.login.answers import same_owner
from brokers.login.contract import (
    BrokerLogin,
    Granted,
    LoginRequest,
    Refusal,
    Refused,
)
from brokers.words import one_line
from pooling.clock import Clock
from pooling.http.policy import HttpReply
from pooling.login.contracts import Http, TakenLogin
from pooling.login.states import AttemptKind

__all__ = ["LoginDriver"]

logger = logging.getLogger("pooling")

# Between the tries of the request that only reads whose a credential is.
PROBE_PAUSES: Final = (1.0, 3.0)
UNTRIED: Final = "The broker could not be asked yet whether it works."
ONCE: Final = "Nothing was stored. A code works once: log in again."


class LoginDriver:
    """Carries attempts out at a broker. Keeps nothing; several may be under way on its loop.

    A cancelled attempt may have used its code up.

    Args:
        http: sends requests, once each, and follows no redirect.
        clock: the time of one-time passwords.
        sends_totp: remembers the period of a code that is about to be sent, so that none is sent
            twice; given the attempt's number and the period.
    """

    def __init__(
        self,
        *,
        http: Http,
        clock: Clock,
        sends_totp: Callable[[int, int], Awaitable[None]],
    ) -> None:
        self._http = http
        self._clock = clock
        self._sends_totp = sends_totp

    async def prepare(self, login: BrokerLogin, taken: TakenLogin) -> str | Refused:
        """Return the name under which the broker expects the browser; "" where it needs none."""
        try:
            request = login.prepare(taken.kept, taken.redirect_uri)
        except BrokerConfigError as error:
            return Refused(why=Refusal.SECRET, text=f"{error}.")
        if request is None:
            return ""
        reply = await self._ask(request, lost="Nothing was stored; try again.")
        if isinstance(reply, Refused):
            return reply
        return login.prepared(reply.status, reply.headers, reply.body)

    async def obtain(self, login: BrokerLogin, taken: TakenLogin) -> Granted | Refused:
        """Get the credential and prove it: whose it is, and that the broker takes it."""
        try:
            return await self._obtained(login, taken)
        except BrokerConfigError as error:
            return Refused(why=Refusal.SECRET, text=f"{error}.")

    async def _obtained(self, login: BrokerLogin, taken: TakenLogin) -> Granted | Refused:
        granted = await self._granted(login, taken)
        if isinstance(granted, Refused):
            return granted
        if not granted.owner and taken.told_owner:
            granted = replace(granted, owner=taken.told_owner)
        if (stranger := _stranger(taken, granted)) is not None:
            return stranger
        return await self._proved(login, taken, granted)

    async def _granted(self, login: BrokerLogin, taken: TakenLogin) -> Granted | Refused:
        if taken.kind is AttemptKind.LONG_LIVED:
            return login.pasted(taken.values)
        if taken.values:
            return Granted(values=taken.values)  # pasted, or brought by the callback itself
        if taken.kind is AttemptKind.UNATTENDED:
            return await self._unattended(login, taken)
        request = login.exchange(taken.kept, taken.code, taken.redirect_uri)
        reply = await self._ask(request, lost=ONCE)
        if isinstance(reply, Refused):
            return reply
        return login.answer(taken.kept, reply.status, reply.headers, reply.body)

    async def _unattended(self, login: BrokerLogin, taken: TakenLogin) -> Granted | Refused:
        try:
            key = totp.secret_key(taken.kept.get(totp.TOTP_SECRET, ""))
        except totp.TotpSecretError as error:
            return Refused(why=Refusal.SECRET, text=str(error))
        at = totp.send_at(self._now(), taken.totp_counter)
        await asyncio.sleep(max(0.0, at - self._now()))
        now = max(at, self._now())
        await self._sends_totp(taken.attempt_id, totp.period_of(now))
        request = login.unattended(taken.kept, totp.totp(key, now))
        reply = await self._ask(request, lost="Nothing was stored.")
        if isinstance(reply, Refused):
            return reply
        answer = login.answer(taken.kept, reply.status, reply.headers, reply.body)
        if isinstance(answer, Refused) and answer.why is Refusal.SECOND_FACTOR:
            offset = totp.clock_offset_seconds(reply.headers, self._now())
            return replace(answer, text=f"{answer.text} {totp.clock_warning(offset)}".strip())
        return answer

    def _now(self) -> float:
        return self._clock.time_ms() / 1000

    async def _proved(
        self, login: BrokerLogin, taken: TakenLogin, granted: Granted
    ) -> Granted | Refused:
        try:
            request = login.probe(granted)
        except BrokerConfigError as error:
            return Refused(why=Refusal.SECRET, text=f"{error}.")
        proved = await self._probed(login, request, granted)
        for pause in PROBE_PAUSES:
            if not _says_nothing(proved):
                break
            await asyncio.sleep(pause)  # it only reads, and may be asked again
            proved = await self._probed(login, request, granted)
        if isinstance(proved, Granted):
            return _stranger(taken, proved) or proved
        is_new = taken.kind in (AttemptKind.BROWSER, AttemptKind.UNATTENDED)
        if is_new and granted.owner and _says_nothing(proved):
            # What it replaces may have ended with it, as at Dhan; whose it is was told before.
            return replace(granted, warning=f"{granted.warning} {UNTRIED}".strip())
        return proved

    async def _probed(
        self, login: BrokerLogin, request: LoginRequest, granted: Granted
    ) -> Granted | Refused:
        reply = await self._ask(
            request,
            lost="The credential could not be tried, and was not stored: log in again.",
        )
        if isinstance(reply, Refused):
            return reply
        return login.probed(granted, reply.status, reply.headers, reply.body)

    async def _ask(self, request: LoginRequest, *, lost: str) -> HttpReply | Refused:
        """Send a request once. ``lost`` is said where no answer came."""
        try:
            return await self._http.request(
                request.method,
                request.url,
                headers=request.headers,
                content=request.content or None,
            )
        except BrokerRateLimitError as error:
            return Refused(
                why=Refusal.BUSY,
                text=f"The broker has had too many requests: {one_line(error)}. {lost}",
                retry_after_seconds=error.retry_after_seconds,
            )
        except BrokerError as error:
            logger.warning("login at %s: %s", request.place, one_line(error))
            return Refused(
                why=Refusal.DOWN, text=f"The broker did not answer: {one_line(error)}. {lost}"
            )


def _says_nothing(proved: Granted | Refused) -> bool:
    """Whether a broker told nothing of the credential, neither good nor bad."""
    whys = (Refusal.DOWN, Refusal.BUSY, Refusal.UNREADABLE)
    return isinstance(proved, Refused) and proved.why in whys


def _stranger(taken: TakenLogin, granted: Granted) -> Refused | None:
    """Return the refusal of a credential that is another user's of the broker."""
    if not taken.owner or not granted.owner or same_owner(granted.owner, taken.owner):
        return None
    return Refused(
        why=Refusal.OWNER,
        text=(
            f"{granted.owner} has logged in at the broker, and this account is {taken.owner}'s: "
            "nothing was stored. Log out at the broker's site, or add an account for the other."
        ),
    )
