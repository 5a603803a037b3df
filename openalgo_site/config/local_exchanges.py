"""Local exchanges in place of brokers: ``LOCAL_EXCHANGES``. Pure.

An account that is added on the Brokers page of such a broker leads to the exchange on this machine,
its feed and its login alike, so that all of it can be tried without an account at the broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from brokers.endpoints.addresses import is_loopback, netloc

__all__ = ["ExchangePlaces", "parse_local_exchanges"]

_SCHEMES = ("ws", "http")
_EXAMPLE = "write broker=feed login, as in zerodha=ws://127.0.0.1:9010 http://127.0.0.1:9011"


@dataclass(frozen=True, slots=True)
class ExchangePlaces:
    """The URL of one exchange's feed, and the one below which its login stands."""

    feed: str
    login: str


def parse_local_exchanges(text: str) -> Mapping[str, ExchangePlaces]:
    """Return the exchange of each broker that ``text`` names, its feed and its login.

    As in ``zerodha=ws://127.0.0.1:9010 http://127.0.0.1:9011``; several are separated by commas.

    Raises:
        ValueError: it is none that can be used; the message is a sentence.
    """
    found = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        broker, _, urls = each.partition("=")
        places = urls.split()
        if not broker.strip() or len(places) != 2:
            raise ValueError(f"{each[:80]!r} names no exchange; {_EXAMPLE}")
        feed, login = (_checked(url, kind) for url, kind in zip(places, _SCHEMES, strict=True))
        found[broker.strip()] = ExchangePlaces(feed=feed, login=login)
    return found


def _checked(url: str, scheme: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; {_EXAMPLE}") from None
    host = parts.hostname or ""
    if parts.scheme != scheme or not port or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{url[:60]!r} is no {scheme} address; {_EXAMPLE}")
    if parts.username is not None or not is_loopback(host):
        raise ValueError(f"{url[:60]!r} is not on this machine; {_EXAMPLE}")
    return f"{scheme}://{netloc(host, port)}"
