"""Browsers in which somebody has logged in before: a stranger's guesses never keep them out."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

__all__ = ["COOKIE", "KnownBrowserMiddleware", "browser_id", "browser_of", "know"]

COOKIE = "known_browser"
SALT = "openalgo_site.known_browsers"  # kept: another one would forget every browser
KNOWN_SECONDS = 180 * 24 * 3600
MOST_NAMES = 5


def know(request: HttpRequest, name: str) -> None:
    """Let the browser of this request be known as one in which ``name`` has logged in."""
    request.META[SALT] = name


def browser_of(request: HttpRequest, name: str) -> str | None:
    """Return the id of the browser if ``name`` has logged in with it before, else None."""
    browser, names = _read(request)
    return browser if _digest(browser, name) in names else None


def browser_id(cookie: str) -> str | None:
    """Return the id of the browser with this cookie if anybody has logged in with it, else None."""
    found = _parse(cookie)
    return found[0] if found is not None else None


class KnownBrowserMiddleware(MiddlewareMixin):
    """Set the signed cookie behind a login. Works sync and async."""

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Add the name that logged in to those of the browser."""
        name = request.META.pop(SALT, None)
        if name is None:
            return response
        browser, names = _read(request)
        digest = _digest(browser, name)
        names = [digest, *(each for each in names if each != digest)][:MOST_NAMES]
        response.set_cookie(
            COOKIE,
            signing.dumps([browser, *names], salt=SALT),
            max_age=KNOWN_SECONDS,
            httponly=True,
            samesite="Lax",
            secure=settings.SESSION_COOKIE_SECURE or request.is_secure(),
        )
        return response


def _read(request: HttpRequest) -> tuple[str, list[str]]:
    """Return the id of the browser, or a new one, and digests of the names that it is known to."""
    return _parse(request.COOKIES.get(COOKIE, "")) or (secrets.token_hex(8), [])


def _parse(cookie: str) -> tuple[str, list[str]] | None:
    if not cookie:
        return None
    try:
        value: Any = signing.loads(cookie, salt=SALT, max_age=KNOWN_SECONDS)
    except signing.BadSignature:
        return None
    browser, *names = value
    return browser, names


def _digest(browser: str, name: str) -> str:
    return hashlib.blake2b(f"{browser}/{name}".encode(), digest_size=8).hexdigest()
