"""Angel One's login (SmartAPI) as the local exchange plays it: PIN and TOTP, or a publisher key."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import time as time_of_day
from ipaddress import ip_address
from urllib.parse import urlsplit

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.pages import message_page
from brokers.simulator.login.people import PEOPLE, Person
from brokers.simulator.login.server import Answer, Call, html, json, text
from brokers.simulator.login.tokens import Issued, daily_end, jwt

__all__ = ["AngelLogin"]

_END = time_of_day(5)
_USER = "/rest/auth/angelbroking/user/v1/loginByPassword"
_RENEW = "/rest/auth/angelbroking/jwt/v1/generateTokens"
_PROFILE = "/rest/secure/angelbroking/user/v1/getProfile"
_LOGOUT = "/rest/secure/angelbroking/user/v1/logout"
_HEADERS = ("x-usertype", "x-sourceid", "x-clientlocalip", "x-clientpublicip", "x-macaddress")
LOGINS_A_MINUTE = 5
_INVALID = json({"success": False, "message": "Invalid Token", "errorCode": "AG8001", "data": ""})
_USE_MPIN = "LoginByPassword is not allowed. Please switch to Login by MPIN now."


class AngelLogin(LoginDesk):
    """Tokens until five in the morning; refusals come with HTTP 200. See ``LoginDesk``."""

    broker = "Angel One"
    people = tuple(Person(each.user_id, each.pin[:4], each.totp_secret) for each in PEOPLE)

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # those of the base
        self._logins: list[float] = []  # when somebody logged in, within the last minute
        self.is_publisher = True  # whether the app's key is of that kind, which alone has a page
        self._renewals: dict[str, str] = {}  # refresh token -> its JWT; each works once

    def set_publisher(self, is_publisher: bool) -> None:
        """Let the app's key be of the kind Publisher, or of the kind Trading."""
        self.is_publisher = is_publisher

    def _routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return {
            ("PAGE", "/publisher-login"): self._answer,
            ("POST", _USER): self._login,
            ("POST", _RENEW): self._renew,
            ("GET", _PROFILE): self._profile,
            ("POST", _LOGOUT): self._logout,
        }

    def _busy(self) -> Answer:
        return text("Access denied because of exceeding access rate", 403)

    def _closed(self) -> Answer:
        return _refused("AB1004", "Something Went Wrong, Please Try After Sometime")

    def _page(self, call: Call) -> Answer:
        if self.is_publisher:
            return super()._page(call)
        return html(message_page(self.broker, "This key is not of the kind Publisher."), 403)

    def _page_problem(self, call: Call) -> str:
        if call.asked("api_key") != self.app.key:
            return "Invalid API key."
        # Only https with a host's name: neither http, nor this machine, nor a bare address.
        parts = urlsplit(self.app.redirect)
        is_name = "." in (parts.hostname or "") and not _is_address(parts.hostname or "")
        return "" if parts.scheme == "https" and is_name else "Invalid redirect URI"

    def _allowed(self, call: Call, person: Person) -> str:
        made = self._made(person.user_id)
        values = {"auth_token": made["jwtToken"], "feed_token": made["feedToken"]}
        return self._back(self.app.redirect, values, call.asked("state"))

    def _denied(self, call: Call) -> str:
        return self._back(self.app.redirect, {}, call.asked("state"))

    def _login(self, call: Call) -> Answer:
        self._look_at(call)
        now = self.now()
        self._logins = [each for each in self._logins if now - each < 60] + [now]
        if len(self._logins) > LOGINS_A_MINUTE:
            self.record["logins too fast"] += 1
            return self._busy()
        if faulty := self._faulty():
            return faulty
        if call.headers.get("x-privatekey") != self.app.key:
            return _refused("AB1034", "Apps not found")
        given = {name: str(value) for name, value in call.json.items()}
        if len(given.get("password", "")) != 4 or not given.get("totp"):
            return _refused("AB7001", _USE_MPIN)
        found = self._person(
            given.get("clientcode", ""), given.get("password", ""), given.get("totp", "")
        )
        if found == "totp":
            return _refused("AB1050", "Invalid totp")
        if isinstance(found, str):
            return _refused("AB1007", "Invalid clientcode or PIN")
        return _granted(self._made(self._owner_told(found.user_id)))

    def _made(self, user_id: str) -> dict[str, str]:
        ends = daily_end(self.now(), _END)
        token = jwt({"username": user_id, "exp": int(ends), "iat": int(self.now())})
        feed = jwt({"username": user_id, "iat": int(self.now())})
        issued = Issued(user_id=user_id, key=self.app.key, ends=ends, feed_token=feed)
        self.tokens.add(token, issued)
        refresh = secrets.token_hex(16)
        self._renewals[refresh] = token
        if len(self._renewals) > 1000:
            del self._renewals[next(iter(self._renewals))]
        return {"jwtToken": token, "refreshToken": refresh, "feedToken": feed}

    def _renew(self, call: Call) -> Answer:
        """Give new tokens for a session that still lasts."""
        issued = self.tokens.of(_bearer(call))
        token = self._renewals.pop(str(call.json.get("refreshToken", "")), "")
        if issued is None or token != _bearer(call):
            return _refused("AB8051", "Refresh Token Expired")
        return _granted(self._made(issued.user_id))

    def _profile(self, call: Call) -> Answer:
        self._look_at(call)
        issued = self.tokens.of(_bearer(call))
        if issued is None:
            return _INVALID
        return _granted({"clientcode": issued.user_id, "name": "LOCAL TRADER", "broker": ""})

    def _logout(self, call: Call) -> Answer:
        """Take leave; what was given works on, as it was seen to."""
        return _INVALID if self.tokens.of(_bearer(call)) is None else _granted("")

    def _look_at(self, call: Call) -> None:
        if call.query:
            self.record["secrets in a query"] += 1
        if missing := [name for name in _HEADERS if name not in call.headers]:
            self.record[f"without {', '.join(missing)}"] += 1


def _bearer(call: Call) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _granted(data: object) -> Answer:
    return json({"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def _refused(code: str, message: str) -> Answer:
    return json({"status": False, "message": message, "errorcode": code, "data": None})
