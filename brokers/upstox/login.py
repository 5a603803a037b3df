"""Upstox's login: an Analytics Token that holds for a year, or the browser once a day. Pure.

All logins happen at Upstox's own page, by its terms. A code works once, whether the exchange
succeeds or not. An Analytics Token may not ask for the profile without a static address, so that it
is tried at the door of the feed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from brokers.exceptions import BrokerConfigError
from brokers.login.answers import Answer, returned, returned_state
from brokers.login.base import LoginBase
from brokers.login.contract import (
    Code,
    Granted,
    LoginField,
    LoginKind,
    LoginRequest,
    Refusal,
    Refused,
)
from brokers.login.requests import NO_BLANKS, form_request, is_token, with_query
from brokers.times.json_web_token import claims_of, life_seconds
from brokers.upstox.config import FEED_PATH
from brokers.upstox.credential import UpstoxToken, day_of

__all__ = ["UpstoxLogin"]

_API: Final = "https://api.upstox.com"
_APPS: Final = "https://account.upstox.com/developer/apps"

_OLD_TOKEN: Final = (
    Refusal.SECRET,
    "does not take this access token. Log in again, or make a new Analytics Token.",
)
# Error code -> what it means. Those of a request's form are ours to mend, and told as they are.
_CODES: Final[Mapping[str, tuple[Refusal, str]]] = {
    "UDAPI100057": (
        Refusal.CODE,
        "says that this login is too old, was used already, or belongs to another redirect "
        "address than the app's. Log in again.",
    ),
    "UDAPI100016": (
        Refusal.SECRET,
        "does not take the API key and secret. Enter those of one and the same app.",
    ),
    "UDAPI100068": (
        Refusal.REDIRECT,
        "does not know this API key with this redirect address. Write the address into the app "
        "exactly as it is shown here.",
    ),
    "UDAPI10005": (Refusal.BUSY, "takes no more requests for now. Wait a while."),
    "UDAPI100050": _OLD_TOKEN,
    "UDAPI100067": (
        Refusal.PLAN,
        "does not permit that with this kind of token. Use an Analytics Token or log in.",
    ),
    "UDAPI100073": (
        Refusal.PLAN,
        "says that the app is not active. Look at it among your apps at Upstox.",
    ),
    "UDAPI100074": (
        Refusal.DOWN,
        "is closed at night, from 00:00 to 05:30 India time. Log in after that.",
    ),
}


class UpstoxLogin(LoginBase):
    """Upstox's login. See ``BrokerLogin``."""

    label: ClassVar[str] = "Upstox"
    brokers: ClassVar[tuple[str, ...]] = ("upstox",)
    fields: ClassVar[Mapping[LoginKind, tuple[LoginField, ...]]] = {
        LoginKind.LONG_LIVED: (
            LoginField(
                name="analytics_token",
                label="Analytics Token",
                help_text="Made under Analytics at Upstox's apps; reads prices for a year and "
                "cannot trade. A new one ends the old one.",
                is_secret=True,
                is_wide=True,
                where=_APPS,
                pattern=r"\s*[!-~]{1,4000}\s*",
            ),
            LoginField(
                name="made_on",
                label="Made on",
                help_text="The day on which you made it (YYYY-MM-DD), for the reminder before it "
                "ends. May stay empty where the token itself tells its end.",
                where=_APPS,
                pattern=r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
                is_optional=True,
            ),
        ),
        LoginKind.BROWSER: (
            LoginField(
                name="client_id",
                label="API key",
                help_text="Of your app at Upstox.",
                where=_APPS,
                pattern=NO_BLANKS,
            ),
            LoginField(
                name="client_secret",
                label="API secret",
                help_text="Of the same app.",
                is_secret=True,
                where=_APPS,
                pattern=NO_BLANKS,
            ),
        ),
    }

    def page(
        self, kept: Mapping[str, str], *, state: str, redirect_uri: str, prepared: str = ""
    ) -> str:
        """Return the URL of Upstox's login page."""
        query = {
            "response_type": "code",
            "client_id": self._needed(kept, "client_id"),
            "redirect_uri": redirect_uri,
        }
        if state:
            query["state"] = state
        return with_query(self._at(_API, "/v2/login/authorization/dialog"), query)

    def callback(self, query: Mapping[str, str], kept: Mapping[str, str]) -> Code | Refused:
        """Read what the browser came back with; what a declined login brings is not documented."""
        state = returned_state(query)
        if "code" not in query:
            return self._declined(state)
        return self._came_back(returned(query, "code"), state)

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """Return the request that turns a code into an access token."""
        return form_request(
            self._at(_API, "/v2/login/authorization/token"),
            {
                "code": code,
                "client_id": self._needed(kept, "client_id"),
                "client_secret": self._needed(kept, "client_secret"),
                "redirect_uri": redirect_uri,
                "grant_type": "authorization_code",
            },
        )

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``exchange``, which has no ``status`` and no ``data``."""
        answer = self._read(kept, status, headers, body)
        token, owner = answer.token("access_token"), answer.owner("user_id")
        if not (answer.is_ok and token and owner):
            return _refusal(answer)
        if answer.said.get("is_active") is False:
            return answer.refused(
                Refusal.PLAN, "says that this user is not active. Ask Upstox why."
            )
        return _granted(UpstoxToken(token), owner)

    def pasted(self, values: Mapping[str, str]) -> Granted | Refused:
        """Return what an Analytics Token grants; its end is its own, or a year from its day."""
        made_on = values.get("made_on", "").strip()
        try:
            token = UpstoxToken.of(values.get("analytics_token", ""))
            made = day_of(made_on) if made_on else token.made_on
        except BrokerConfigError:
            return self._refused(
                Refusal.SECRET,
                "tokens need the day on which they were made as YYYY-MM-DD, such as 2026-11-30.",
            )
        if not is_token(token.value):
            return self._refused(
                Refusal.SECRET, "tokens are one long word of plain characters. Copy it once more."
            )
        if token.tells_long_life:
            return _granted(UpstoxToken(token.value), token.owner)
        if life_seconds(claims_of(token.value)) is not None:
            return self._refused(
                Refusal.SECRET,
                "made this token for one day only. Make an Analytics Token, which holds a year.",
            )
        if made is None:
            return self._refused(
                Refusal.SECRET,
                "tokens of this kind do not say when they end. Enter the day on which it was made.",
            )
        return _granted(UpstoxToken(token.value, made), token.owner)

    def probe(self, granted: Granted) -> LoginRequest:
        """Return the request for the user's profile, or for the feed of an Analytics Token."""
        token = UpstoxToken.of(granted.values.get("access_token", ""))
        value = self._needed({"access_token": token.value}, "access_token")
        path = f"{FEED_PATH}/authorize" if token.is_long_lived else "/v2/user/profile"
        return LoginRequest(
            method="GET",
            url=self._at(_API, path),
            headers={"Accept": "application/json", "Authorization": f"Bearer {value}"},
        )

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``probe``."""
        answer = self._read(granted.values, status, headers, body)
        token = UpstoxToken.of(granted.values.get("access_token", ""))
        data = answer.inside("data")
        if not answer.is_ok or answer.said.get("status") != "success":
            return _refusal(answer, of_token=True)
        if token.is_long_lived:
            opens = any(
                name in data for name in ("authorized_redirect_uri", "authorizedRedirectUri")
            )
            return replace(granted, ends_at=token.ends_at()) if opens else _refusal(answer)
        owner = answer.owner("user_id", data)
        return replace(granted, owner=owner) if owner else _refusal(answer)


def _granted(token: UpstoxToken, owner: str) -> Granted:
    return Granted(values={"access_token": token.text}, owner=owner, ends_at=token.ends_at())


def _refusal(answer: Answer, *, of_token: bool = False) -> Refused:
    """Return what the first error that is known means; both spellings of its name are sent."""
    errors = answer.said.get("errors")
    listed = errors if isinstance(errors, list) else []
    for error in listed[:10]:
        if not isinstance(error, dict):
            continue
        code = answer.code("error_code", error) or answer.code("errorCode", error)
        words = answer.words("message", within=error)
        if code in _CODES:
            return answer.refused(*_CODES[code], words)
        if code or words:
            return _by_status(answer, of_token, f"{words} ({code})" if code else words)
    return _by_status(answer, of_token, answer.words("message"))


def _by_status(answer: Answer, of_token: bool, words: str) -> Refused:
    if of_token and answer.status == 401 and answer.said:
        return answer.refused(*_OLD_TOKEN, words)
    return answer.by_status(words)
