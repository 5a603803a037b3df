"""Addresses of webhooks: none leads inside, unless a setting names the host. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from brokers.endpoints.addresses import netloc
from pooling.exceptions import AlertRefusedError

__all__ = ["WebhookUrl"]

MAX_URL_LENGTH = 2000
PORTS = {"http": 80, "https": 443}
# RFC 6052: an IPv4 address stands in the last 32 bits.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookUrl:
    """A webhook's URL, checked. Only ``origin`` may be shown: paths of webhooks are secrets.

    ``is_trusted``: the setting names the host, so any of its addresses will do.
    """

    scheme: str
    host: str
    port: int
    target: str
    is_trusted: bool

    @classmethod
    def parse(cls, url: str, allowed_hosts: Collection[str]) -> WebhookUrl:
        """Check a URL against ``ALERT_WEBHOOK_HOSTS``, whose entries are ``host`` or ``host:port``.

        Raises:
            AlertRefusedError: it is no URL to send to; the text says what would be one.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise AlertRefusedError("This is no URL.") from None
        if parts.scheme not in PORTS or not host or len(url) > MAX_URL_LENGTH:
            raise AlertRefusedError("Enter a URL such as https://hooks.example.com/path.")
        if any(sign.isspace() or not sign.isprintable() for sign in url):
            raise AlertRefusedError("A URL has no spaces or control characters.")
        if not url.isascii():
            raise AlertRefusedError("Write the URL in ASCII: the host as xn--..., the rest with %.")
        if parts.username is not None or parts.password is not None:
            raise AlertRefusedError("Leave user and password out of the URL; sign it instead.")
        number = port or PORTS[parts.scheme]
        allowed = {each.lower() for each in allowed_hosts}
        is_trusted = host in allowed or f"{netloc(host)}:{number}" in allowed
        if parts.scheme == "http" and not is_trusted:
            raise AlertRefusedError(
                f"Use https, or name {host} in ALERT_WEBHOOK_HOSTS to allow it without."
            )
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        found = cls(
            scheme=parts.scheme, host=host, port=number, target=target, is_trusted=is_trusted
        )
        if _is_literal(host):
            found.choose([host])
        return found

    @property
    def origin(self) -> str:
        """Scheme and host, and the port if it is not the usual one."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{netloc(self.host)}{port}"

    @property
    def host_header(self) -> str:
        """The header ``Host`` that the receiver expects."""
        return self.origin.partition("://")[2]

    def at(self, address: str) -> str:
        """Return the URL with the host's address in its place."""
        return f"{self.scheme}://{netloc(address)}:{self.port}{self.target}"

    def choose(self, addresses: Iterable[str]) -> str:
        """Return the address to connect to.

        Raises:
            AlertRefusedError: one of them is not public, and the setting does not name the host.
        """
        found = list(addresses)
        if not found:
            raise AlertRefusedError(f"{self.host} has no address.")
        if not self.is_trusted and not all(map(_is_public, found)):
            raise AlertRefusedError(
                f"{self.host} leads to an address that is not public; name it in "
                "ALERT_WEBHOOK_HOSTS if that is meant."
            )
        return found[0]


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)
        if inner is not None:
            return _is_public(str(inner))
    return found.is_global and not found.is_multicast


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True
