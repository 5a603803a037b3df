"""Angel One's login (SmartAPI): by PIN and TOTP, or in the browser for a publisher's key. Pure.

The server asks for the addresses of the machine and is not known to look at them; the official
client sends the same ones from everywhere, and so does this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from typing import ClassVar, Final
from urllib.parse import urlsplit

from brokers.login.answers import Answer, returned, returned_state, same_owner
from brokers.login.base import LoginBase
from brokers.login.contract import (
    Granted,
    LoginField,
    LoginKind,
    LoginRequest,
    Refusal,
    Refused,
)
from brokers.login.requests import (
    JSON_HEADERS,
    NO_BLANKS,
    bare_token,
    is_token,
    json_request,
    with_query,
)
from brokers.login.totp import TOTP_HELP, TOTP_SECRET
from brokers.times.json_web_token import claims_of, moment_of

__all__ = ["AngelLogin"]

_API: Final = "https://apiconnect.angelone.in"
_SITE: Final = "https://smartapi.angelone.in"
_BEARER: Final = "Bearer "

_CLIENT_CODE: Final = LoginField(
    name="client_code",
    label="Client code",
    help_text="Your Angel One account.",
    pattern=r"[A-Za-z0-9]{1,32}",
)
_WRONG_PIN: Final = (
    Refusal.SECRET,
    "does not take the client code with this PIN. Enter the four digits of the app's PIN, which "
    "is no password of the web.",
)
_WRONG_TOTP: Final = (
    Refusal.SECOND_FACTOR,
    "does not take the TOTP code. Look at this machine's clock and at the TOTP secret.",
)
_WRONG_KEY: Final = (
    Refusal.SECRET,
    "does not know this API key. Enter the one of your app, which has to be of the right kind.",
)
_OLD_TOKEN: Final = (Refusal.SECRET, "does not take this token. Log in again.")
_DOWN: Final = (Refusal.DOWN, "cannot answer now. Try again later.")
# Error code -> what it means.
_CODES: Final[Mapping[str, tuple[Refusal, str]]] = {
    "AB1050": _WRONG_TOTP,
    "AB1000": _WRONG_PIN,
    "AB1002": _WRONG_PIN,
    "AB7001": _WRONG_PIN,
    "AB1034": _WRONG_KEY,
    "AB1006": (Refusal.PLAN, "has blocked this client. Ask Angel One why."),
    "AB1004": _DOWN,
    "AB2001": _DOWN,
    "AG8001": _OLD_TOKEN,
    "AG8002": _OLD_TOKEN,
    "AG8003": _OLD_TOKEN,
}
# What an error of another code says -> what it means; the first that is found counts.
_WORDS: Final[tuple[tuple[re.Pattern[str], tuple[Refusal, str]], ...]] = (
    (re.compile(r"\bm?pin\b|password|credential|client ?code", re.I), _WRONG_PIN),
    (re.compile(r"\btotp\b", re.I), _WRONG_TOTP),
    (re.compile(r"api ?key|private ?key|apps? not found", re.I), _WRONG_KEY),
    (re.compile(r"\btoken\b|session", re.I), _OLD_TOKEN),
)
# Too many requests are told by a plain text with status 403.
_TOO_MANY: Final = b"exceeding access rate"


class AngelLogin(LoginBase):
    """Angel One's login. See ``BrokerLogin``.

    The browser brings the tokens themselves, in its address: there is no exchange. Whether it
    brings the state back is not known.
    """

    label: ClassVar[str] = "Angel One"
    brokers: ClassVar[tuple[str, ...]] = ("angel",)
    fields: ClassVar[Mapping[LoginKind, tuple[LoginField, ...]]] = {
        LoginKind.UNATTENDED: (
            LoginField(
                name="api_key",
                label="API key",
                help_text="Of your app. Logins by PIN and TOTP take a key of the kind Trading, "
                "logins in the browser one of the kind Publisher.",
                where=f"{_SITE}/",
                pattern=NO_BLANKS,
            ),
            _CLIENT_CODE,
            LoginField(
                name="pin",
                label="PIN",
                help_text="The four digits with which you open the app, no password.",
                is_secret=True,
                pattern=r"[0-9]{4}",
            ),
            LoginField(
                name=TOTP_SECRET,
                label="TOTP secret",
                help_text=TOTP_HELP,
                is_secret=True,
                where=f"{_SITE}/enable-totp",
            ),
        ),
        LoginKind.BROWSER: (
            LoginField(
                name="api_key",
                label="API key",
                help_text="Of an app of the kind Publisher; others are refused (HTTP 403).",
                where=f"{_SITE}/",
                pattern=NO_BLANKS,
            ),
            _CLIENT_CODE,
        ),
    }
    echoes_state: ClassVar[bool] = False

    def redirect_problem(self, redirect_uri: str) -> str:
        """Return why Angel One cannot come back to this address: it wants https and a name."""
        try:
            parts = urlsplit(redirect_uri)
            host = parts.hostname or ""
        except ValueError:
            host = ""
        if host and parts.scheme == "https" and _is_public_name(host):
            return ""
        return (
            "Angel One comes back to an https address with a public name only. Log in by PIN and "
            "TOTP instead, or set the public address of this installation."
        )

    def page(
        self, kept: Mapping[str, str], *, state: str, redirect_uri: str, prepared: str = ""
    ) -> str:
        """Return the URL of the publisher's login; it comes back to the app's own redirect URL."""
        query = {"api_key": self._needed(kept, "api_key")}
        if state:
            query["state"] = state
        return with_query(self._at(_SITE, "/publisher-login"), query)

    def callback(self, query: Mapping[str, str], kept: Mapping[str, str]) -> Granted | Refused:
        """Read what the browser came back with: the tokens, whose owner the probe tells."""
        state = returned_state(query)
        if "auth_token" not in query:
            return self._declined(state)
        jwt = bare_token(query["auth_token"])
        feed_token = returned(query, "feed_token")
        if not (is_token(jwt) and feed_token):
            return self._refused(
                Refusal.CODE,
                "sent the browser back without tokens that can be read. Nothing was stored: log "
                "in again.",
                state,
            )
        return self._granted(kept, jwt, feed_token, state)

    def exchange(self, kept: Mapping[str, str], code: str, redirect_uri: str) -> LoginRequest:
        """There is none: the browser brings the tokens themselves."""
        raise NotImplementedError("Angel One's browser login brings the tokens themselves")

    def unattended(self, kept: Mapping[str, str], totp: str) -> LoginRequest:
        """Return the request of a login by PIN and TOTP."""
        values = {
            "clientcode": self._needed(kept, "client_code"),
            "password": self._needed(kept, "pin"),
            "totp": totp,
        }
        return json_request(
            self._at(_API, "/rest/auth/angelbroking/user/v1/loginByPassword"),
            values,
            _headers(self._needed(kept, "api_key")),
        )

    def answer(
        self, kept: Mapping[str, str], status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``unattended``: a refusal comes as HTTP 200, too."""
        answer = self._read(kept, status, headers, body)
        data = answer.inside("data")
        said = data.get("jwtToken")
        jwt = bare_token(said) if isinstance(said, str) else ""
        feed_token = answer.token("feedToken", data)
        if answer.is_ok and _is_true(answer) and is_token(jwt) and feed_token:
            return self._granted(kept, jwt, feed_token)
        return _refusal(answer, body)

    def probe(self, granted: Granted) -> LoginRequest:
        """Return the request for the user's profile."""
        jwt = bare_token(granted.values.get("access_token", ""))
        token = self._needed({"access_token": jwt}, "access_token")
        return LoginRequest(
            method="GET",
            url=self._at(_API, "/rest/secure/angelbroking/user/v1/getProfile"),
            headers={
                **JSON_HEADERS,
                **_headers(self._needed(granted.values, "api_key")),
                "Authorization": f"{_BEARER}{token}",
            },
        )

    def probed(
        self, granted: Granted, status: int, headers: Mapping[str, str], body: bytes
    ) -> Granted | Refused:
        """Read the answer to ``probe``."""
        answer = self._read(granted.values, status, headers, body)
        owner = answer.owner("clientcode", answer.inside("data"))
        if not (answer.is_ok and _is_true(answer) and owner):
            return _refusal(answer, body)
        if not same_owner(owner, granted.values.get("client_code", "")):
            return self._other_owner()
        ends_at = moment_of(claims_of(granted.values.get("access_token", "")), "exp")
        return replace(granted, owner=owner, ends_at=ends_at)

    def _granted(
        self, kept: Mapping[str, str], jwt: str, feed_token: str, state: str | None = None
    ) -> Granted | Refused:
        client_code, claims = self._needed(kept, "client_code"), claims_of(jwt)
        owner = Answer(self.label, 200, {}, claims).owner("username")
        if owner and not same_owner(owner, client_code):
            return replace(self._other_owner(), state=state)
        values = {
            "api_key": self._needed(kept, "api_key"),
            "client_code": client_code,
            # As the official client keeps it and sends it to the feed.
            "access_token": f"{_BEARER}{jwt}",
            "feed_token": feed_token,
        }
        return Granted(values=values, owner=owner, ends_at=moment_of(claims, "exp"), state=state)

    def _other_owner(self) -> Refused:
        return self._refused(
            Refusal.OWNER,
            "logged in another client than this account's. Nothing was stored: log in as the one "
            "whose client code is entered here.",
        )


