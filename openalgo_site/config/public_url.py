"""The address under which browsers and programs know the site: ``PUBLIC_URL``. Pure.

With ``https`` in it cookies are ``Secure``, browsers are told to stay with TLS, and pages that
were asked for in clear lead to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from urllib.parse import urlsplit

from brokers.endpoints.addresses import is_loopback, netloc

__all__ = ["InClear", "PublicUrl", "answer_in_clear", "parse_public_url"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_YEAR_SECONDS = 365 * 24 * 3600
_API = "/api/"
# What machines ask for inside of the network. Nothing of anybody is in the first two, and the
# third has a key of its own.
_FOR_MACHINES = frozenset({"/livez", "/readyz", "/metrics"})


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """Scheme, host and port; ``port`` is None where it is the scheme's own."""

    scheme: str
    host: str
    port: int | None

    @property
    def origin(self) -> str:
        """What browsers send as ``Origin``, as in ``https://ticks.example.com``."""
        return f"{self.scheme}://{netloc(self.host, self.port)}"

    @property
    def is_secure(self) -> bool:
        """Whether TLS leads to the site."""
        return self.scheme == "https"

    @property
    def hsts_seconds(self) -> int:
        """For how long browsers are to come with TLS only; 0 where it would hit other sites, too.

        They remember it for a name with all of its ports: under ``localhost`` there are others.
        """
        return _YEAR_SECONDS if self.is_secure and not is_loopback(self.host) else 0


def parse_public_url(text: str) -> PublicUrl | None:
    """Return the address that ``text`` is, None for an empty one.

    Raises:
        ValueError: it is none that can be used; the message is a sentence.
    """
    if not text:
        return None
    example = "write scheme and host, as in https://ticks.example.com"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{error}; {example}") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or port == 0:
        raise ValueError(example)
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{example}, and nothing behind it")
    if parts.path not in ("", "/"):
        raise ValueError("the site cannot stand below a path yet: give it a host name of its own")
    if not parts.hostname.isascii() or "*" in parts.hostname:
        raise ValueError("write the one host as browsers send it, international names as xn--…")
    own = None if port == _DEFAULT_PORTS[parts.scheme] else port
    return PublicUrl(parts.scheme, netloc(parts.hostname), own)


class InClear(Enum):
    """What becomes of a request that came without TLS."""

    SERVE = "serve"
    MOVE = "move"  # to the same place below the public URL
    REFUSE = "refuse"


def answer_in_clear(path: str, address: str, forwarded_proto: str | None) -> InClear:
    """Say what becomes of a request without TLS to a site whose public URL has it.

    Args:
        path: of the request, without its query.
        address: who asks; behind a trusted proxy its client.
        forwarded_proto: ``X-Forwarded-Proto``, None without one. A proxy that is not trusted may
            say ``https`` here: to send its client to where it is already would never end.
    """
    is_local = forwarded_proto is None and is_loopback(address)
    if path in _FOR_MACHINES or is_local or (forwarded_proto or "").strip().lower() == "https":
        return InClear.SERVE
    # A program does not repeat a POST elsewhere, and must not go on showing its key to everybody.
    return InClear.REFUSE if path.startswith(_API) else InClear.MOVE
