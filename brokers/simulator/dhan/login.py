"""Dhan's login as the local exchange plays it: PIN and TOTP, or a consent in the browser."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import ClassVar

from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import PEOPLE, Person
from brokers.simulator.login.server import Answer, Call, json
from brokers.simulator.login.tokens import Codes, Issued, jwt
from brokers.times.market_clock import INDIA

__all__ = ["DhanLogin"]

LIFE_SECONDS = 24 * 3600.0
BETWEEN_TOKENS_SECONDS = 120.0
CONSENTS_A_DAY = 25
_WEB = "web"  # stands for the app of a token that was made at Dhan's site
_INVALID = "Client ID or user generated access token is invalid or expired."


class DhanLogin(LoginDesk):
    """Tokens of 24 hours, one at a time for a client. See ``LoginDesk``."""

    broker = "Dhan"
    query_secrets: ClassVar = {
        "/login/consentApp-login": frozenset({"consentAppId"}),
        "/app/consumeApp-consent": frozenset({"tokenId"}),
        "/app/generateAccessToken": frozenset({"pin", "totp"}),
    }
    people = tuple(
        Person(user_id, each.pin, each.totp_secret)
        for user_id, each in zip(("1000000001", "1000000002"), PEOPLE, strict=True)
    )

    def __init__(self, **options: object) -> None:
        super().__init__(**options)  # type: ignore[arg-type]  # those of the base
        self.data_plan = "Active"  # what the profile says of the Data APIs
        self._consents = Codes()  # by the name that the browser is sent away with
        self._consents_made: Counter[date] = Counter()  # by day in India
        self._made_at: dict[str, float] = {}  # when a client's last token was made

    def _routes(self) -> Mapping[tuple[str, str], Callable[[Call], Answer]]:
        return {
            ("PAGE", "/login/consentApp-login"): self._answer,
            ("POST", "/app/generate-consent"): self._consent,
            ("GET", "/app/consumeApp-consent"): self._consume,
            ("POST", "/app/consumeApp-consent"): self._consume,
            ("POST", "/app/generateAccessToken"): self._unattended,
            ("GET", "/v2/profile"): self._profile,
            ("GET", "/v2/RenewToken"): self._renew,
        }

    def _page_problem(self, call: Call) -> str:
        consent = self._consents.peek(call.asked("consentAppId"), self.now())
        return "" if consent else "This consent is not known, was used, or is too old."

    def _allowed(self, call: Call, person: Person) -> str:
        consent = self._consents.take(call.asked("consentAppId"), self.now())
        if consent is None:
            return self._denied(call)
        return self._back(self.app.redirect, {"tokenId": self._code_for(person)})

    def _denied(self, call: Call) -> str:
        return self._back(self.app.redirect, {"status": "cancelled"})

    def _busy(self) -> Answer:
        return _error(200, "Token can be generated once every 2 minutes")

    def _closed(self) -> Answer:
        return _error(503, "Closed for the night")

    def _is_app(self, call: Call) -> bool:
        given = (call.headers.get("app_id"), call.headers.get("app_secret"))
        return given == (self.app.key, self.app.secret)

    def _consent(self, call: Call) -> Answer:
        if faulty := self._faulty():
            return faulty
        if not self._is_app(call):
            return _error(400, "Invalid app_id or app_secret")
        today = datetime.fromtimestamp(self.now(), INDIA).date()
        self._consents_made[today] += 1
        if self._consents_made[today] > CONSENTS_A_DAY:
            return _error(429, "Too many consents")
        issued = Issued(user_id=call.asked("client_id"), key=self.app.key, ends=self.now() + 300)
        name = self._consents.make(issued, secrets.token_hex(12))
        return json({"consentAppId": name, "consentAppStatus": "GENERATED", "status": "success"})

    def _consume(self, call: Call) -> Answer:
        issued = self.codes.take(call.asked("tokenId"), self.now())
        if faulty := self._faulty():
            return faulty
        if not self._is_app(call):
            return _error(400, "Invalid app_id or app_secret")
        if issued is None:
            return _error(400, "Invalid or expired tokenId")
        return self._granted(issued.user_id)

    def _unattended(self, call: Call) -> Answer:
        if call.body:
            self.record["a body where none belongs"] += 1
        if faulty := self._faulty():
            return faulty
        user = call.asked("dhanClientId")
        if self.now() - self._made_at.get(user, -1e9) < BETWEEN_TOKENS_SECONDS:
            return self._busy()
        found = self._person(user, call.asked("pin"), call.asked("totp"))
        if isinstance(found, str):
            return _error(200, "Invalid Pin" if found == "pin" else "Invalid TOTP")
        return self._granted(self._owner_told(found.user_id))

    def set_data_plan(self, data_plan: str) -> None:
        """Let the profile say so of the Data APIs: ``Active``, or ``Deactive`` without them."""
        self.data_plan = data_plan

    def make_web_token(self, user_id: str = "1000000001") -> str:
        """Return a token as Dhan's site shows it for copying, the only kind that is renewed.

        Raises:
            ValueError: nobody here has that client ID.
        """
        if user_id not in {each.user_id for each in self.people}:
            raise ValueError(f"nobody here is {user_id!r}")
        return self._token(user_id, key=_WEB)

    def _granted(self, user_id: str) -> Answer:
        token = self._token(user_id)
        expiry = datetime.fromtimestamp(self.now() + LIFE_SECONDS, INDIA)
        return json(
            {
                "dhanClientId": user_id,
                "dhanClientName": "LOCAL TRADER",
                "dhanClientUcc": "CEFE4265",
                "givenPowerOfAttorney": False,
                "accessToken": token,
                "expiryTime": f"{expiry:%Y-%m-%dT%H:%M:%S}.000",
            }
        )

    def _token(self, user_id: str, key: str = "") -> str:
        ends = self.now() + LIFE_SECONDS
        self.tokens.end_those(user_id=user_id)  # one is active at a time
        claims = {"iss": "dhan", "exp": int(ends), "iat": int(self.now())}
        token = jwt({**claims, "dhanClientId": user_id})
        self._made_at[user_id] = self.now()
        return self.tokens.add(token, Issued(user_id=user_id, key=key, ends=ends))

    def _profile(self, call: Call) -> Answer:
        issued = self.tokens.of(call.headers.get("access-token", ""))
        if issued is None:
            return _dh_error(401, "Invalid_Authentication", "DH-901", _INVALID)
        ends = datetime.fromtimestamp(issued.ends, INDIA)
        return json(
            {
                "dhanClientId": issued.user_id,
                "tokenValidity": f"{ends:%d/%m/%Y %H:%M}",
                "activeSegment": "Equity, Derivative, Currency, Commodity",
                "dataPlan": self.data_plan,
                "dataValidity": "2027-12-05 09:37:52.0",
            }
        )

    def _renew(self, call: Call) -> Answer:
        issued = self.tokens.of(call.headers.get("access-token", ""))
        if issued is None or call.headers.get("dhanclientid") != issued.user_id:
            return _dh_error(401, "Invalid_Authentication", "DH-901", _INVALID)
        if issued.key != _WEB:
            return _dh_error(400, "Input_Exception", "DH-905", "Only tokens of the web are renewed")
        token = self._token(issued.user_id, key=_WEB)
        expiry = datetime.fromtimestamp(self.now() + LIFE_SECONDS, INDIA)
        return json(
            {
                "dhanClientId": issued.user_id,
                "accessToken": token,
                "expiryTime": f"{expiry:%Y-%m-%dT%H:%M:%S}.000",
            }
        )

    def _wrong_method(self, call: Call) -> Answer:
        return _dh_error(400, "Input_Exception", "DH-905", "Missing required fields, bad values")


def _dh_error(status: int, kind: str, code: str, message: str) -> Answer:
    return json({"errorType": kind, "errorCode": code, "errorMessage": message}, status)


def _error(status: int, message: str) -> Answer:
    return json({"status": "error", "message": message}, status)
