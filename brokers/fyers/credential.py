"""The feed's credential inside of a Fyers access token. Pure."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Final

import msgspec

from brokers.exceptions import BrokerConfigError

__all__ = ["hsm_key"]

MAX_TOKEN_CHARACTERS: Final = 16_384


class _Claims(msgspec.Struct):
    hsm_key: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


def hsm_key(access_token: str) -> str:
    """Return the claim ``hsm_key`` of ``APPID:JWT`` or of the JWT alone.

    A text that is no JWT at all is the key itself: that is how the feed gets it.

    Raises:
        BrokerConfigError: none, a token without the claim, or characters that no key has.
    """
    token = access_token.strip().rpartition(":")[2]
    if not token:
        raise BrokerConfigError("fyers: the credential has no access_token")
    if len(token) > MAX_TOKEN_CHARACTERS:
        raise BrokerConfigError("fyers: access_token is longer than any token of Fyers")
    parts = token.split(".")
    key = _claim(parts[1]) if len(parts) == 3 else token
    if not (key.isascii() and key.isprintable()):
        raise BrokerConfigError("fyers: access_token has characters that no token has")
    return key


def _claim(payload: str) -> str:
    try:
        data = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(data, type=_Claims).hsm_key
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        # The text of the error may hold a part of the token.
        raise BrokerConfigError(
            "fyers: access_token has no hsm_key; store the one of today's login at Fyers"
        ) from None
