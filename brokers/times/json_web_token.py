"""Claims of a JSON Web Token (RFC 7519), as far as they can be read. Pure.

The signature is not looked at: the broker does that. What is read here is shown to people, or
taken of a token that the broker itself has just given or accepted.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

__all__ = ["MAX_TOKEN_CHARACTERS", "claims_of", "life_seconds", "moment_of"]

MAX_TOKEN_CHARACTERS: Final = 16_384
# A day before datetime ends: it has to be told in any zone.
_LATEST: Final = 253_402_214_399


def claims_of(token: str) -> Mapping[str, Any]:
    """Return the claims of a token by name; empty for other text."""
    text = token.strip()
    parts = text.split(".", 3)
    if len(text) > MAX_TOKEN_CHARACTERS or len(parts) != 3:
        return {}
    try:
        payload = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        return {}


def moment_of(claims: Mapping[str, Any], name: str) -> datetime | None:
    """Return a claim that is a NumericDate, such as ``exp``; None where there is no usable one."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LATEST:
        return None
    return datetime.fromtimestamp(value, UTC)


def life_seconds(claims: Mapping[str, Any]) -> float | None:
    """Return how long a token lives, by its ``iat`` and ``exp``; None where it does not say."""
    begin, end = moment_of(claims, "iat"), moment_of(claims, "exp")
    return None if begin is None or end is None else (end - begin).total_seconds()
