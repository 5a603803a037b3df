"""``Retry-After``, read (RFC 9110, section 10.2.3): seconds, or a date. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["MAX_RETRY_AFTER_SECONDS", "http_date", "retry_after_seconds"]

MAX_RETRY_AFTER_SECONDS = 3600.0  # the longest wait that a broker may impose on us
MAX_HEADER_CHARACTERS = 64


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how many seconds an answer asks to wait; None where it does not, or makes no sense.

    A date is compared with the answer's own ``Date``, which the same clock wrote: ours may be
    wrong. Never more than ``MAX_RETRY_AFTER_SECONDS``, never less than 0.

    Args:
        headers: of the answer, names in Title-Case.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        # Python refuses to read thousands of digits.
        is_long = len(text) > MAX_HEADER_CHARACTERS
        return MAX_RETRY_AFTER_SECONDS if is_long else min(float(text), MAX_RETRY_AFTER_SECONDS)
    until, now = http_date(text), http_date(headers.get("Date", ""))
    if until is None or now is None:
        return None
    return min(max(until - now, 0.0), MAX_RETRY_AFTER_SECONDS)


def http_date(text: str) -> float | None:
    """Return epoch seconds of an HTTP-date in any of its three forms, or None."""
    text = text.strip()
    if not text or len(text) > MAX_HEADER_CHARACTERS:
        return None
    try:
        at: datetime = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # The asctime form names no zone, and means GMT.
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()
