"""Codes of RFC 6238 as brokers take them, secrets as people copy them, and when one may be sent."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.login.totp import (
    TotpSecretError,
    clock_offset_seconds,
    clock_warning,
    period_of,
    secret_key,
    send_at,
    totp,
)

RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
SHORT_SECRET = "JBSWY3DPEHPK3PXP"
NOW = 1_796_029_200  # 2026-11-30 09:00 UTC
DATE = "Mon, 30 Nov 2026 09:00:00 GMT"


@pytest.mark.parametrize(
    ("secret", "at", "code"),
    [
        (RFC_SECRET, 59, "287082"),
        (RFC_SECRET, 1_111_111_109, "081804"),
        (RFC_SECRET, 1_111_111_111, "050471"),
        (RFC_SECRET, 1_234_567_890, "005924"),
        (RFC_SECRET, 2_000_000_000, "279037"),
        (RFC_SECRET, 20_000_000_000, "353130"),
        (SECRET, 0, "702218"),
        (SECRET, 30, "503347"),
        (SECRET, NOW, "112026"),
        (SECRET, NOW + 29.999, "112026"),
        (SECRET, NOW + 30, "598289"),
        (SHORT_SECRET, NOW, "543311"),
    ],
)
def test_codes_are_those_of_the_standard(secret: str, at: float, code: str) -> None:
    assert totp(secret_key(secret), at) == code


@pytest.mark.parametrize(
    "text",
    [
        SECRET.lower(),
        f"  {SECRET}\n",
        "JBSW Y3DP EHPK 3PXP\u00a0JBSW Y3DP EHPK 3PXP",
        "jbsw-y3dp-ehpk-3pxp-jbsw-y3dp-ehpk-3pxp",
        f"otpauth://totp/Angel:A12345?secret={SECRET}&issuer=Angel",
        f"OTPAUTH://TOTP/x?secret={SECRET.lower()}&algorithm=sha1&digits=6&period=30",
    ],
)
def test_a_secret_is_taken_as_people_copy_it(text: str) -> None:
    assert secret_key(text) == secret_key(SECRET)


@given(st.binary(min_size=10, max_size=64))
def test_every_secret_is_read_back_with_and_without_padding(key: bytes) -> None:
    text = base64.b32encode(key).decode()
    assert secret_key(text) == secret_key(text.rstrip("=").lower()) == key


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        (" - ", "empty"),
        ("123456", "code of six digits"),
        ("123 456", "code of six digits"),
        ("JBSWY3DPEHPK3PX1", "letters A to Z"),
        ("JBSWY3DPEHPK3PX\u00e9", "letters A to Z"),
        ("JBSWY3DPEHPK3PXPA", "not complete"),
        ("JBSWY3DP", "too short"),
        ("A" * 2000, "longer"),
        ("otpauth://hotp/x?secret=" + SECRET, "not that of a TOTP"),
        ("otpauth://totp/x?issuer=y", "not that of a TOTP"),
        (f"otpauth://totp/x?secret={SECRET}&secret={SECRET}", "not that of a TOTP"),
        (f"otpauth://totp/x?secret={SECRET}&digits=8", "brokers do not use"),
        (f"otpauth://totp/x?secret={SECRET}&algorithm=SHA256", "brokers do not use"),
        (f"otpauth://totp/x?secret={SECRET}&period=60", "brokers do not use"),
        ("otpauth://[totp/x?secret=" + SECRET, "cannot be read"),
        ("otpauth://totp/x?" + "a=1&" * 50, "cannot be read"),
    ],
)
def test_what_is_no_secret_is_refused_without_being_repeated(text: str, told: str) -> None:
    with pytest.raises(TotpSecretError, match=told) as refusal:
        secret_key(text)
    assert len(text.strip(" -")) < 6 or text not in str(refusal.value)
    assert SECRET not in str(refusal.value)


@given(st.text(max_size=80))
def test_any_text_is_a_secret_or_a_sentence(text: str) -> None:
    told = ""
    key = b""
    try:
        key = secret_key(text)
    except TotpSecretError as error:
        told = str(error)
    assert told.endswith(".") or len(key) >= 10


@pytest.mark.parametrize(
    ("now", "used", "at"),
    [
        (60.0, None, 60.0),
        (86.9, None, 86.9),
        (87.0, None, 90.0),
        (89.999, None, 90.0),
        (60.0, 1, 60.0),
        (60.0, 2, 90.0),
        (87.5, 2, 90.0),
        (60.0, 3, 120.0),
        # The clock was days ahead when it was sent.
        (60.0, 9_000, 60.0),
        (87.5, 9_000, 90.0),
    ],
)
def test_a_code_goes_once_and_not_at_the_end_of_its_period(
    now: float, used: int | None, at: float
) -> None:
    assert send_at(now, used) == at


@given(st.floats(min_value=1e6, max_value=4e9), st.none() | st.integers(-3, 5))
def test_the_moment_to_send_is_one_at_which_it_may_be_sent(now: float, ago: int | None) -> None:
    used = None if ago is None else period_of(now) + ago
    at = send_at(now, used)
    assert at >= now
    assert send_at(at, used) == at or used == period_of(at) + 1
    assert used is None or period_of(at) > used or used > period_of(now) + 1
    assert at - now <= 60
    assert (period_of(at) + 1) * 30 - at > 3.0


@pytest.mark.parametrize(
    ("headers", "now", "offset"),
    [
        ({"Date": DATE}, NOW + 0.5, 0.0),
        ({"Date": DATE}, NOW + 120.5, 120.0),
        ({"Date": DATE}, NOW - 119.5, -120.0),
        ({"Date": DATE, "Age": "300"}, NOW, None),
        ({"Date": "yesterday"}, NOW, None),
        ({"Date": "x" * 100}, NOW, None),
        ({}, NOW, None),
    ],
)
def test_the_clock_is_compared_with_the_answers_date(
    headers: dict[str, str], now: float, offset: float | None
) -> None:
    assert clock_offset_seconds(headers, now) == offset


def test_a_clock_that_is_off_is_told_with_its_offset_and_its_way() -> None:
    assert "120 s ahead of" in clock_warning(120.2)
    assert "7 s behind" in clock_warning(-7.0)
    for right in (None, 0.0, 5.0, -5.0):
        assert clock_warning(right) == ""
