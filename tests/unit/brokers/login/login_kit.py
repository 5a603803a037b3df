"""Small means of the tests of logins: what a request holds, what a server answers."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from brokers.login.contract import BrokerLogin, Code, Granted, LoginRequest, Refusal, Refused
from brokers.registry import login_of

__all__ = [
    "CALLBACK",
    "STATE",
    "answer_of",
    "coded",
    "form_of",
    "granted",
    "json_of",
    "jwt",
    "login",
    "probed",
    "query_of",
    "refused",
]

CALLBACK = "https://127.0.0.1:8000/cb"
STATE = "st-1"
DATE = {"Date": "Mon, 30 Nov 2026 09:00:00 GMT", "Content-Type": "application/json"}


def login(broker: str, base_url: str = "") -> BrokerLogin:
    found = login_of(broker, base_url)
    assert found is not None
    return found


def query_of(url: str) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(url).query, keep_blank_values=True, strict_parsing=True)


def form_of(request: LoginRequest) -> list[tuple[str, str]]:
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    return parse_qsl(request.content.decode("ascii"), keep_blank_values=True, strict_parsing=True)


def json_of(request: LoginRequest) -> Any:
    assert request.headers["Content-Type"] == "application/json"
    return json.loads(request.content)


def jwt(**claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


def _body(said: object) -> bytes:
    return said if isinstance(said, bytes) else json.dumps(said).encode()


def answer_of(
    broker: str, kept: dict[str, str], said: object, status: int = 200, retry_after: str = ""
) -> Granted | Refused:
    """Return what a login reads out of an answer to its exchange; ``said`` is JSON, or bytes."""
    headers = {**DATE, **({"Retry-After": retry_after} if retry_after else {})}
    return login(broker).answer(kept, status, headers, _body(said))


def probed(broker: str, values: Granted, said: object, status: int = 200) -> Granted | Refused:
    return login(broker).probed(values, status, DATE, _body(said))


def granted(result: Code | Granted | Refused) -> Granted:
    assert isinstance(result, Granted), result
    return result


def coded(result: Code | Granted | Refused) -> Code:
    assert isinstance(result, Code), result
    return result


def refused(result: object, why: Refusal) -> str:
    """Return the words of a refusal that has to be for ``why``."""
    assert isinstance(result, Refused), result
    assert result.why is why, result
    assert result.text.isprintable()
    assert result.text.endswith((".", "…")), result.text
    assert len(result.text) <= 500
    return result.text
