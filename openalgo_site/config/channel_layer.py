"""The channel layer that the environment asks for. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from openalgo_site.config.env import EnvironmentValueError

__all__ = ["channel_layers"]

SCHEMES = ("redis", "rediss", "unix")
# The layer waits 5 s in one read of the server; a client library that waits no longer than that
# itself would call every quiet moment a failure.
READ_SECONDS = 8
CONNECT_SECONDS = 2
GONE_SECONDS = 60  # for which a gateway that died is still sent notices


def channel_layers(redis_url: str) -> dict[str, dict[str, Any]]:
    """Return Django's ``CHANNEL_LAYERS``; "" stands for a layer in memory.

    Options in the URL's query win over ours.

    Raises:
        EnvironmentValueError: the URL cannot be used. It is not quoted: it may hold a password.
    """
    if not redis_url:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    _check(redis_url)
    host = {
        "address": redis_url,
        "socket_timeout": READ_SECONDS,
        "socket_connect_timeout": CONNECT_SECONDS,
    }
    return {
        "default": {
            "BACKEND": "channels_redis.core.RedisChannelLayer",
            "CONFIG": {"hosts": [host], "group_expiry": GONE_SECONDS},
        }
    }


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in SCHEMES and bool(
            parts.path if parts.scheme == "unix" else parts.hostname and parts.port != 0
        )
    except ValueError:
        is_whole = False
    if not is_whole:
        raise EnvironmentValueError(
            "REDIS_URL cannot be used: write redis://HOST:PORT/0, rediss:// for TLS or "
            "unix:///PATH, and in a password %2F for /, %23 for #, %3F for ? and %40 for @"
        ) from None
