"""Zerodha's login (Kite Connect 3): in the browser, once a day. Pure.

Its rules ask for a login by hand each trading day, so there is no other kind here. A request token
lives for some minutes and works once; logging in again with a token that works gains nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final
from urllib.parse import quote, urlencode

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
from brokers.login.requests import NO_BLANKS, form_request, with_query
from brokers.zerodha.config import KITE_VERSION

__all__ = ["ZerodhaLogin"]

_SITE: Final = "https://kite.zerodha.com"
_API: Final = "https://api.kite.trade"
_APPS: Final = "https://developers.kite.trade/apps"

# A part of an error's words -> what is wrong.
_KEYS: Final[Mapping[str, str]] = {
    "checksum": "does not take the API secret. Enter the one of this app, then log in again.",
    "api_key": "does not take the API key. Enter the one of your app, then log in again.",
}
# What is no matter of the login itself (NetworkException, GeneralException) is told by the status.
_KINDS: Final[Mapping[str, tuple[Refusal, str]]] = {
    "TokenException": (
        Refusal.CODE,
        "says that this login is too old or was used already. Log in again.",
    ),
    "InputException": (Refusal.CODE, "does not take this login. Log in again."),
    "ForbiddenError": (
        Refusal.OWNER,
        "does not let this user log in to this app. Log in as the user to whom it belongs.",
    ),
    "PermissionException": (
        Refusal.PLAN,
        "does not allow this app to do that. Look at its plan.",
    ),
}


class ZerodhaLogin(LoginBase):
    """Zerodha's login. See ``BrokerLogin``.

    The state goes along in ``redirect_params``, which come back with a granted login and not with
    a cancelled one.
    """

    label: ClassVar[str] = "Zerodha"
    brokers: ClassVar[tuple[str, ...]] = ("zerodha",)
    fields: ClassVar[Mapping[LoginKind, tuple[LoginField, ...]]] = {
        LoginKind.BROWSER: (
            LoginField(
                name="api_key",
                label="API key",
                help_text="Of your app. Prices need the paid Connect plan; the free Personal plan "
                "has none.",
                where=_APPS,
                pattern=NO_BLANKS,
            ),
            LoginField(
                name="api_secret",
                label="API secret",
                help_text="Of the same app.",
                is_secret=True,
                where=_APPS,
                pattern=NO_BLANKS,
            ),
        )
    }

    def page(
        self, kept: Mapping[str, str], *, state: str, redirect_uri: str, prepared: str = ""
    ) -> str:
        """Return the URL of Kite's login page; it comes back to the app's own redirect URL."""
        query = {"api_key": self._needed(kept, "api_key"), "v": KITE_VERSION}
        if state:
            query["redirect_params"] = urlencode({"state": state}, quote_via=quote)
        return with_query(self._at(_SITE, "/connect/login"), query)

    def callback(self, query: Mapping[str, str], kept: Mapping[str, str]) -> Code | Refused:
        """Read what the browser came back with."""
        state = returned_state(query)
        if query.get("status", "success") != "success":
            return self._declined(state)
        return self._came_back(returned(query, "request_token"), state)

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """Return the request that turns a request token into an access token."""
        api_key, api_secret = self._needed(kept, "api_key"), self._needed(kept, "api_secret")
        checksum = hashlib.sha256(f"{api_key}{code}{api_secret}".encode()).hexdigest()
        return form_request(
            self._at(_API, "/session/token"),
            {"api_key": api_key, "request_token": code, "checksum": checksum},
            {"X-Kite-Version": KITE_VERSION},
        )

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``exchange``."""
        answer = self._read(kept, status, headers, body)
        data = answer.inside("data")
        token, owner = answer.token("access_token", data), answer.owner("user_id", data)
        if not (answer.is_ok and answer.said.get("status") == "success" and token and owner):
            return _refusal(answer)
        api_key = self._needed(kept, "api_key")
        if data.get("api_key") not in (None, api_key):
            return answer.refused(
                Refusal.OWNER, "answered for another app than this account's. Nothing was stored."
            )
        return Granted(values={"api_key": api_key, "access_token": token}, owner=owner)

    def probe(self, granted: Granted) -> LoginRequest:
        """Return the request for the user's profile."""
        api_key = self._needed(granted.values, "api_key")
        token = self._needed(granted.values, "access_token")
        return LoginRequest(
            method="GET",
            url=self._at(_API, "/user/profile"),
            headers={
                "Accept": "application/json",
                "X-Kite-Version": KITE_VERSION,
                "Authorization": f"token {api_key}:{token}",
            },
        )

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``probe``."""
        answer = self._read(granted.values, status, headers, body)
        owner = answer.owner("user_id", answer.inside("data"))
        if answer.is_ok and answer.said.get("status") == "success" and owner:
            return replace(granted, owner=owner)
        return _refusal(answer, of_token=True)


def _refusal(answer: Answer, *, of_token: bool = False) -> Refused:
    """Return what Kite's error means: of a stored access token, or of a request token."""
    kind, words = answer.code("error_type"), answer.words("message")
    if of_token and kind == "TokenException":
        return answer.refused(
            Refusal.SECRET, "does not take this access token. Log in again.", words
        )
    if kind in ("InputException", "TokenException"):
        for part, text in _KEYS.items():
            if part in words.lower():
                return answer.refused(Refusal.SECRET, text, words)
    if kind in _KINDS:
        return answer.refused(*_KINDS[kind], words)
    return answer.by_status(words)
