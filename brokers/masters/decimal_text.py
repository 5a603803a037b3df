"""Decimal numbers as text: exact, and without a float anywhere."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from brokers.exceptions import BrokerProtocolError

__all__ = ["any_decimal", "normal_decimal", "scaled"]

# Twenty digits before the point hold any price or volume, and bound what int() is given.
_MOST_DIGITS: Final = 18
_ANY: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?(?:[eE][+-]?0?[0-9])?", re.ASCII)
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


def any_decimal(text: str, *, shift: int = 0) -> str:
    """Return what ``normal_decimal`` does of a number that nobody needs; "" where it is none.

    An exponent is read ("1.00E+07" is "10000000"), and the point moved ``shift`` to the left.
    """
    match = _ANY.fullmatch(text)
    if match is None:
        return ""
    number = Decimal(text).normalize().scaleb(-shift)
    if not number:
        return "0"
    # Looked at before it is written out.
    if number.adjusted() > _MOST_DIGITS or int(number.as_tuple().exponent) < -_MOST_DIGITS:
        return ""
    return normal_decimal(f"{number:f}")


def scaled(text: str, digits: int) -> int:
    """Return ``text`` times ten to the power of ``digits``, exactly: ("0.3521", 8) is 35210000.

    Raises:
        BrokerProtocolError: not an unsigned decimal, or one of more decimals than ``digits``.
    """
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise BrokerProtocolError(f"{text[:40]!r} is not a decimal number")
    fraction = match[2] or ""
    if len(fraction) > digits and fraction[digits:].strip("0"):
        raise BrokerProtocolError(f"{text[:40]!r} has more than {digits} decimals")
    return int(match[1] + fraction[:digits].ljust(digits, "0"))
