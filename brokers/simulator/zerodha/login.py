"""Kite Connect's login as the local exchange plays it: https://kite.trade/docs/connect/v3/user/."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from datetime import time as time_of_day
from typing import ClassVar
from urllib.parse import parse_qsl

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import Person
from brokers.simulator.login.server import Answer, Call, json
from brokers.simulator.login.tokens import Issued, daily_end
from brokers.times.market_clock import INDIA

__all__ = ["KiteLogin"]

_END = time_of_day(6)


class KiteLogin(LoginDesk):
    """Request token in the browser, checksum for an access token, profile. See ``LoginDesk``."""

    broker = "Zerodha"
    query_secrets: ClassVar = {"/session/token": frozenset({"access_token"})}

    def _routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return {
            ("PAGE", "/connect/login"): self._answer,
            ("POST", "/session/token"): self._token,
            ("POST", "/session/refresh_token"): self._refresh,
            ("DELETE", "/session/token"): self._logout,
            ("GET", "/user/profile"): self._profile,
        }

    def _busy(self) -> Answer:
        return _error(429, "NetworkException", "Too many requests")

    def _closed(self) -> Answer:
        return _error(503, "NetworkException", "Kite is being made ready for the day.")

    def _page_problem(self, call: Call) -> str:
        if call.asked("v") != "3":
            return "The version of the login is missing."
        return "" if call.asked("api_key") == self.app.key else "Invalid `api_key`."

    def _allowed(self, call: Call, person: Person) -> str:
        carried = dict(parse_qsl(call.asked("redirect_params")))
        state = carried.pop("state", "")
        token = self._code_for(person, code=secrets.token_hex(16))
        values = {"action": "login", "type": "login", "status": "success", "request_token": token}
        return self._back(self.app.redirect, {**values, **carried}, state)

    def _denied(self, call: Call) -> str:
        return self._back(self.app.redirect, {"status": "cancelled"})

    def _token(self, call: Call) -> Answer:
        given = call.form
        if call.content_type != "application/x-www-form-urlencoded":
            self.record["wrong content type"] += 1
        code = given.get("request_token", "")
        text = f"{self.app.key}{code}{self.app.secret}"
        issued = self.codes.take(code, self.now())
        if faulty := self._faulty():
            return faulty
        if given.get("api_key") != self.app.key:
            return _error(400, "InputException", "Invalid `api_key`.")
        if given.get("checksum") != hashlib.sha256(text.encode()).hexdigest():
            return _error(400, "InputException", "Invalid `checksum`.")
        if issued is None:
            return _error(403, "TokenException", "Token is invalid or has expired.")
        token = secrets.token_hex(16)
        self.tokens.add(
            token,
            Issued(user_id=issued.user_id, key=self.app.key, ends=daily_end(self.now(), _END)),
        )
        made = datetime.fromtimestamp(self.now(), INDIA)
        return _success(
            {
                "user_id": issued.user_id,
                "user_name": "Local Trader",
                "api_key": self.app.key,
                "access_token": token,
                "public_token": secrets.token_hex(8),
                "refresh_token": "",
                "login_time": f"{made:%Y-%m-%d %H:%M:%S}",
            }
        )

    def _refresh(self, call: Call) -> Answer:
        self.record["renewal asked for"] += 1
        return _error(403, "PermissionException", "This app may not renew its token.")

    def _logout(self, call: Call) -> Answer:
        issued = self.tokens.of(call.asked("access_token"))
        if issued is None or issued.key != call.asked("api_key"):
            return _error(403, "TokenException", "Incorrect `api_key` or `access_token`.")
        self.tokens.end(call.asked("access_token"))
        return _success(True)

    def _profile(self, call: Call) -> Answer:
        scheme, _, words = call.headers.get("authorization", "").partition(" ")
        key, _, token = words.partition(":")
        issued = self.tokens.of(token)
        if scheme != "token" or issued is None or issued.key != key:
            return _error(403, "TokenException", "Incorrect `api_key` or `access_token`.")
        return _success(
            {"user_id": issued.user_id, "user_name": "Local Trader", "broker": "ZERODHA"}
        )


def _success(data: object) -> Answer:
    return json({"status": "success", "data": data})


def _error(status: int, kind: str, message: str) -> Answer:
    return json({"status": "error", "message": message, "error_type": kind}, status)
