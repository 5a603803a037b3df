"""Angel One's login: by PIN and TOTP and at the publisher's page, and refusals that say success."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.angel.connection import AngelAdapter
from brokers.contract import Credentials
from brokers.login.contract import Granted, LoginKind, Refusal
from brokers.testing import RecordingSink
from tests.unit.brokers.login.login_kit import (
    STATE,
    answer_of,
    granted,
    json_of,
    jwt,
    login,
    probed,
    query_of,
    refused,
)

KEPT = {
    "api_key": "angelkey1",
    "client_code": "A12345",
    "pin": "1234",
    "totp_secret": "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP",
}
PUBLIC = {"api_key": "angelkey1", "client_code": "A12345"}
ENDS = datetime(2026, 12, 1, 4, tzinfo=UTC)
JWT = jwt(username="A12345", exp=int(ENDS.timestamp()))
VALUES = {
    "api_key": "angelkey1",
    "client_code": "A12345",
    "access_token": f"Bearer {JWT}",
    "feed_token": "feed-0001",
}
TOKEN = Granted(values=VALUES)


def ok(**data: object) -> dict[str, object]:
    tokens: dict[str, object] = {"jwtToken": JWT, "refreshToken": "r-1", "feedToken": "feed-0001"}
    return {"status": True, "message": "SUCCESS", "errorcode": "", "data": tokens | data}


def error(code: str, message: str = "Told so") -> dict[str, object]:
    return {"status": False, "message": message, "errorcode": code, "data": None}


def new_error(code: str, message: str = "Told so") -> dict[str, object]:
    return {"success": False, "message": message, "errorCode": code, "data": ""}


def test_unattended_comes_before_the_publishers_page() -> None:
    of = login("angel")
    assert list(of.fields) == [LoginKind.UNATTENDED, LoginKind.BROWSER]
    assert [each.name for each in of.fields[LoginKind.BROWSER]] == ["api_key", "client_code"]
    assert not of.echoes_state


def test_the_unattended_login_is_the_official_clients() -> None:
    request = login("angel").unattended(KEPT, "123456")
    assert request.method == "POST"
    assert request.url == (
        "https://apiconnect.angelone.in/rest/auth/angelbroking/user/v1/loginByPassword"
    )
    assert json_of(request) == {"clientcode": "A12345", "password": "1234", "totp": "123456"}
    assert set(request.headers) == {
        "Accept",
        "Content-Type",
        "X-ClientLocalIP",
        "X-ClientPublicIP",
        "X-MACAddress",
        "X-PrivateKey",
        "X-SourceID",
        "X-UserType",
    }
    assert request.headers["X-PrivateKey"] == "angelkey1"
    assert (request.headers["X-UserType"], request.headers["X-SourceID"]) == ("USER", "WEB")


def test_an_answer_fills_the_feeds_credential() -> None:
    for token in (JWT, f"Bearer {JWT}"):
        result = granted(answer_of("angel", KEPT, ok(jwtToken=token)))
        assert result.values == VALUES
        assert (result.owner, result.ends_at) == ("A12345", ENDS)
    headers = AngelAdapter(sink=RecordingSink()).handshake(Credentials(result.values)).headers
    assert headers["Authorization"] == f"Bearer {JWT}"


def test_an_opaque_token_is_granted_without_an_end() -> None:
    result = granted(answer_of("angel", KEPT, ok(jwtToken="opaque-1")))
    assert (result.owner, result.ends_at) == ("", None)


def test_another_client_is_refused() -> None:
    other = jwt(username="B99999", exp=1)
    refused(answer_of("angel", KEPT, ok(jwtToken=other)), Refusal.OWNER)
    query = {"auth_token": other, "feed_token": "f", "state": STATE}
    result = login("angel").callback(query, PUBLIC)
    refused(result, Refusal.OWNER)
    assert result.state == STATE


@pytest.mark.parametrize(
    "data",
    [
        {"jwtToken": ""},
        {"jwtToken": None},
        {"jwtToken": "a b"},
        {"jwtToken": "Bearer "},
        {"feedToken": ""},
        {"feedToken": 5},
    ],
)
def test_an_incomplete_answer_grants_nothing(data: dict[str, Any]) -> None:
    refused(answer_of("angel", KEPT, ok(**data)), Refusal.UNREADABLE)


@pytest.mark.parametrize(
    ("said", "status", "why", "told"),
    [
        (error("AB1050", "Invalid totp"), 200, Refusal.SECOND_FACTOR, "clock"),
        (error("AB9999", "Invalid totp"), 200, Refusal.SECOND_FACTOR, "clock"),
        (error("AB1034", "Apps not found"), 200, Refusal.SECRET, "API key"),
        (error("AB9999", "Invalid API Key"), 200, Refusal.SECRET, "API key"),
        (error("AB1000", "Invalid Email Or Password"), 200, Refusal.SECRET, "PIN"),
        (
            error(
                "AB7001",
                "LoginByPassword is not allowed. Please switch to Login by MPIN now.",
            ),
            200,
            Refusal.SECRET,
            "four digits",
        ),
        (error("AB9999", "Invalid credentials"), 200, Refusal.SECRET, "PIN"),
        (error("AB1006", "Client is blocked"), 200, Refusal.PLAN, "blocked"),
        (error("AB1004", "Something went wrong"), 200, Refusal.DOWN, "later"),
        (error("AB9999", "Something new"), 200, Refusal.UNREADABLE, "AB9999"),
        (new_error("AG8001", "Invalid Token"), 200, Refusal.SECRET, "Log in again"),
        (error("", ""), 200, Refusal.UNREADABLE, "again"),
        ({"message": "no status"}, 200, Refusal.UNREADABLE, "no status"),
        (error("AB9999", "Something"), 429, Refusal.BUSY, "Wait"),
        (ok(), 502, Refusal.DOWN, "later"),
    ],
)
def test_refusals_say_what_mends_them(
    said: dict[str, object], status: int, why: Refusal, told: str
) -> None:
    words = refused(answer_of("angel", KEPT, said, status), why)
    assert told in words


def test_too_many_logins_are_told_by_a_plain_text() -> None:
    body = b"Access denied because of exceeding access rate"
    assert "Wait" in refused(answer_of("angel", KEPT, body, 403), Refusal.BUSY)
    assert "Wait" in refused(probed("angel", TOKEN, body, 403), Refusal.BUSY)
    refused(answer_of("angel", KEPT, b"<html>Request Rejected</html>", 403), Refusal.UNREADABLE)


def test_the_page_is_the_documented_one() -> None:
    page = login("angel").page(PUBLIC, state=STATE, redirect_uri="https://pool.example.org/cb")
    assert page.startswith("https://smartapi.angelone.in/publisher-login?")
    assert query_of(page) == [("api_key", "angelkey1"), ("state", STATE)]


def test_the_browser_brings_the_tokens_themselves() -> None:
    query = {"auth_token": JWT, "feed_token": "feed-0001", "refresh_token": "r", "state": STATE}
    result = granted(login("angel").callback(query, PUBLIC))
    assert result.values == VALUES
    assert (result.state, result.ends_at) == (STATE, ENDS)
    assert granted(login("angel").callback(query | {"state": "\u00e9"}, PUBLIC)).state == "?"
    del query["state"]
    assert granted(login("angel").callback(query, PUBLIC)).state is None
    with pytest.raises(NotImplementedError):
        login("angel").exchange(KEPT, "code", "https://pool.example.org/cb")


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({}, Refusal.DECLINED),
        ({"feed_token": "f"}, Refusal.DECLINED),
        ({"auth_token": JWT}, Refusal.CODE),
        ({"auth_token": "a b", "feed_token": "f"}, Refusal.CODE),
        ({"auth_token": "", "feed_token": "f"}, Refusal.CODE),
        ({"auth_token": "x" * 5000, "feed_token": "f"}, Refusal.CODE),
    ],
)
def test_a_return_without_tokens_is_refused(query: dict[str, str], why: Refusal) -> None:
    refused(login("angel").callback(query, PUBLIC), why)


@pytest.mark.parametrize(
    ("address", "is_taken"),
    [
        ("https://pool.example.org/cb", True),
        ("https://pool.example.org:8443/cb", True),
        ("http://pool.example.org/cb", False),
        ("https://127.0.0.1/cb", False),
        ("https://[::1]/cb", False),
        ("https://203.0.113.7/cb", False),
        ("https://localhost/cb", False),
        ("https://pool.localhost/cb", False),
        ("https://[::1/cb", False),
        ("", False),
    ],
)
def test_only_a_public_name_with_tls_is_come_back_to(address: str, is_taken: bool) -> None:
    assert (login("angel").redirect_problem(address) == "") is is_taken


def test_a_probe_tells_the_owner() -> None:
    for stored in (JWT, f"Bearer {JWT}"):
        request = login("angel").probe(Granted(values=VALUES | {"access_token": stored}))
        assert request.method == "GET"
        assert request.url == (
            "https://apiconnect.angelone.in/rest/secure/angelbroking/user/v1/getProfile"
        )
        assert request.headers["Authorization"] == f"Bearer {JWT}"
        assert request.headers["X-PrivateKey"] == "angelkey1"
    said = {"status": True, "message": "SUCCESS", "data": {"clientcode": "a12345"}}
    result = granted(probed("angel", TOKEN, said))
    assert (result.owner, result.ends_at, result.values) == ("a12345", ENDS, VALUES)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"status": True, "data": {"clientcode": "B99999"}}, Refusal.OWNER),
        ({"status": True, "data": {}}, Refusal.UNREADABLE),
        (new_error("AG8001", "Invalid Token"), Refusal.SECRET),
        (new_error("AG8002", "Token Expired"), Refusal.SECRET),
    ],
)
def test_another_clients_token_or_an_old_one_is_refused_at_the_probe(
    said: dict[str, object], why: Refusal
) -> None:
    assert JWT not in refused(probed("angel", TOKEN, said), why)


def test_a_token_ends_by_its_own_claim_or_at_five_in_the_morning() -> None:
    stored = datetime(2026, 11, 30, 4, tzinfo=UTC)
    five = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    for claimed, ends in ((ENDS, five), (datetime(2026, 11, 30, 20, tzinfo=UTC), None)):
        token = f"Bearer {jwt(exp=int(claimed.timestamp()))}"
        given = Credentials(VALUES | {"access_token": token})
        assert AngelAdapter.credential_expiry(given, stored) == (ends or claimed)
