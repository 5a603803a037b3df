"""The feed's credential inside of a Fyers access token. Pure."""

from __future__ import annotations

from typing import Final

from brokers.exceptions import BrokerConfigError
from brokers.times.json_web_token import MAX_TOKEN_CHARACTERS, claims_of

__all__ = ["hsm_key"]

_MAX_KEY_CHARACTERS: Final = 4096


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
    key = _claim(token) if token.count(".") == 2 else token
    if not (key.isascii() and key.isprintable()):
        raise BrokerConfigError("fyers: access_token has characters that no token has")
    return key


def _claim(token: str) -> str:
    key = claims_of(token).get("hsm_key")
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_CHARACTERS:
        raise BrokerConfigError(
            "fyers: access_token has no hsm_key; store the one of today's login at Fyers"
        )
    return key