def _is_true(answer: Answer) -> bool:
    """Whether it says that it was done: ``status``, or ``success`` in newer answers."""
    return answer.said.get("status", answer.said.get("success")) is True


def _is_public_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return "." in host and not host.endswith((".localhost", ".local", ".internal"))
    return False


def _headers(api_key: str) -> Mapping[str, str]:
    return {
        "X-UserType": "USER",
        "X-SourceID": "WEB",
        "X-ClientLocalIP": "127.0.0.1",
        "X-ClientPublicIP": "106.193.147.98",
        # Locally administered, so that it is nobody's.
        "X-MACAddress": "02:00:00:00:00:01",
        "X-PrivateKey": api_key,
    }


def _refusal(answer: Answer, body: bytes) -> Refused:
    """Return what an error means; its code stands under two names, and the text of one is bare."""
    if answer.status == 403 and _TOO_MANY in body[:1024].lower():
        return answer.refused(Refusal.BUSY, "takes no more requests for now. Wait a while.")
    code = answer.code("errorcode") or answer.code("errorCode")
    words = answer.words("message")
    if code in _CODES:
        return answer.refused(*_CODES[code], words)
    if answer.status == 429 or answer.status >= 500 or _is_true(answer):
        return answer.by_status(words)
    for pattern, meaning in _WORDS:
        if pattern.search(words):
            return answer.refused(*meaning, words)
    return answer.by_status(f"{words} ({code})" if code else words)
