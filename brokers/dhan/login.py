"""Dhan's login: by PIN and TOTP, or in the browser after a consent was asked for. Pure.

A new token ends the one before it, and all feeds of a user share one. PIN and TOTP travel in the
query, so that an address of this login belongs in no log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from brokers.exceptions import BrokerConfigError
from brokers.login.answers import Answer, returned, returned_state, same_owner
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
from brokers.login.requests import NO_BLANKS, with_query
from brokers.login.totp import TOTP_HELP, TOTP_SECRET
from brokers.times.json_web_token import claims_of, moment_of

__all__ = ["DhanLogin"]

_AUTH: Final = "https://auth.dhan.co"
_API: Final = "https://api.dhan.co"
_SITE: Final = "https://web.dhan.co"
# "Token can be generated once every 2 minutes", and as long after a wrong code.
_WAIT_SECONDS: Final = 120.0

_CLIENT_ID: Final = LoginField(
    name="client_id",
    label="Client ID",
    help_text="Your Dhan account, as in dhanClientId.",
    where=_SITE,
    pattern=r"[A-Za-z0-9]{4,20}",
)
_BUSY: Final = (Refusal.BUSY, "makes one token in two minutes only. Wait that long.")
_OLD_TOKEN: Final = (
    Refusal.SECRET,
    "does not take this access token. Log in again: a newer token ends the one before it.",
)
# Error code -> what it means.
_CODES: Final[Mapping[str, tuple[Refusal, str]]] = {
    "DH-901": _OLD_TOKEN,
    "807": _OLD_TOKEN,
    "809": _OLD_TOKEN,
    "DH-902": (Refusal.PLAN, "says that the Data APIs are not subscribed. Subscribe them there."),
    "806": (Refusal.PLAN, "says that the Data APIs are not subscribed. Subscribe them there."),
    "DH-904": (Refusal.BUSY, "takes no more requests for now. Wait a while."),
    "DH-908": (Refusal.DOWN, "cannot answer now. Try again later."),
    "DH-909": (Refusal.DOWN, "cannot answer now. Try again later."),
}
# What an error without a code says -> what it means; the first that is found counts. Where PIN and
# TOTP are both named, nothing is tried again: a wrong PIN may lock the account.
_WORDS: Final[tuple[tuple[re.Pattern[str], tuple[Refusal, str]], ...]] = (
    (re.compile(r"2 minutes|two minutes|too many|rate limit", re.I), _BUSY),
    (
        re.compile(r"\bpin\b", re.I),
        (Refusal.SECRET, "does not take the PIN. Enter the six digits of the app's PIN."),
    ),
    (
        re.compile(r"\btotp\b", re.I),
        (
            Refusal.SECOND_FACTOR,
            "does not take the TOTP code. Look at this machine's clock and at the TOTP secret.",
        ),
    ),
    (
        re.compile(r"app.?(?:id|secret)|api.?(?:key|secret)|client.?id|partner", re.I),
        (
            Refusal.SECRET,
            "does not take the client ID with this API key and secret. Enter those of one "
            "account; a key ends after 12 months.",
        ),
    ),
)


class DhanLogin(LoginBase):
    """Dhan's login. See ``BrokerLogin``.

    Dhan gives no state back: what a browser brings is of the one attempt that is open, or nobody's.
    """

    label: ClassVar[str] = "Dhan"
    brokers: ClassVar[tuple[str, ...]] = ("dhan", "dhan_depth20", "dhan_depth200")
    fields: ClassVar[Mapping[LoginKind, tuple[LoginField, ...]]] = {
        LoginKind.UNATTENDED: (
            _CLIENT_ID,
            LoginField(
                name="pin",
                label="PIN",
                help_text="The six digits with which you open the app.",
                is_secret=True,
                pattern=r"[0-9]{6}",
            ),
            LoginField(
                name=TOTP_SECRET,
                label="TOTP secret",
                help_text=TOTP_HELP,
                is_secret=True,
                where=_SITE,
            ),
        ),
        LoginKind.BROWSER: (
            _CLIENT_ID,
            LoginField(
                name="app_id",
                label="API key",
                help_text="Made at Dhan's site under the access to its APIs, for 12 months.",
                where=_SITE,
                pattern=NO_BLANKS,
            ),
            LoginField(
                name="app_secret",
                label="API secret",
                help_text="Of the same key.",
                is_secret=True,
                where=_SITE,
                pattern=NO_BLANKS,
            ),
        ),
    }
    echoes_state: ClassVar[bool] = False
    needs_preparing: ClassVar[bool] = True
    attempt_seconds: ClassVar[float] = 300.0

    def prepare(self, kept: Mapping[str, str], redirect_uri: str) -> LoginRequest | None:
        """Return the request for a consent, of which there are 25 a day."""
        return LoginRequest(
            method="POST",
            url=with_query(
                self._at(_AUTH, "/app/generate-consent"),
                {"client_id": self._needed(kept, "client_id")},
            ),
            headers=self._app(kept),
        )

    def prepared(self, status: int, headers: Mapping[str, str], body: bytes) -> str | Refused:
        """Read the name of the consent."""
        answer = Answer.read(self.label, status, headers, body)
        consent = answer.token("consentAppId")
        is_made = answer.said.get("status", "success") == "success"
        return consent if answer.is_ok and is_made and consent else _refusal(answer)

    def page(
        self, kept: Mapping[str, str], *, state: str, redirect_uri: str, prepared: str = ""
    ) -> str:
        """Return the URL of Dhan's login page; it comes back to the API key's own redirect URL."""
        if not prepared:
            raise BrokerConfigError("dhan: the login has no consent: ask for one first")
        return with_query(self._at(_AUTH, "/login/consentApp-login"), {"consentAppId": prepared})

    def callback(self, query: Mapping[str, str], kept: Mapping[str, str]) -> Code | Refused:
        """Read what the browser came back with."""
        state = returned_state(query)
        if "tokenId" not in query:
            return self._declined(state)
        return self._came_back(returned(query, "tokenId"), state)

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """Return the request that turns a token ID into an access token."""
        return LoginRequest(
            method="GET",
            url=with_query(self._at(_AUTH, "/app/consumeApp-consent"), {"tokenId": code}),
            headers=self._app(kept),
        )

    def unattended(self, kept: Mapping[str, str], totp: str) -> LoginRequest:
        """Return the request of a login by PIN and TOTP, which stand in the query."""
        query = {
            "dhanClientId": self._needed(kept, "client_id"),
            "pin": self._needed(kept, "pin"),
            "totp": totp,
        }
        return LoginRequest(
            method="POST",
            url=with_query(self._at(_AUTH, "/app/generateAccessToken"), query),
            headers={"Accept": "application/json"},
        )

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``exchange`` or ``unattended``: a refusal comes as HTTP 200, too."""
        answer = self._read(kept, status, headers, body)
        token = answer.token("accessToken")
        if not (answer.is_ok and token.count(".") == 2):
            return _refusal(answer)
        client_id, claims = self._needed(kept, "client_id"), claims_of(token)
        for owner in (answer.owner("dhanClientId"), answer.owner("dhanClientId", claims)):
            if owner and not same_owner(owner, client_id):
                return answer.refused(
                    Refusal.OWNER,
                    "logged in another client than this account's. Nothing was stored: log in as "
                    "the one whose client ID is entered here.",
                )
        return Granted(
            values={"client_id": client_id, "access_token": token},
            owner=answer.owner("dhanClientId"),
            ends_at=moment_of(claims, "exp"),
        )

    def probe(self, granted: Granted) -> LoginRequest:
        """Return the request for the user's profile, which tells the plan, too."""
        return LoginRequest(
            method="GET",
            url=self._at(_API, "/v2/profile"),
            headers={
                "Accept": "application/json",
                "access-token": self._needed(granted.values, "access_token"),
                "dhanClientId": self._needed(granted.values, "client_id"),
            },
        )

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``probe``; without the plan for data the feed sends nothing."""
        answer = self._read(granted.values, status, headers, body)
        owner = answer.owner("dhanClientId")
        if not (answer.is_ok and owner):
            return _refusal(answer, of_token=True)
        if not same_owner(owner, granted.values.get("client_id", "")):
            return answer.refused(
                Refusal.OWNER, "says that this token is another client's. Nothing was stored."
            )
        plan = answer.said.get("dataPlan")
        is_known = isinstance(plan, str) and plan.strip() != ""
        is_active = is_known and str(plan).strip().lower() == "active"
        warning = (
            "The Data APIs are not subscribed at Dhan, so that no prices come: subscribe them at "
            "web.dhan.co."
        )
        return replace(
            granted,
            owner=owner,
            ends_at=moment_of(claims_of(granted.values.get("access_token", "")), "exp"),
            warning=warning if is_known and not is_active else "",
        )

    def _app(self, kept: Mapping[str, str]) -> Mapping[str, str]:
        return {
            "Accept": "application/json",
            "app_id": self._needed(kept, "app_id"),
            "app_secret": self._needed(kept, "app_secret"),
        }


def _refusal(answer: Answer, *, of_token: bool = False) -> Refused:
    """Return what an error means, by its code or else by its words."""
    words = answer.words("errorMessage", "message", "remarks")
    code = answer.code("errorCode")
    if code in _CODES:
        return answer.refused(*_CODES[code], words)
    if of_token and answer.status in (401, 403) and answer.said:
        return answer.refused(*_OLD_TOKEN, words)
    for pattern, (why, text) in _WORDS:
        if pattern.search(words):
            is_timed = why in (Refusal.BUSY, Refusal.SECOND_FACTOR)
            return answer.refused(
                why, text, words, wait_seconds=_WAIT_SECONDS if is_timed else None
            )
    if answer.status == 429 or answer.status >= 500 or not words:
        return answer.by_status(words)
    return answer.refused(
        Refusal.CODE, "did not take this login. Log in again, and sooner after the page.", words
    )
