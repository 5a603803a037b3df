"""Addresses as they are counted: one for each network that a person has. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

__all__ = ["Network", "address_group", "is_among", "is_private", "parse_networks"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_IPV6_PREFIX = 64


@lru_cache(maxsize=4096)
def address_group(address: str) -> str:
    """Return what ``address`` counts as: IPv4 itself, IPv6 its /64, anything else itself.

    Whoever has an IPv6 address has 2**64 of them.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, _IPV6_PREFIX), strict=False))
    return str(parsed)


def is_among(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether ``address`` is in one of ``networks``; what is no address is in none."""
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return any(parsed.version == each.version and parsed in each for each in networks)


def is_private(address: str) -> bool:
    """Tell whether ``address`` is one of this machine or of a network inside."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return parsed.is_private or parsed.is_loopback or parsed.is_link_local


def parse_networks(text: str) -> Sequence[Network]:
    """Return the addresses and networks that ``text`` names, separated by commas.

    Raises:
        ValueError: one is neither; the message is a sentence.
    """
    found: list[Network] = []
    for word in filter(None, map(str.strip, text.split(","))):
        try:
            found.append(ipaddress.ip_network(word))
        except ValueError:
            raise ValueError(
                f"{word!r} is no address and no network, as 172.17.0.1 or 10.0.0.0/8 are"
            ) from None
        if found[-1].prefixlen == 0:
            raise ValueError(f"{word!r} is everybody: whoever connects could claim any address")
    return found
