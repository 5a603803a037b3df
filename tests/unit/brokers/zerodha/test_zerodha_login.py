"""Zerodha's login: the official client's requests, every refusal, and who has logged in."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.login.contract import Granted, LoginKind, Refusal
from tests.unit.brokers.login.login_kit import (
    CALLBACK,
    STATE,
    answer_of,
    coded,
    form_of,
    granted,
    login,
    probed,
    query_of,
    refused,
)

KEPT = {"api_key": "kitekey0001", "api_secret": "kitesecret0001"}
CHECKSUM = "c490a96a2c49439bcc5113ef48354814823cc8a918793c8817cd35c86864ef46"
DATA = {
    "user_id": "AB1234",
    "user_name": "A B",
    "access_token": "acc-0001",
    "public_token": "pub-0001",
    "refresh_token": "",
    "login_time": "2026-11-30 08:52:01",
    "api_key": "kitekey0001",
}
TOKEN = Granted(values={"api_key": "kitekey0001", "access_token": "acc-0001"})


def error(kind: str, message: str) -> dict[str, object]:
    return {"status": "error", "message": message, "data": None, "error_type": kind}


def test_only_the_browser_is_offered() -> None:
    assert list(login("zerodha").fields) == [LoginKind.BROWSER]
    with pytest.raises(NotImplementedError, match="without a browser"):
        login("zerodha").unattended(KEPT, "123456")
    with pytest.raises(NotImplementedError, match="long-lived"):
        login("zerodha").pasted({})


def test_the_page_is_the_official_clients_with_our_state() -> None:
    of = login("zerodha")
    assert of.page(KEPT, state="", redirect_uri=CALLBACK) == (
        "https://kite.zerodha.com/connect/login?api_key=kitekey0001&v=3"
    )
    page = of.page(KEPT, state=STATE, redirect_uri=CALLBACK)
    assert page == (
        "https://kite.zerodha.com/connect/login?api_key=kitekey0001&v=3"
        "&redirect_params=state%3Dst-1"
    )
    assert dict(query_of(page))["redirect_params"] == "state=st-1"


def test_the_exchange_is_the_official_clients() -> None:
    request = login("zerodha").exchange(KEPT, "reqtok0001", CALLBACK)
    assert (request.method, request.url) == ("POST", "https://api.kite.trade/session/token")
    assert request.headers["X-Kite-Version"] == "3"
    assert form_of(request) == [
        ("api_key", "kitekey0001"),
        ("request_token", "reqtok0001"),
        ("checksum", CHECKSUM),
    ]
    assert b"kitesecret" not in request.content


def test_the_probe_is_the_official_clients() -> None:
    request = login("zerodha").probe(TOKEN)
    assert (request.method, request.url) == ("GET", "https://api.kite.trade/user/profile")
    assert request.headers["Authorization"] == "token kitekey0001:acc-0001"
    assert request.headers["X-Kite-Version"] == "3"
    assert request.content == b""


def test_a_granted_return_brings_a_code_and_the_state() -> None:
    query = {
        "action": "login",
        "type": "login",
        "status": "success",
        "request_token": "reqtok0001",
        "state": STATE,
    }
    code = coded(login("zerodha").callback(query, KEPT))
    assert (code.value, code.state) == ("reqtok0001", STATE)


@pytest.mark.parametrize("status", ["cancelled", "", "<b>"])
def test_a_declined_return_is_told_as_one(status: str) -> None:
    result = login("zerodha").callback({"status": status, "request_token": "r"}, KEPT)
    assert "<b>" not in refused(result, Refusal.DECLINED)


@pytest.mark.parametrize("token", ["", "r t", "r\u00e9", "r" * 5000])
def test_a_return_without_a_usable_code_is_none(token: str) -> None:
    query = {"status": "success", "request_token": token, "state": STATE}
    result = login("zerodha").callback(query, KEPT)
    refused(result, Refusal.CODE)
    assert result.state == STATE


def test_an_answer_fills_the_feeds_credential_and_names_the_owner() -> None:
    result = granted(answer_of("zerodha", KEPT, {"status": "success", "data": DATA}))
    assert result.values == {"api_key": "kitekey0001", "access_token": "acc-0001"}
    assert (result.owner, result.ends_at) == ("AB1234", None)


def test_the_answer_of_another_app_is_refused() -> None:
    said = {"status": "success", "data": DATA | {"api_key": "other"}}
    refused(answer_of("zerodha", KEPT, said), Refusal.OWNER)
    for absent in ({**DATA, "api_key": None}, {k: v for k, v in DATA.items() if k != "api_key"}):
        granted(answer_of("zerodha", KEPT, {"status": "success", "data": absent}))


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": ""},
        {"access_token": "a b"},
        {"access_token": 5},
        {"user_id": ""},
        {"user_id": None},
    ],
)
def test_an_incomplete_answer_grants_nothing(changes: dict[str, Any]) -> None:
    said = {"status": "success", "data": DATA | changes}
    refused(answer_of("zerodha", KEPT, said), Refusal.UNREADABLE)


@pytest.mark.parametrize(
    ("said", "status", "why", "told"),
    [
        (
            error("TokenException", "Token is invalid or has expired."),
            403,
            Refusal.CODE,
            "Log in again",
        ),
        (error("InputException", "Invalid `checksum`."), 400, Refusal.SECRET, "API secret"),
        (error("TokenException", "Invalid `checksum`."), 403, Refusal.SECRET, "API secret"),
        (error("InputException", "Invalid `api_key`."), 400, Refusal.SECRET, "API key"),
        (error("InputException", "Missing `request_token`"), 400, Refusal.CODE, "Log in again"),
        (error("ForbiddenError", "The user is not enabled"), 403, Refusal.OWNER, "belongs"),
        (error("PermissionException", "Insufficient permission"), 403, Refusal.PLAN, "plan"),
        (error("NetworkException", "Too many requests"), 429, Refusal.BUSY, "Wait"),
        (error("NetworkException", "Gateway timed out"), 504, Refusal.DOWN, "later"),
        (error("GeneralException", "Something"), 500, Refusal.DOWN, "later"),
        (error("NewException", "Something new"), 400, Refusal.UNREADABLE, "Something new"),
        ({"status": "success", "data": DATA}, 500, Refusal.DOWN, "later"),
        ({"status": "error", "data": DATA}, 200, Refusal.UNREADABLE, "again"),
    ],
)
def test_refusals_say_what_mends_them(
    said: dict[str, object], status: int, why: Refusal, told: str
) -> None:
    assert told in refused(answer_of("zerodha", KEPT, said, status), why)


def test_a_busy_broker_tells_how_long() -> None:
    said = error("NetworkException", "Too many requests")
    result = answer_of("zerodha", KEPT, said, 429, retry_after="20")
    refused(result, Refusal.BUSY)
    assert result.retry_after_seconds == 20  # type: ignore[union-attr]


def test_a_probe_names_the_owner_or_refuses_the_token() -> None:
    said = {"status": "success", "data": {"user_id": "AB1234", "user_name": "A B"}}
    result = granted(probed("zerodha", TOKEN, said))
    assert (result.owner, result.values) == ("AB1234", TOKEN.values)
    bad = error("TokenException", "Incorrect `api_key` or `access_token`.")
    assert "access token" in refused(probed("zerodha", TOKEN, bad, 403), Refusal.SECRET)
    refused(probed("zerodha", TOKEN, {"status": "success", "data": {}}), Refusal.UNREADABLE)


def test_the_brokers_words_never_repeat_the_secret() -> None:
    said = error("InputException", "Invalid `checksum` of kitesecret0001")
    assert "kitesecret0001" not in refused(answer_of("zerodha", KEPT, said, 400), Refusal.SECRET)
