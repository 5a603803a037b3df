"""Origins of pages that may open a browser socket. Pure.

A WebSocket handshake carries the user's cookies wherever the page came from, so the page's origin
is what keeps another site from reading a logged-in user's ticks.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

__all__ = ["is_allowed_origin"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_allowed_origin(
    origin: str | None, *, is_secure: bool, host: str | None, trusted: Collection[str] = ()
) -> bool:
    """Tell whether ``origin`` is the site that the request went to, or one that is trusted.

    Args:
        origin: value of the ``Origin`` header, None without one.
        is_secure: whether the request came over TLS.
        host: value of the ``Host`` header; the caller has checked that it is one of ours.
        trusted: further full origins, as in Django's ``CSRF_TRUSTED_ORIGINS``; a host may begin
            with ``*.`` for all subdomains.
    """
    theirs = _parse(origin)
    if theirs is None:
        return False
    if host and theirs == _parse(f"{'https' if is_secure else 'http'}://{host}"):
        return True
    return any(_matches(theirs, pattern) for pattern in trusted)


def _parse(origin: str | None) -> tuple[str, str, int] | None:
    if not origin:
        return None
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    scheme, host = parts.scheme.lower(), parts.hostname
    if scheme not in _DEFAULT_PORTS or not host or parts.path or parts.query or parts.username:
        return None
    return scheme, host, port or _DEFAULT_PORTS[scheme]


def _matches(theirs: tuple[str, str, int], pattern: str) -> bool:
    scheme, separator, rest = pattern.partition("://")
    if not rest.startswith("*."):
        return theirs == _parse(pattern)
    parent = _parse(f"{scheme}{separator}{rest[2:]}")
    if parent is None or (theirs[0], theirs[2]) != (parent[0], parent[2]):
        return False
    return theirs[1].endswith(f".{parent[1]}")
