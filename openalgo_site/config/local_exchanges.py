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


@dataclass(frozen=True, slots=True)
class ExchangePlaces:
    """The URL of one exchange's feed, and the one below which its login stands."""

    feed: str
    login: str


def parse_local_exchanges(text: str) -> Mapping[str, ExchangePlaces]:
    """Return the exchange of each broker that ``text`` names: ``zerodha=http://127.0.0.1:9010``.

    Several stand behind each other, separated by commas.

    Raises:
        ValueError: it is none that can be used; the message is a sentence.
    """
    found = {}
    for each in filter(None, (part.strip() for part in text.split(","))):
        broker, _, url = each.partition("=")
        found[broker.strip()] = _places(url.strip(), each)
    return found


def _places(url: str, text: str) -> ExchangePlaces:
    example = "write broker and address of this machine, as in zerodha=http://127.0.0.1:9010"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; {example}") from None
    host = parts.hostname or ""
    if parts.scheme != "http" or not port or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{text[:60]!r} is no exchange; {example}")
    if parts.username is not None or not is_loopback(host):
        raise ValueError(f"{text[:60]!r} is not on this machine; {example}")
    place = netloc(host, port)
    return ExchangePlaces(feed=f"ws://{place}", login=f"http://{place}")
