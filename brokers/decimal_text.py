"""Decimal numbers as text: exact, and without a float anywhere."""

from __future__ import annotations

import re
from typing import Final

from brokers.exceptions import BrokerProtocolError

__all__ = ["normal_decimal", "scaled"]

# Twenty digits before the point hold any price or volume, and bound what int() is given.
_DECIMAL: Final = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)


def normal_decimal(text: str) -> str:
    """Return a decimal without superfluous zeros: "23500.0" is "23500", "0.00010000" is "0.0001".

    Raises:
        BrokerProtocolError: ``text`` is not an unsigned decimal number.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise BrokerProtocolError(f"{text[:40]!r} is not a decimal number")
    whole = match[1].lstrip("0") or "0"
    fraction = (match[2] or "").rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole


def scaled(text: str, digits: int) -> int:
    """Return ``text`` times ten to the power of ``digits``, exactly: ("0.3521", 8) is 35210000.

    Raises:
        BrokerProtocolError: not an unsigned decimal, or one of more decimals than ``digits``.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise BrokerProtocolError(f"{text[:40]!r} is not a decimal number")
    fraction = match[2]
    fraction = match[2] or ""
    if len(fraction) > digits and fraction[digits:].strip("0"):
        raise BrokerProtocolError(f"{text[:40]!r} has more than {digits} decimals")
    return int(match[1] + fraction[:digits].ljust(digits, "0"))
