"""Upstox's login: a token of a year or of a day, the official client's requests, every refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.contract import Credentials
from brokers.exceptions import BrokerConfigError
from brokers.login.contract import Granted, LoginKind, Refusal
from brokers.testing import RecordingSink
from brokers.times.market_clock import INDIA
from brokers.upstox.connection import UpstoxAdapter
from brokers.upstox.credential import UpstoxToken
from tests.unit.brokers.login.login_kit import (
    CALLBACK,
    STATE,
    answer_of,
    coded,
    form_of,
    granted,
    jwt,
    login,
    probed,
    query_of,
    refused,
)

KEPT = {"client_id": "uclient-0001", "client_secret": "usecret1"}
MADE = datetime(2026, 11, 30, 9, 30, tzinfo=INDIA)
MADE_AT = int(MADE.timestamp())
HALF_PAST_THREE = datetime(2026, 12, 1, 3, 30, tzinfo=INDIA)
DAY_TOKEN = jwt(sub="AB1234", iat=MADE_AT, exp=int(HALF_PAST_THREE.timestamp()))
YEAR_TOKEN = jwt(sub="AB1234", iat=MADE_AT, exp=MADE_AT + 365 * 86_400)
ANSWER: dict[str, Any] = {
    "email": "a@example.org",
    "exchanges": ["NSE"],
    "products": ["D"],
    "broker": "UPSTOX",
    "user_id": "AB1234",
    "user_name": "A B",
    "order_types": ["MARKET"],
    "user_type": "individual",
    "poa": False,
    "is_active": True,
    "access_token": DAY_TOKEN,
    "extended_token": "ext-0001",
}


def error(code: str, message: str = "Told so", *, camel: bool = False) -> dict[str, object]:
    name = "errorCode" if camel else "error_code"
    said = {name: code, "message": message, "property_path": None, "invalid_value": "usecret1"}
    return {"status": "error", "errors": [said]}


def of_token(text: str) -> Granted:
    return Granted(values={"access_token": text})


def test_the_long_lived_token_is_recommended_before_the_browser() -> None:
    assert list(login("upstox").fields) == [LoginKind.LONG_LIVED, LoginKind.BROWSER]


def test_the_page_is_the_documented_one() -> None:
    page = login("upstox").page(KEPT, state=STATE, redirect_uri=CALLBACK)
    assert page.startswith("https://api.upstox.com/v2/login/authorization/dialog?")
    assert query_of(page) == [
        ("response_type", "code"),
        ("client_id", "uclient-0001"),
        ("redirect_uri", CALLBACK),
        ("state", STATE),
    ]


def test_the_exchange_is_the_official_clients() -> None:
    request = login("upstox").exchange(KEPT, "uc0de1", CALLBACK)
    assert request.method == "POST"
    assert request.url == "https://api.upstox.com/v2/login/authorization/token"
    assert request.headers["Accept"] == "application/json"
    assert request.content == (
        b"code=uc0de1&client_id=uclient-0001&client_secret=usecret1"
        b"&redirect_uri=https%3A%2F%2F127.0.0.1%3A8000%2Fcb&grant_type=authorization_code"
    )
    assert dict(form_of(request))["redirect_uri"] == CALLBACK


def test_a_return_brings_a_code_and_the_state() -> None:
    code = coded(login("upstox").callback({"code": "mk404x", "state": STATE}, KEPT))
    assert (code.value, code.state) == ("mk404x", STATE)


@pytest.mark.parametrize("query", [{"state": STATE}, {"state": STATE, "error": "access_denied"}])
def test_a_return_without_a_code_is_a_declined_login(query: dict[str, str]) -> None:
    result = login("upstox").callback(query, KEPT)
    refused(result, Refusal.DECLINED)
    assert result.state == STATE


@pytest.mark.parametrize("code", ["", "a b", "\u00e9", "x" * 5000])
def test_a_code_that_can_be_none_is_no_code(code: str) -> None:
    refused(login("upstox").callback({"code": code, "state": STATE}, KEPT), Refusal.CODE)


def test_a_flat_answer_is_read() -> None:
    result = granted(answer_of("upstox", KEPT, ANSWER))
    assert result.values == {"access_token": DAY_TOKEN}
    assert result.owner == "AB1234"
    assert result.ends_at == HALF_PAST_THREE
    opaque = granted(answer_of("upstox", KEPT, ANSWER | {"access_token": "opaque-1"}))
    assert (opaque.values, opaque.ends_at) == ({"access_token": "opaque-1"}, None)


def test_a_user_who_is_not_active_is_told() -> None:
    refused(answer_of("upstox", KEPT, ANSWER | {"is_active": False}), Refusal.PLAN)


@pytest.mark.parametrize(
    "changes", [{"access_token": ""}, {"access_token": None}, {"user_id": ""}, {"user_id": []}]
)
def test_an_incomplete_answer_grants_nothing(changes: dict[str, Any]) -> None:
    refused(answer_of("upstox", KEPT, ANSWER | changes), Refusal.UNREADABLE)


@pytest.mark.parametrize(
    ("said", "status", "why", "told"),
    [
        (error("UDAPI100057", "Invalid Auth code"), 401, Refusal.CODE, "redirect address"),
        (error("UDAPI100016"), 401, Refusal.SECRET, "secret"),
        (error("UDAPI100016", camel=True), 401, Refusal.SECRET, "secret"),
        (error("UDAPI100068"), 400, Refusal.REDIRECT, "exactly as it is shown"),
        (error("UDAPI10005"), 429, Refusal.BUSY, "Wait"),
        (error("UDAPI10005"), 400, Refusal.BUSY, "Wait"),
        (error("UDAPI100050"), 401, Refusal.SECRET, "Log in again"),
        (error("UDAPI100073"), 403, Refusal.PLAN, "not active"),
        (error("UDAPI100074"), 423, Refusal.DOWN, "night"),
        (error("UDAPI100500"), 500, Refusal.DOWN, "later"),
        (error("UDAPI199999", "Something new"), 400, Refusal.UNREADABLE, "Something new"),
        (error("UDAPI199999", ""), 400, Refusal.UNREADABLE, "UDAPI199999"),
        ({"status": "error", "errors": [None, 5, {}]}, 400, Refusal.UNREADABLE, "again"),
        ({"status": "error", "errors": "x"}, 401, Refusal.UNREADABLE, "again"),
        (ANSWER, 500, Refusal.DOWN, "later"),
    ],
)
def test_refusals_say_what_mends_them(
    said: dict[str, Any], status: int, why: Refusal, told: str
) -> None:
    words = refused(answer_of("upstox", KEPT, said, status), why)
    assert told in words
    assert "usecret1" not in words


def test_a_days_token_is_tried_at_the_profile() -> None:
    request = login("upstox").probe(of_token(f"Bearer {DAY_TOKEN}"))
    assert (request.method, request.url) == ("GET", "https://api.upstox.com/v2/user/profile")
    assert request.headers["Authorization"] == f"Bearer {DAY_TOKEN}"
    said = {"status": "success", "data": {"user_id": "AB1234", "is_active": True}}
    assert granted(probed("upstox", of_token(DAY_TOKEN), said)).owner == "AB1234"


@pytest.mark.parametrize("text", [YEAR_TOKEN, "2026-11-30:opaque-1"])
def test_a_years_token_is_tried_at_the_feed(text: str) -> None:
    """It may not ask for the profile without a static address."""
    request = login("upstox").probe(of_token(text))
    assert request.url == "https://api.upstox.com/v3/feed/market-data-feed/authorize"
    assert request.headers["Authorization"] == f"Bearer {UpstoxToken.of(text).value}"
    said = {"status": "success", "data": {"authorized_redirect_uri": "wss://x"}}
    result = granted(probed("upstox", of_token(text), said))
    assert result.ends_at is not None
    assert result.ends_at.year == 2027
    refused(probed("upstox", of_token(text), {"status": "success"}), Refusal.UNREADABLE)


def test_an_old_token_is_refused_at_the_probe() -> None:
    said = error("UDAPI100050", "Invalid token used to access API")
    assert "new Analytics Token" in refused(
        probed("upstox", of_token(DAY_TOKEN), said, 401), Refusal.SECRET
    )
    other = error("UDAPI1", "Not you")
    refused(probed("upstox", of_token(DAY_TOKEN), other, 401), Refusal.SECRET)


@pytest.mark.parametrize(
    ("values", "stored", "owner", "ends"),
    [
        ({"analytics_token": YEAR_TOKEN}, YEAR_TOKEN, "AB1234", (2027, 11, 30, 9, 30)),
        ({"analytics_token": f" Bearer {YEAR_TOKEN}\n"}, YEAR_TOKEN, "AB1234", None),
        (
            {"analytics_token": YEAR_TOKEN, "made_on": "2026-01-01"},
            YEAR_TOKEN,
            "AB1234",
            (2027, 11, 30, 9, 30),
        ),
        (
            {"analytics_token": "opaque-1", "made_on": " 2026-11-30 "},
            "2026-11-30:opaque-1",
            "",
            (2027, 11, 30, 0, 0),
        ),
        ({"analytics_token": "2026-11-30:opaque-1"}, "2026-11-30:opaque-1", "", None),
        (
            {"analytics_token": "opaque-1", "made_on": "2028-02-29"},
            "2028-02-29:opaque-1",
            "",
            (2029, 2, 28, 0, 0),
        ),
    ],
)
def test_a_pasted_token_holds_for_its_year(
    values: dict[str, str], stored: str, owner: str, ends: tuple[int, int, int, int, int] | None
) -> None:
    result = granted(login("upstox").pasted(values))
    assert result.values == {"access_token": stored}
    assert result.owner == owner
    if ends is not None:
        assert result.ends_at == datetime(*ends, tzinfo=INDIA)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "Copy it once more"),
        ({"analytics_token": "two words"}, "Copy it once more"),
        ({"analytics_token": "\u00e9"}, "Copy it once more"),
        ({"analytics_token": "opaque-1"}, "Enter the day"),
        ({"analytics_token": DAY_TOKEN}, "for one day only"),
        ({"analytics_token": DAY_TOKEN, "made_on": "2026-11-30"}, "for one day only"),
        ({"analytics_token": "opaque-1", "made_on": "30.11.2026"}, "YYYY-MM-DD"),
        ({"analytics_token": "opaque-1", "made_on": "2026-02-30"}, "YYYY-MM-DD"),
        ({"analytics_token": "2026-02-30:opaque-1"}, "YYYY-MM-DD"),
    ],
)
def test_what_is_no_token_of_a_year_says_what_is_missing(values: dict[str, str], told: str) -> None:
    words = refused(login("upstox").pasted(values), Refusal.SECRET)
    assert told in words
    assert "opaque-1" not in words


def ends(text: str, stored: datetime = MADE) -> datetime | None:
    return UpstoxAdapter.credential_expiry(Credentials({"access_token": text}), stored)


def test_a_years_token_does_not_end_the_next_morning() -> None:
    assert ends(YEAR_TOKEN) == datetime(2027, 11, 30, 9, 30, tzinfo=INDIA)
    assert ends(f"Bearer {YEAR_TOKEN}") == datetime(2027, 11, 30, 9, 30, tzinfo=INDIA)
    assert ends("2026-11-30:opaque-1") == datetime(2027, 11, 30, tzinfo=INDIA)
    # Stored long after it was made.
    later = datetime(2027, 6, 1, tzinfo=UTC)
    assert ends("2026-11-30:opaque-1", later) == datetime(2027, 11, 30, tzinfo=INDIA)


def test_any_other_token_ends_with_the_day() -> None:
    for text in ("opaque-1", DAY_TOKEN, jwt(exp=MADE_AT + 900 * 86_400), ""):
        assert ends(text) == HALF_PAST_THREE
    assert ends("2026-02-30:opaque-1") == HALF_PAST_THREE
    soon = datetime(2026, 11, 30, 12, tzinfo=INDIA)
    assert ends(jwt(iat=MADE_AT, exp=int(soon.timestamp()))) == soon


def test_no_token_outlives_the_year_after_it_was_stored() -> None:
    """Whatever it claims, and whatever day somebody wrote before it."""
    latest = datetime(2027, 12, 1, tzinfo=INDIA)
    assert ends("2099-01-01:opaque-1") == latest
    assert ends(jwt(iat=MADE_AT, exp=MADE_AT + 9_000 * 86_400)) == latest


def test_the_feed_is_given_the_token_alone() -> None:
    adapter = UpstoxAdapter(sink=RecordingSink())
    for text in ("opaque-1", "Bearer opaque-1", "2026-11-30:opaque-1"):
        handshake = adapter.handshake(Credentials({"access_token": text}))
        assert handshake.headers["Authorization"] == "Bearer opaque-1"
    for text in ("2026-11-30:", "2026-02-30:opaque-1"):
        with pytest.raises(BrokerConfigError):
            adapter.handshake(Credentials({"access_token": text}))


@given(st.text(max_size=60), st.datetimes(timezones=st.just(UTC)))
def test_any_text_ends_some_time_or_never(text: str, stored: datetime) -> None:
    if not datetime(2000, 1, 1, tzinfo=UTC) < stored < datetime(2100, 1, 1, tzinfo=UTC):
        stored = MADE
    end = ends(text, stored)
    assert end is not None
    assert end.tzinfo is not None


def test_a_token_shows_nothing_of_itself() -> None:
    assert "opaque-1" not in repr(UpstoxToken.of("2026-11-30:opaque-1"))
