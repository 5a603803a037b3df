"""Fyers' login (API v3) as the local exchange plays it: auth code, token with the feed's key."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import Person
from brokers.simulator.login.server import Answer, Call, json
from brokers.simulator.login.tokens import Issued, jwt

__all__ = ["FyersLogin"]

LIFE_SECONDS = 18 * 3600.0


class FyersLogin(LoginDesk):
    """An ``auth_code`` in the browser, a JWT with ``hsm_key`` for it. See ``LoginDesk``."""

    broker = "Fyers"

    def _routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return {
            ("PAGE", "/api/v3/generate-authcode"): self._answer,
            ("POST", "/api/v3/validate-authcode"): self._token,
            ("POST", "/api/v3/validate-refresh-token"): self._refresh,
            ("GET", "/api/v3/profile"): self._profile,
            ("POST", "/api/v3/logout"): self._logout,
        }

    def _busy(self) -> Answer:
        return _error(429, -429, "request limit reached")

    def _closed(self) -> Answer:
        return _error(503, -500, "Closed for the night")

    def _page_problem(self, call: Call) -> str:
        if call.asked("client_id") != self.app.key:
            return "-352: Please provide a valid app id."
        wanted = self.app.redirect or call.asked("redirect_uri")
        if call.asked("redirect_uri") != wanted:
            return "-371: redirectUrl mismatch."
        return "" if call.asked("response_type") == "code" else "The response_type is missing."

    def _allowed(self, call: Call, person: Person) -> str:
        now = self.now()
        text = jwt({"sub": "auth_code", "iat": int(now), "exp": int(now) + 300})
        values = {"s": "ok", "code": "200", "auth_code": self._code_for(person, code=text)}
        return self._back(call.asked("redirect_uri"), values, call.asked("state"))

    def _denied(self, call: Call) -> str:
        values = {"s": "error", "code": "-99", "message": "The user has denied the request."}
        return self._back(call.asked("redirect_uri"), values, call.asked("state"))

    def _token(self, call: Call) -> Answer:
        given = call.json
        if call.content_type != "application/json":
            self.record["wrong content type"] += 1
        issued = self.codes.take(str(given.get("code", "")), self.now())
        if faulty := self._faulty():
            return faulty
        text = f"{self.app.key}:{self.app.secret}"
        if given.get("appIdHash") != hashlib.sha256(text.encode()).hexdigest():
            return _error(400, -352, "Please provide a valid app id hash")
        if issued is None or given.get("grant_type") != "authorization_code":
            return _error(400, -413, "Invalid auth code")
        ends, key = self.now() + LIFE_SECONDS, secrets.token_hex(16)
        claims = {"fy_id": issued.user_id, "hsm_key": key, "exp": int(ends)}
        token = jwt({**claims, "iat": int(self.now()), "sub": "access_token"})
        made = Issued(user_id=issued.user_id, key=self.app.key, ends=ends, feed_key=key)
        self.tokens.add(token, made)
        return json(
            {"s": "ok", "code": 200, "message": "", "access_token": token, "refresh_token": ""}
        )

    def _refresh(self, call: Call) -> Answer:
        self.record["refresh asked for"] += 1
        return _error(400, -501, "Refresh tokens are discontinued from 1st April 2026")

    def _profile(self, call: Call) -> Answer:
        issued, _ = self._shown(call)
        if issued is None:
            return self._refused(call)
        return json({"s": "ok", "code": 200, "message": "", "data": {"fy_id": issued.user_id}})

    def _logout(self, call: Call) -> Answer:
        issued, token = self._shown(call)
        if issued is None:
            return self._refused(call)
        self.tokens.end(token)
        return json({"s": "ok", "code": 200, "message": "you are successfully logged out"})

    def _shown(self, call: Call) -> tuple[Issued | None, str]:
        """Return what a request shows of itself: the login, if it lasts, and the token."""
        key, _, token = call.headers.get("authorization", "").partition(":")
        issued = self.tokens.of(token)
        return (None if issued is None or issued.key != key else issued), token

    def _refused(self, call: Call) -> Answer:
        if self.tokens.has_ended(self._shown(call)[1]):
            return _error(401, -8, "Your token has expired. Please generate a token")
        return _error(401, -17, "Could not authenticate the user")


def _error(status: int, code: int, message: str) -> Answer:
    return json({"s": "error", "code": code, "message": message}, status)
