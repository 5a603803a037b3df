"""A client of the local exchange's logins that knows nothing of the product: plain HTTP."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import App
from brokers.simulator.runner import LOGINS
from tests.fix_simulator import CONTROL_TOKEN, OPENED_S

__all__ = ["APP", "CALLBACK", "PAGES", "Client", "angel_headers", "client_at", "code_and_state"]

CALLBACK = "https://pool.example/callback/"
APP = App("test-app", "test-secret", CALLBACK)
_STATE = "state-1"
# Where one logs in, what is asked for there, and the name of the code that comes back.
PAGES: dict[str, tuple[str, dict[str, str], str]] = {
    "zerodha": (
        "/connect/login",
        {"api_key": APP.key, "v": "3", "redirect_params": f"state={_STATE}"},
        "request_token",
    ),
    "upstox": (
        "/v2/login/authorization/dialog",
        {
            "response_type": "code",
            "client_id": APP.key,
            "redirect_uri": CALLBACK,
            "state": _STATE,
        },
        "code",
    ),
    "fyers": (
        "/api/v3/generate-authcode",
        {
            "client_id": APP.key,
            "redirect_uri": CALLBACK,
            "response_type": "code",
            "state": _STATE,
        },
        "auth_code",
    ),
    "dhan": ("/login/consentApp-login", {}, "tokenId"),
    "angel": ("/publisher-login", {"api_key": APP.key, "state": _STATE}, "auth_token"),
}


class Clock:
    """Unix seconds that stand still, but for a period of TOTP between two logins."""

    def __init__(self, now: float = OPENED_S) -> None:
        self.now = now
        self.is_fresh = True

    def __call__(self) -> float:
        return self.now

    def next_code(self) -> None:
        self.now += 0 if self.is_fresh else 30
        self.is_fresh = False


class Client:
    """Requests to one desk."""

    def __init__(
        self, broker: str, desk: LoginDesk, http: httpx2.AsyncClient, clock: Clock
    ) -> None:
        self.broker, self.desk, self.http, self.clock = broker, desk, http, clock

    async def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return await self.http.request(method, f"{self.desk.url}{path}", **options)

    async def fill_in(
        self, *, who: int = 0, answer: str = "allow", query: Mapping[str, str] | None = None
    ) -> httpx2.Response:
        """Open the login page and send its form."""
        path, asked, _ = PAGES[self.broker]
        if self.broker == "dhan" and query is None:
            query = {"consentAppId": (await self.consent()).json()["consentAppId"]}
        given = asked if query is None else query
        page = await self.send("GET", path, params=given)
        if page.status_code != 200:
            return page
        person = self.desk.people[who]
        self.clock.next_code()
        form = {
            "user": person.user_id,
            "pin": person.pin,
            "totp": self.desk.totp(person.user_id),
            "answer": answer,
        }
        return await self.send("POST", path, params=given, data=form)

    async def code(self, *, who: int = 0) -> str:
        """Log in and return the code."""
        back = code_and_state(await self.fill_in(who=who))
        return back[PAGES[self.broker][2]]

    async def consent(self, **headers: str) -> httpx2.Response:
        """Ask Dhan for a consent."""
        given = {"app_id": APP.key, "app_secret": APP.secret} | headers
        query = {"client_id": self.desk.people[0].user_id}
        return await self.send("POST", "/app/generate-consent", params=query, headers=given)

    async def exchange(
        self, code: str, secret: str = APP.secret, **changed: str
    ) -> httpx2.Response:
        """Turn a code into a token, as the broker's documents say."""
        if self.broker == "zerodha":
            proof = hashlib.sha256(f"{APP.key}{code}{secret}".encode()).hexdigest()
            form = {"api_key": APP.key, "request_token": code, "checksum": proof}
            return await self.send("POST", "/session/token", data=form | changed)
        if self.broker == "upstox":
            form = {
                "code": code,
                "client_id": APP.key,
                "client_secret": secret,
                "redirect_uri": CALLBACK,
                "grant_type": "authorization_code",
            }
            return await self.send("POST", "/v2/login/authorization/token", data=form | changed)
        if self.broker == "fyers":
            proof = hashlib.sha256(f"{APP.key}:{secret}".encode()).hexdigest()
            body = {"grant_type": "authorization_code", "appIdHash": proof, "code": code}
            return await self.send("POST", "/api/v3/validate-authcode", json=body | changed)
        headers = {"app_id": APP.key, "app_secret": secret}
        query = {"tokenId": code}
        return await self.send("GET", "/app/consumeApp-consent", params=query, headers=headers)

    async def by_pin(self, *, who: int = 0, **changed: str) -> httpx2.Response:
        """Log in by PIN and TOTP, at Angel One or Dhan."""
        person = self.desk.people[who]
        self.clock.next_code()
        totp = self.desk.totp(person.user_id)
        if self.broker == "dhan":
            query = {"dhanClientId": person.user_id, "pin": person.pin, "totp": totp}
            return await self.send("POST", "/app/generateAccessToken", params=query | changed)
        body = {"clientcode": person.user_id, "password": person.pin, "totp": totp}
        path = "/rest/auth/angelbroking/user/v1/loginByPassword"
        key = changed.pop("key", APP.key)
        return await self.send("POST", path, json=body | changed, headers=angel_headers(key))

    async def token(self) -> str:
        """Log in and return the token."""
        if self.broker == "angel":
            return str((await self.by_pin()).json()["data"]["jwtToken"])
        granted = (await self.exchange(await self.code())).json()
        granted = granted.get("data", granted)
        return str(granted.get("access_token") or granted["accessToken"])

    async def profile(self, token: str) -> httpx2.Response:
        """Ask whose a token is."""
        path, headers = {
            "zerodha": ("/user/profile", {"Authorization": f"token {APP.key}:{token}"}),
            "upstox": ("/v2/user/profile", {"Authorization": f"Bearer {token}"}),
            "fyers": ("/api/v3/profile", {"Authorization": f"{APP.key}:{token}"}),
            "dhan": ("/v2/profile", {"access-token": token}),
            "angel": (
                "/rest/secure/angelbroking/user/v1/getProfile",
                {**angel_headers(), "Authorization": f"Bearer {token}"},
            ),
        }[self.broker]
        return await self.send("GET", path, headers=headers)

    async def logout(self, token: str) -> httpx2.Response:
        if self.broker == "zerodha":
            query = {"api_key": APP.key, "access_token": token}
            return await self.send("DELETE", "/session/token", params=query)
        if self.broker == "upstox":
            headers = {"Authorization": f"Bearer {token}"}
            return await self.send("DELETE", "/v2/logout", headers=headers)
        headers = {"Authorization": f"{APP.key}:{token}"}
        return await self.send("POST", "/api/v3/logout", headers=headers)


def angel_headers(key: str = APP.key) -> dict[str, str]:
    return {
        "X-UserType": "USER",
        "X-SourceID": "WEB",
        "X-ClientLocalIP": "127.0.0.1",
        "X-ClientPublicIP": "127.0.0.1",
        "X-MACAddress": "00:00:00:00:00:00",
        "X-PrivateKey": key,
    }


def code_and_state(response: httpx2.Response) -> dict[str, str]:
    """Return what a browser is sent back with, and check where to."""
    assert response.status_code == 302, response.text
    location = response.headers["Location"]
    assert location.startswith(CALLBACK), location
    return dict(parse_qsl(urlsplit(location).query, keep_blank_values=True))


@asynccontextmanager
async def client_at(broker: str, now: float = OPENED_S) -> AsyncIterator[Client]:
    """A client at a broker's desk, whose clock stands still at ``now`` until a verb moves it."""
    clock = Clock(now)
    async with (
        LOGINS[broker](app=APP, control_token=CONTROL_TOKEN, clock=clock) as desk,
        httpx2.AsyncClient(trust_env=False, timeout=30) as http,
    ):
        yield Client(broker, desk, http, clock)
