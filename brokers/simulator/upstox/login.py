"""Upstox' login as the local exchange plays it: authorization code, Analytics Token, profile."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from datetime import time as time_of_day
from urllib.parse import parse_qsl

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import PEOPLE, Person
from brokers.simulator.login.server import Answer, Call, json
from brokers.simulator.login.tokens import Issued, daily_end

__all__ = ["UpstoxLogin"]

_END = time_of_day(3, 30)
YEAR_SECONDS = 365 * 24 * 3600.0


class UpstoxLogin(LoginDesk):
    """A code in the browser, a token for it, and tokens of a year. See ``LoginDesk``."""

    broker = "Upstox"

    def make_analytics_token(self, user_id: str = PEOPLE[0].user_id) -> str:
        """Return a token of a year; it ends the one before. Raises ValueError for nobody's."""
        if user_id not in {each.user_id for each in self.people}:
            raise ValueError(f"nobody here is {user_id!r}")
        self.tokens.end_those(user_id=user_id, key="analytics")
        token = secrets.token_urlsafe(48)
        ends = self.now() + YEAR_SECONDS
        return self.tokens.add(token, Issued(user_id=user_id, key="analytics", ends=ends))

    def _routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return {
            ("PAGE", "/v2/login/authorization/dialog"): self._answer,
            ("POST", "/v2/login/authorization/token"): self._token,
            ("GET", "/v2/user/profile"): self._profile,
            ("GET", "/v3/feed/market-data-feed/authorize"): self._authorize,
            ("DELETE", "/v2/logout"): self._logout,
        }

    def _busy(self) -> Answer:
        return _error(429, "UDAPI10005", "Too Many Request Sent")

    def _closed(self) -> Answer:
        return _error(503, "UDAPI100074", "The service is accessible from 5:30 AM to 12:00 AM.")

    def _page_problem(self, call: Call) -> str:
        is_known = call.asked("client_id") == self.app.key
        wanted = self.app.redirect or call.asked("redirect_uri")
        if not is_known or call.asked("redirect_uri") != wanted:
            return (
                "UDAPI100068: Check your 'client_id' and 'redirect_uri'; one or both are incorrect."
            )
        if call.asked("response_type") != "code":
            return "The response_type is missing."
        return ""

    def _allowed(self, call: Call, person: Person) -> str:
        redirect = call.asked("redirect_uri")
        code = self._code_for(person, redirect)
        return self._back(redirect, {"code": code}, call.asked("state"))

    def _denied(self, call: Call) -> str:
        return self._back(call.asked("redirect_uri"), {}, call.asked("state"))

    def _token(self, call: Call) -> Answer:
        given = dict(parse_qsl(call.body.decode("utf-8", "replace")))
        if call.content_type != "application/x-www-form-urlencoded":
            self.record["wrong content type"] += 1
        issued = self.codes.take(given.get("code", ""), self.now())
        if faulty := self._faulty():
            return faulty
        if given.get("grant_type") != "authorization_code":
            return _error(400, "UDAPI100038", "Invalid input passed to the API")
        keys = (given.get("client_id"), given.get("client_secret"))
        if keys != (self.app.key, self.app.secret):
            return _error(401, "UDAPI100016", "Invalid Credentials")
        is_same = issued is not None and given.get("redirect_uri") == issued.redirect
        if issued is None or not is_same:
            return _error(401, "UDAPI100057", "Invalid Auth code")
        token = self.tokens.add(
            secrets.token_urlsafe(48),
            Issued(user_id=issued.user_id, key=self.app.key, ends=daily_end(self.now(), _END)),
        )
        return json(
            {
                "email": "trader@example.com",
                "exchanges": ["NSE", "NFO", "BSE"],
                "broker": "UPSTOX",
                "user_id": issued.user_id,
                "user_name": "Local Trader",
                "is_active": True,
                "access_token": token,
                "extended_token": None,
            }
        )

    def _profile(self, call: Call) -> Answer:
        issued = self.tokens.of(_bearer(call))
        if issued is None:
            return _error(401, "UDAPI100050", "Invalid token used to access API")
        if issued.key == "analytics":
            return _error(403, "UDAPI100067", "This API is not permitted with the current token.")
        return json({"status": "success", "data": {"user_id": issued.user_id, "is_active": True}})

    def _authorize(self, call: Call) -> Answer:
        if self.tokens.of(_bearer(call)) is None:
            return _error(401, "UDAPI100050", "Invalid token used to access API")
        data = {"authorized_redirect_uri": "wss://local.invalid/feeder?code=1"}
        return json({"status": "success", "data": data})

    def _logout(self, call: Call) -> Answer:
        token = _bearer(call)
        if self.tokens.of(token) is None:
            return _error(401, "UDAPI100050", "Invalid token used to access API")
        self.tokens.end(token)
        return json({"status": "success", "data": True})


def _bearer(call: Call) -> str:
    scheme, _, token = call.headers.get("authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


def _error(status: int, code: str, message: str) -> Answer:
    error = {"errorCode": code, "error_code": code, "message": message, "property_path": None}
    return json({"status": "error", "errors": [error]}, status)
