"""Dhan's login: by PIN and TOTP and by consent, refusals that come as success, and the plan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.exceptions import BrokerConfigError
from brokers.login.contract import Granted, LoginKind, Refusal, Refused
from brokers.login.totp import secret_key
from tests.unit.brokers.login.login_kit import (
    CALLBACK,
    STATE,
    answer_of,
    coded,
    granted,
    jwt,
    login,
    probed,
    query_of,
    refused,
)

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
BY_PIN = {"client_id": "1000000001", "pin": "123456", "totp_secret": SECRET}
BY_CONSENT = {"client_id": "1000000001", "app_id": "dapp0001", "app_secret": "dsecret1"}
ENDS = datetime(2026, 12, 1, 3, tzinfo=UTC)
JWT = jwt(iss="dhan", dhanClientId="1000000001", exp=int(ENDS.timestamp()))
ANSWER: dict[str, Any] = {
    "dhanClientId": "1000000001",
    "dhanClientName": "A B",
    "dhanClientUcc": "ABCD12345E",
    "givenPowerOfAttorney": False,
    "accessToken": JWT,
    "expiryTime": "2026-12-01T08:30:00.000",
}
TOKEN = Granted(values={"client_id": "1000000001", "access_token": JWT})
PROFILE: dict[str, Any] = {
    "dhanClientId": "1000000001",
    "tokenValidity": "01/12/2026 08:30",
    "activeSegment": "Equity",
    "dataPlan": "Active",
    "dataValidity": "2027-12-01 09:37:52.0",
}


def error(message: str) -> dict[str, object]:
    return {"status": "error", "message": message}


def api_error(code: str, message: str = "Told so") -> dict[str, object]:
    return {"errorType": "X", "errorCode": code, "errorMessage": message}


def test_both_kinds_are_offered_and_one_login_serves_all_feeds() -> None:
    of = login("dhan")
    assert list(of.fields) == [LoginKind.UNATTENDED, LoginKind.BROWSER]
    assert (of.echoes_state, of.attempt_seconds) == (False, 300)
    assert secret_key(BY_PIN["totp_secret"])


def test_the_unattended_login_is_the_official_clients() -> None:
    request = login("dhan").unattended(BY_PIN, "654321")
    assert request.method == "POST"
    assert request.url == (
        "https://auth.dhan.co/app/generateAccessToken"
        "?dhanClientId=1000000001&pin=123456&totp=654321"
    )
    assert request.content == b""
    assert "123456" not in f"{request!r} {request.place}"
    assert SECRET not in request.url


def test_the_consent_is_the_official_clients() -> None:
    request = login("dhan").prepare(BY_CONSENT, CALLBACK)
    assert request is not None
    assert (request.method, request.content) == ("POST", b"")
    assert request.url == "https://auth.dhan.co/app/generate-consent?client_id=1000000001"
    assert (request.headers["app_id"], request.headers["app_secret"]) == ("dapp0001", "dsecret1")


def prepared(said: bytes, status: int = 200) -> str | Refused:
    return login("dhan").prepared(status, {}, said)


def test_the_consent_is_the_page_to_go_to() -> None:
    said = b'{"consentAppId":"c-1","consentAppStatus":"GENERATED","status":"success"}'
    consent = prepared(said)
    assert consent == "c-1"
    page = login("dhan").page(BY_CONSENT, state=STATE, redirect_uri=CALLBACK, prepared="c-1")
    assert page == "https://auth.dhan.co/login/consentApp-login?consentAppId=c-1"
    with pytest.raises(BrokerConfigError, match="consent"):
        login("dhan").page(BY_CONSENT, state=STATE, redirect_uri=CALLBACK)


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        (b'{"status":"error","message":"Invalid app id or app secret"}', 400, Refusal.SECRET),
        (
            b'{"status":"error","message":"Invalid app_secret","consentAppId":"c"}',
            200,
            Refusal.SECRET,
        ),
        (b'{"status":"error","message":"Too many consents"}', 200, Refusal.BUSY),
        (b'{"status":"success","consentAppId":""}', 200, Refusal.UNREADABLE),
        (b'{"status":"success","consentAppId":7}', 200, Refusal.UNREADABLE),
        (b"<html>", 200, Refusal.UNREADABLE),
        (b"", 502, Refusal.DOWN),
    ],
)
def test_a_refused_consent_sends_nobody_away(said: bytes, status: int, why: Refusal) -> None:
    refused(prepared(said, status), why)


def test_a_return_brings_a_code_and_no_state() -> None:
    code = coded(login("dhan").callback({"tokenId": "tok-id-1"}, BY_CONSENT))
    assert (code.value, code.state) == ("tok-id-1", None)
    refused(login("dhan").callback({}, BY_CONSENT), Refusal.DECLINED)
    refused(login("dhan").callback({"tokenId": "a b"}, BY_CONSENT), Refusal.CODE)


def test_the_exchange_is_the_official_clients() -> None:
    request = login("dhan").exchange(BY_CONSENT, "tok-id-1", CALLBACK)
    assert (request.method, request.content) == ("GET", b"")
    assert request.url == "https://auth.dhan.co/app/consumeApp-consent?tokenId=tok-id-1"
    assert (request.headers["app_id"], request.headers["app_secret"]) == ("dapp0001", "dsecret1")
    odd = login("dhan").exchange(BY_CONSENT, "a&b=c#d", CALLBACK)
    assert query_of(odd.url) == [("tokenId", "a&b=c#d")]


@pytest.mark.parametrize("kept", [BY_PIN, BY_CONSENT])
def test_an_answer_fills_the_feeds_credential(kept: dict[str, str]) -> None:
    result = granted(answer_of("dhan", kept, ANSWER))
    assert result.values == TOKEN.values
    assert (result.owner, result.ends_at) == ("1000000001", ENDS)


@pytest.mark.parametrize(
    "changes",
    [
        {"dhanClientId": "1000000002"},
        {"dhanClientId": 1000000002},
        {"dhanClientId": None, "accessToken": jwt(dhanClientId="1000000002", exp=1)},
    ],
)
def test_another_client_is_refused(changes: dict[str, Any]) -> None:
    refused(answer_of("dhan", BY_PIN, ANSWER | changes), Refusal.OWNER)


@pytest.mark.parametrize("token", ["", None, 5, "opaque", "a.b", "a.b.c.d", "a.b c.d"])
def test_what_is_no_token_is_no_success(token: Any) -> None:
    refused(answer_of("dhan", BY_PIN, ANSWER | {"accessToken": token}), Refusal.UNREADABLE)


@pytest.mark.parametrize(
    ("said", "status", "why", "told"),
    [
        (error("Invalid Pin"), 200, Refusal.SECRET, "PIN"),
        (error("Invalid TOTP"), 200, Refusal.SECOND_FACTOR, "clock"),
        (error("Invalid Pin or TOTP"), 200, Refusal.SECRET, "PIN"),
        (error("Token can be generated once every 2 minutes"), 200, Refusal.BUSY, "two minutes"),
        (error("Invalid Client Id"), 200, Refusal.SECRET, "client ID"),
        (error("Invalid token id"), 400, Refusal.CODE, "Log in again"),
        (error("Something new"), 200, Refusal.CODE, "Something new"),
        (error(""), 200, Refusal.UNREADABLE, "again"),
        (api_error("DH-901"), 401, Refusal.SECRET, "access token"),
        (api_error("DH-904"), 429, Refusal.BUSY, "Wait"),
        (api_error("DH-909"), 400, Refusal.DOWN, "later"),
        (ANSWER, 500, Refusal.DOWN, "later"),
        (error("Invalid Pin"), 500, Refusal.SECRET, "PIN"),
    ],
)
def test_refusals_say_what_mends_them(
    said: dict[str, Any], status: int, why: Refusal, told: str
) -> None:
    assert told in refused(answer_of("dhan", BY_PIN, said, status), why)


@pytest.mark.parametrize("message", ["Invalid TOTP", "Only once in 2 minutes"])
def test_a_second_try_waits_for_two_minutes(message: str) -> None:
    result = answer_of("dhan", BY_PIN, error(message))
    assert isinstance(result, Refused)
    assert result.retry_after_seconds == 120
    told = answer_of("dhan", BY_PIN, error("Only once in 2 minutes"), retry_after="60")
    assert isinstance(told, Refused)
    assert told.retry_after_seconds == 60


def test_a_probe_tells_the_owner_and_warns_of_a_missing_plan() -> None:
    request = login("dhan").probe(TOKEN)
    assert (request.method, request.url) == ("GET", "https://api.dhan.co/v2/profile")
    assert request.headers["access-token"] == JWT
    assert request.headers["dhanClientId"] == "1000000001"
    result = granted(probed("dhan", TOKEN, PROFILE))
    assert (result.owner, result.ends_at, result.warning) == ("1000000001", ENDS, "")
    for plan in ("Deactive", "Inactive"):
        assert "subscribe" in granted(probed("dhan", TOKEN, PROFILE | {"dataPlan": plan})).warning
    for unknown in (None, "", 5):
        assert granted(probed("dhan", TOKEN, PROFILE | {"dataPlan": unknown})).warning == ""


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        (api_error("DH-901", "Client ID or user generated access token is invalid"), 401, "SECRET"),
        (api_error("DH-999"), 401, "SECRET"),
        (api_error("DH-902"), 403, "PLAN"),
        ({"dhanClientId": "1000000002"}, 200, "OWNER"),
        ({}, 200, "UNREADABLE"),
    ],
)
def test_an_old_token_or_anothers_is_refused_at_the_probe(
    said: dict[str, object], status: int, why: str
) -> None:
    assert JWT not in refused(probed("dhan", TOKEN, said, status), Refusal[why])
