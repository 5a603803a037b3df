"""Hosts and ports as text: the one place that knows about the brackets of IPv6. Pure."""

from __future__ import annotations

import ipaddress

__all__ = ["bare_host", "host_to_connect", "is_loopback", "netloc"]


def bare_host(host: str) -> str:
    """Return a host as sockets want it: an IPv6 address without its brackets."""
    return host[1:-1] if host[:1] == "[" and host[-1:] == "]" else host


def netloc(host: str, port: int | None = None) -> str:
    """Return host and port as URLs have them: ``[::1]:8000``; brackets may be there already."""
    bare = bare_host(host)
    written = f"[{bare}]" if ":" in bare else bare
    return written if port is None else f"{written}:{port}"


def host_to_connect(host: str) -> str:
    """Return where a server that listens on ``host`` is reached from its own machine."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(
        bare_host(host), bare_host(host)
    )


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach ``host``; of names, only localhost counts."""
    try:
        address = ipaddress.ip_address(bare_host(host))
    except ValueError:
        name = host.lower()
        return name == "localhost" or name.endswith(".localhost")
    # How a socket that listens on :: names those who come over IPv4.
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback
