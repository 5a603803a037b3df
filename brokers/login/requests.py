"""Requests of a login: addresses, forms and JSON bodies, and what they are made of. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from brokers.endpoints.addresses import is_loopback
from brokers.exceptions import BrokerConfigError
from brokers.login.contract import LoginRequest

__all__ = [
    "JSON_HEADERS",
    "NO_BLANKS",
    "bare_token",
    "form_request",
    "is_token",
    "json_request",
    "needed",
    "no_https",
    "with_query",
]

JSON_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "Content-Type": "application/json",
}
_FORM_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    "Content-Type": "application/x-www-form-urlencoded",
}
# The pattern of keys, names and secrets that brokers give.
NO_BLANKS: Final = r"[!-~]{1,512}"
_MOST_CHARACTERS: Final = 4096


def with_query(url: str, values: Mapping[str, str]) -> str:
    """Return ``url`` with a query of ``values``, in their order."""
    return f"{url}?{urlencode(values, quote_via=quote, safe='')}"


def form_request(
    url: str, values: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> LoginRequest:
    """Return a POST of a form with ``values``, in their order."""
    content = urlencode(values, quote_via=quote, safe="").encode()
    return LoginRequest(
        method="POST", url=url, headers={**_FORM_HEADERS, **(headers or {})}, content=content
    )


def json_request(
    url: str, values: Mapping[str, str], headers: Mapping[str, str] | None = None
) -> LoginRequest:
    """Return a POST of a JSON object with ``values``."""
    content = msgspec.json.encode(values)
    return LoginRequest(
        method="POST", url=url, headers={**JSON_HEADERS, **(headers or {})}, content=content
    )


def needed(label: str, kept: Mapping[str, str], name: str) -> str:
    """Return a value that an account keeps for its login, without blanks around it.

    Raises:
        BrokerConfigError: there is none, or it has characters that no such value has.
    """
    value = kept.get(name, "").strip()
    if not value:
        raise BrokerConfigError(f"{label}: the login has no {name}: enter it")
    if not is_token(value):
        raise BrokerConfigError(
            f"{label}: {name} has characters that it cannot have: copy it once more"
        )
    return value


def is_token(text: str) -> bool:
    """Whether a text may be a key, a code or a token: printable ASCII without a blank, bounded."""
    return 0 < len(text) <= _MOST_CHARACTERS and all("!" <= each <= "~" for each in text)


def bare_token(text: str) -> str:
    """Return a token without blanks around it and without the ``Bearer`` before it."""
    first, _, rest = text.strip().partition(" ")
    return rest.strip() if first == "Bearer" else text.strip()


def no_https(label: str, redirect_uri: str) -> str:
    """Return why a broker takes no such address to come back to; "" for https, or loopback."""
    try:
        parts = urlsplit(redirect_uri)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if host and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))):
        return ""
    return (
        f"{label} comes back to an https address only (or to http on 127.0.0.1), and this one is "
        "neither: set the public address of this installation."
    )
