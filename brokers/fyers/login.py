"""Fyers' login (API v3): in the browser, once a day. Pure.

Its rules ask for a second factor each trading day, and tokens are not renewed any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from brokers.exceptions import BrokerConfigError
from brokers.fyers.credential import hsm_key
from brokers.login.answers import Answer, returned, returned_state, words_of
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
from brokers.login.requests import NO_BLANKS, json_request, needed, with_query
from brokers.times.json_web_token import claims_of, moment_of

__all__ = ["FyersLogin"]

_API: Final = "https://api-t1.fyers.in"
_APPS: Final = "https://myapi.fyers.in/dashboard"

_WRONG_SECRET: Final = (
    Refusal.SECRET,
    "does not take the app ID and secret. Enter those of one and the same app.",
)
_BUSY: Final = (Refusal.BUSY, "takes no more requests for now. Wait a while.")
# Codes that mean the same at each step; those of a wrong login code are not documented.
_CODES: Final[Mapping[str, tuple[Refusal, str]]] = {"-352": _WRONG_SECRET, "-429": _BUSY}
# Parts of an error's words that are about the app and not about the login code.
_OF_THE_APP: Final = ("hash", "app id", "appid", "client id", "client_id", "secret")


class FyersLogin(LoginBase):
    """Fyers' login. See ``BrokerLogin``."""

    label: ClassVar[str] = "Fyers"
    brokers: ClassVar[tuple[str, ...]] = ("fyers",)
    fields: ClassVar[Mapping[LoginKind, tuple[LoginField, ...]]] = {
        LoginKind.BROWSER: (
            LoginField(
                name="app_id",
                label="App ID",
                help_text="Of your app, with its number: ABCD1234-100. The permission for market "
                "data is enough.",
                where=_APPS,
                pattern=NO_BLANKS,
            ),
            LoginField(
                name="app_secret",
                label="Secret ID",
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
        """Return the URL of Fyers' login page."""
        query = {
            "client_id": self._needed(kept, "app_id"),
            "redirect_uri": redirect_uri,
            "response_type": "code",
            "state": state,
        }
        return with_query(self._at(_API, "/api/v3/generate-authcode"), query)

    def callback(self, query: Mapping[str, str], kept: Mapping[str, str]) -> Code | Refused:
        """Read what the browser came back with: ``auth_code`` is the code, ``code`` a status."""
        state = returned_state(query)
        if query.get("s", "ok") != "ok" or "auth_code" not in query:
            return self._declined(state, words_of(query.get("message", "")))
        return self._came_back(returned(query, "auth_code"), state)

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """Return the request that turns an auth code into an access token."""
        app_id, secret = self._needed(kept, "app_id"), self._needed(kept, "app_secret")
        app_hash = hashlib.sha256(f"{app_id}:{secret}".encode()).hexdigest()
        return json_request(
            self._at(_API, "/api/v3/validate-authcode"),
            {"grant_type": "authorization_code", "appIdHash": app_hash, "code": code},
        )

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``exchange``; the token has to carry the key of the feed."""
        answer = self._read(kept, status, headers, body)
        token = answer.token("access_token")
        if not (answer.is_ok and answer.said.get("s") == "ok" and token):
            return _refusal(answer)
        try:
            hsm_key(token)
        except BrokerConfigError:
            return answer.refused(
                Refusal.PLAN,
                "gave a token without the key of its price feed. Look at what the app is "
                "permitted, then log in again.",
            )
        claims = claims_of(token)
        return Granted(
            values={"access_token": f"{self._needed(kept, 'app_id')}:{token}"},
            owner=answer.owner("fy_id", claims),
            ends_at=moment_of(claims, "exp"),
        )

    def probe(self, granted: Granted) -> LoginRequest:
        """Return the request for the user's profile, for which the app has to be known, too."""
        token = needed(self.label, granted.values, "access_token")
        if ":" not in token:
            raise BrokerConfigError(
                "fyers: a token alone cannot be tried: enter access_token as APPID:token"
            )
        return LoginRequest(
            method="GET",
            url=self._at(_API, "/api/v3/profile"),
            headers={"Accept": "application/json", "Authorization": token, "version": "3"},
        )

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``probe``."""
        answer = self._read(granted.values, status, headers, body)
        owner = answer.owner("fy_id", answer.inside("data"))
        if answer.is_ok and answer.said.get("s") == "ok" and owner:
            ends_at = moment_of(claims_of(granted.values.get("access_token", "")), "exp")
            return replace(granted, owner=owner, ends_at=ends_at)
        return _refusal(answer, of_token=True)


def _refusal(answer: Answer, *, of_token: bool = False) -> Refused:
    """Return what an error means: of a stored access token, or of a login code."""
    code, words = answer.code("code"), answer.words("message")
    if code in _CODES:
        return answer.refused(*_CODES[code], words)
    if answer.said.get("s") != "error" or answer.status == 429 or answer.status >= 500:
        return answer.by_status(words)
    if of_token:
        return answer.refused(
            Refusal.SECRET, "does not take this access token. Log in again.", words
        )
    if any(part in words.lower() for part in _OF_THE_APP):
        return answer.refused(*_WRONG_SECRET, words)
    return answer.refused(
        Refusal.CODE, "says that this login is too old or was used already. Log in again.", words
    )
