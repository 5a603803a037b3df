"""Time-based one-time passwords (RFC 6238) as brokers use them: 6 digits, 30 s, SHA-1. Pure.

A code is sent at most once, and not in the last moments of its period: the broker's clock is not
ours, and most brokers refuse a code that they have seen.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import struct
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

from brokers.times.retry_after import http_date

__all__ = [
    "LAST_SECONDS",
    "PERIOD_SECONDS",
    "TOTP_HELP",
    "TOTP_SECRET",
    "TotpSecretError",
    "clock_offset_seconds",
    "clock_warning",
    "period_of",
    "secret_key",
    "send_at",
    "totp",
]

# The name of the field that keeps the secret, at every broker.
TOTP_SECRET: Final = "totp_secret"  # noqa: S105 -- a name, no secret
TOTP_HELP: Final = (
    "The long text beside the QR code when TOTP is set up (or the whole otpauth:// address), not "
    "the six digits that an app shows."
)

PERIOD_SECONDS: Final = 30
# A code is not sent so late in its period that it may arrive in the next.
LAST_SECONDS: Final = 3.0
# Clocks that differ by more are told of. A ``Date`` is cut to whole seconds.
CLOCK_TOLERANCE_SECONDS: Final = 5.0

_DIGITS: Final = 6
# What RFC 4226 asks for is 128; some brokers give 80.
_LEAST_BITS: Final = 80
_MOST_CHARACTERS: Final = 1024
_BASE32: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_OWN_PARAMETERS: Final = {"algorithm": "SHA1", "digits": str(_DIGITS), "period": "30"}


class TotpSecretError(ValueError):
    """A text that is no TOTP secret; says what mends it, and nothing of the text."""


def secret_key(text: str) -> bytes:
    """Return the key of a secret, as people copy it: base32 or an ``otpauth://`` address.

    Blanks, hyphens, lower case and missing padding do not matter.

    Raises:
        TotpSecretError: it cannot be a secret of such codes.
    """
    if len(text) > _MOST_CHARACTERS:
        raise TotpSecretError("The TOTP secret is longer than any: copy only the secret itself.")
    stripped = text.strip()
    if stripped.lower().startswith("otpauth:"):
        stripped = _secret_of(stripped)
    bare = "".join(stripped.split()).replace("-", "").rstrip("=").upper()
    if not bare:
        raise TotpSecretError("The TOTP secret is empty.")
    if bare.isdigit() and len(bare) == _DIGITS:
        raise TotpSecretError(
            "That is a code of six digits, which changes every 30 seconds. Enter the secret: the "
            "long text beside the QR code when TOTP is set up."
        )
    if not set(bare) <= _BASE32:
        raise TotpSecretError(
            "The TOTP secret has characters that no such secret has: it consists of the letters "
            "A to Z and the digits 2 to 7."
        )
    try:
        key = base64.b32decode(bare + "=" * (-len(bare) % 8))
    except binascii.Error:
        raise TotpSecretError("The TOTP secret is not complete: copy it once more.") from None
    if len(key) * 8 < _LEAST_BITS:
        raise TotpSecretError("The TOTP secret is too short: it has 16 characters or more.")
    return key


def totp(key: bytes, at: float) -> str:
    """Return the code of ``at`` (epoch seconds) for a key."""
    digest = hmac.digest(key, struct.pack(">Q", period_of(at)), "sha1")
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**_DIGITS:0{_DIGITS}}"


def period_of(at: float) -> int:
    """Return the number of the period in which ``at`` (epoch seconds) lies: one code each."""
    return math.floor(at / PERIOD_SECONDS)


def send_at(now: float, used_period: int | None = None) -> float:
    """Return the first moment from ``now`` on at which a code may be sent, in epoch seconds.

    Args:
        used_period: the last period whose code was sent with this secret; None: none. One that
            lies far ahead was written by a clock that has been set right since, and says nothing.
    """
    period = period_of(now)
    if used_period is not None and period <= used_period <= period + 1:
        return float((used_period + 1) * PERIOD_SECONDS)
    next_period = (period + 1) * PERIOD_SECONDS
    return now if next_period - now > LAST_SECONDS else float(next_period)


def clock_offset_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Return how far our clock is ahead of an answer's (negative: behind); None: nobody can tell.

    Args:
        headers: of the answer, names in Title-Case.
        now: epoch seconds by our clock when it came.
    """
    told = http_date(headers.get("Date", ""))
    # An answer out of a cache carries the date at which it was made.
    if told is None or "Age" in headers:
        return None
    return now - (told + 0.5)


def clock_warning(offset_seconds: float | None) -> str:
    """Return the sentence about a clock that is off; "" for one that is right, or not known."""
    if offset_seconds is None or abs(offset_seconds) <= CLOCK_TOLERANCE_SECONDS:
        return ""
    way = "ahead of" if offset_seconds > 0 else "behind"
    return (
        f"This machine's clock is {abs(offset_seconds):,.0f} s {way} the broker's, and a TOTP code "
        "is made from the time: set the clock (timedatectl set-ntp true)."
    )


def _secret_of(address: str) -> str:
    """Return the secret in an ``otpauth://`` address of such codes. Raises TotpSecretError."""
    try:
        parts = urlsplit(address)
        query = parse_qs(parts.query, max_num_fields=20)
        kind = parts.netloc.lower()
    except ValueError:
        raise TotpSecretError("The otpauth:// address cannot be read: copy it once more.") from None
    secrets = query.get("secret", [])
    if kind != "totp" or len(secrets) != 1:
        raise TotpSecretError("The otpauth:// address is not that of a TOTP secret.")
    for name, own in _OWN_PARAMETERS.items():
        if any(value.upper() != own for value in query.get(name, [])):
            raise TotpSecretError(
                "The otpauth:// address asks for codes that brokers do not use: theirs have 6 "
                "digits, 30 seconds and SHA-1."
            )
    return secrets[0]
