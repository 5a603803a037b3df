"""Fyers' login: the official client's requests, every refusal, and a token that opens the feed."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.contract import Credentials
from brokers.exceptions import BrokerConfigError
from brokers.fyers.connection import FyersAdapter
from brokers.login.contract import Granted, LoginKind, Refusal
from brokers.testing import RecordingSink
from tests.unit.brokers.login.login_kit import (
    CALLBACK,
    STATE,
    answer_of,
    coded,
    granted,
    json_of,
    jwt,
    login,
    probed,
    refused,
)

KEPT = {"app_id": "FYAPP0001-100", "app_secret": "FYSECRET01"}
HASH = "ecd43987cdc764dd44b88b1287d1047ba20f7ee0e42ca99c548a9b8c70ca4a64"
ENDS = datetime(2026, 12, 1, 0, 30, tzinfo=UTC)
JWT = jwt(sub="access_token", fy_id="XA00001", hsm_key="k" * 64, exp=int(ENDS.timestamp()))
TOKEN = Granted(values={"access_token": f"FYAPP0001-100:{JWT}"})


def ok(token: object = JWT) -> dict[str, object]:
    said = {"s": "ok", "code": 200, "message": "", "access_token": token}
    return said | {"refresh_token": "ref-0001"}


def error(code: object, message: str = "Told so") -> dict[str, object]:
    return {"s": "error", "code": code, "message": message}


def test_only_the_browser_is_offered() -> None:
    assert list(login("fyers").fields) == [LoginKind.BROWSER]


def test_the_page_is_the_official_clients() -> None:
    assert login("fyers").page(KEPT, state=STATE, redirect_uri=CALLBACK) == (
        "https://api-t1.fyers.in/api/v3/generate-authcode?client_id=FYAPP0001-100"
        "&redirect_uri=https%3A%2F%2F127.0.0.1%3A8000%2Fcb&response_type=code&state=st-1"
    )


def test_the_exchange_is_the_official_clients() -> None:
    request = login("fyers").exchange(KEPT, "fyauthcode1", CALLBACK)
    assert request.method == "POST"
    assert request.url == "https://api-t1.fyers.in/api/v3/validate-authcode"
    assert json_of(request) == {
        "grant_type": "authorization_code",
        "appIdHash": HASH,
        "code": "fyauthcode1",
    }
    assert "Authorization" not in request.headers


def test_the_hash_is_the_documented_one() -> None:
    kept = {"app_id": "app_id", "app_secret": "app_secret"}
    told = json_of(login("fyers").exchange(kept, "c", CALLBACK))["appIdHash"]
    assert told == "7c7120d2b5004f8de22d8dc2da0453b4d7e6211e37a4108b8371266ecff00498"
    assert told == hashlib.sha256(b"app_id:app_secret").hexdigest()


def test_the_code_of_a_return_is_the_auth_code_and_not_the_status() -> None:
    query = {"s": "ok", "code": "200", "message": "", "auth_code": "fyauthcode1", "state": STATE}
    code = coded(login("fyers").callback(query, KEPT))
    assert (code.value, code.state) == ("fyauthcode1", STATE)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"s": "error", "code": "-99", "auth_code": "x"}, Refusal.DECLINED),
        ({"s": "ok", "code": "200"}, Refusal.DECLINED),
        ({"s": "ok", "auth_code": ""}, Refusal.CODE),
        ({"s": "ok", "auth_code": "a b"}, Refusal.CODE),
    ],
)
def test_a_return_without_an_auth_code_is_refused(query: dict[str, str], why: Refusal) -> None:
    result = login("fyers").callback(query | {"state": STATE}, KEPT)
    refused(result, why)
    assert result.state == STATE


def test_a_declined_login_tells_fyers_words_on_one_short_line() -> None:
    query = {"s": "error", "message": "user\ncancelled" + "x" * 500, "state": STATE}
    words = refused(login("fyers").callback(query, KEPT), Refusal.DECLINED)
    assert "user cancelled" in words


def test_an_answer_fills_the_feeds_credential() -> None:
    result = granted(answer_of("fyers", KEPT, ok()))
    assert result.values == TOKEN.values
    assert (result.owner, result.ends_at) == ("XA00001", ENDS)
    adapter = FyersAdapter(sink=RecordingSink())
    assert adapter.handshake(Credentials(result.values)).first_messages


@pytest.mark.parametrize("token", [jwt(exp=1), jwt(hsm_key="", exp=1), jwt(hsm_key=5)])
def test_a_token_without_the_feeds_key_is_refused_on_arrival(token: str) -> None:
    refused(answer_of("fyers", KEPT, ok(token)), Refusal.PLAN)


@pytest.mark.parametrize("token", ["", None, 5, ["x"], "a b"])
def test_an_incomplete_answer_grants_nothing(token: Any) -> None:
    refused(answer_of("fyers", KEPT, ok(token)), Refusal.UNREADABLE)


@pytest.mark.parametrize(
    ("said", "status", "why", "told"),
    [
        (error(-352, "Invalid app id"), 400, Refusal.SECRET, "secret"),
        (error(-50, "invalid appIdHash"), 400, Refusal.SECRET, "secret"),
        (error(-16, "Could not authenticate"), 401, Refusal.CODE, "Log in again"),
        (error(-8, "expired"), 400, Refusal.CODE, "Log in again"),
        (error("-17", "expired"), 403, Refusal.CODE, "Log in again"),
        (error(-501, "Something new"), 400, Refusal.CODE, "Something new"),
        (error(-1, "invalid auth code"), 200, Refusal.CODE, "Log in again"),
        (error(-429, "request limit reached"), 429, Refusal.BUSY, "Wait"),
        (error(-429, "request limit reached"), 400, Refusal.BUSY, "Wait"),
        (error(-1, "request limit reached"), 429, Refusal.BUSY, "Wait"),
        (error(-99, "internal"), 500, Refusal.DOWN, "later"),
        (error(None, ""), 400, Refusal.CODE, "Log in again"),
        (ok(), 503, Refusal.DOWN, "later"),
    ],
)
def test_refusals_say_what_mends_them(
    said: dict[str, object], status: int, why: Refusal, told: str
) -> None:
    assert told in refused(answer_of("fyers", KEPT, said, status), why)


def test_a_probe_names_the_app_and_tells_the_owner() -> None:
    request = login("fyers").probe(TOKEN)
    assert (request.method, request.url) == ("GET", "https://api-t1.fyers.in/api/v3/profile")
    assert request.headers["Authorization"] == f"FYAPP0001-100:{JWT}"
    assert request.headers["version"] == "3"
    said = {"s": "ok", "code": 200, "data": {"fy_id": "XA00001", "name": "A B"}}
    result = granted(probed("fyers", TOKEN, said))
    assert (result.owner, result.ends_at, result.values) == ("XA00001", ENDS, TOKEN.values)


@pytest.mark.parametrize("code", [-8, -15, -16, -17, -1])
def test_an_old_token_is_refused_at_the_probe(code: int) -> None:
    words = refused(probed("fyers", TOKEN, error(code), 401), Refusal.SECRET)
    assert "access token" in words
    assert JWT not in words


def test_a_token_without_its_app_cannot_be_tried() -> None:
    with pytest.raises(BrokerConfigError, match="APPID:token") as refusal:
        login("fyers").probe(Granted(values={"access_token": JWT}))
    assert JWT not in str(refusal.value)
