"""When credentials end: by the broker's habit, by their own claim, or nobody knows."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, time, timedelta, timezone

import pytest

from brokers.binance.connection import BinanceAdapter
from brokers.contract import Credentials
from brokers.times.credential_expiry import DailyEnd, expiry_of, jwt_expiry
from brokers.zerodha.connection import ZerodhaAdapter

INDIA = timezone(timedelta(hours=5, minutes=30))
SIX = DailyEnd(time(6), INDIA)


def jwt(claims: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("stored", "end"),
    [
        ((2026, 11, 21, 9, 15), (2026, 11, 22, 6, 0)),
        ((2026, 11, 21, 5, 59), (2026, 11, 21, 6, 0)),
        ((2026, 11, 21, 6, 0), (2026, 11, 22, 6, 0)),
        ((2026, 12, 31, 23, 59), (2027, 1, 1, 6, 0)),
    ],
)
def test_a_daily_end_is_the_next_one_in_the_brokers_own_time(
    stored: tuple[int, ...], end: tuple[int, ...]
) -> None:
    at = datetime(*stored, tzinfo=INDIA)  # type: ignore[arg-type, misc]
    assert SIX.after(at) == datetime(*end, tzinfo=INDIA)  # type: ignore[arg-type, misc]
    assert SIX.after(at.astimezone(UTC)) == SIX.after(at)


def test_the_claim_of_a_json_web_token_counts() -> None:
    assert jwt_expiry(jwt({"exp": 1_800_000_000})) == datetime.fromtimestamp(1_800_000_000, UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "a.b.c",
        "....",
        "é.é.é",
        jwt({}),
        jwt({"exp": "soon"}),
        jwt({"exp": -1}),
        jwt({"exp": 1e300}),
        jwt({"exp": 253_402_300_799}),  # which no page east of Greenwich could show
        jwt([1]),
        jwt({"exp": 1_800_000_000, "x": "y" * 20_000}),
        jwt({"exp": True}),
        "a." + base64.urlsafe_b64encode(b'{"exp": 1, "x": ' + b"[" * 6000).decode() + ".c",
    ],
)
def test_other_text_says_nothing_and_harms_nobody(text: str) -> None:
    assert jwt_expiry(text) is None


def test_the_earliest_end_counts() -> None:
    stored = datetime(2026, 11, 21, 9, 15, tzinfo=INDIA)
    soon, late = stored + timedelta(hours=1), stored + timedelta(days=30)
    tokens = [jwt({"exp": soon.timestamp()}), jwt({"exp": late.timestamp()}), "key"]
    assert expiry_of(tokens, stored, SIX) == soon
    assert expiry_of(tokens[1:], stored, SIX) == SIX.after(stored)
    assert expiry_of(["key"], stored, None) is None


def test_adapters_tell_what_they_declare() -> None:
    stored = datetime(2026, 11, 21, 9, 15, tzinfo=INDIA)
    given = Credentials({"api_key": "k", "access_token": "t"})
    six = datetime(2026, 11, 22, 6, 0, tzinfo=INDIA)
    assert ZerodhaAdapter.credential_expiry(given, stored) == six
    assert BinanceAdapter.credential_expiry(Credentials(), stored) is None
