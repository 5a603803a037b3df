"""Hosts that may be given an account's credential. Pure: the one place that decides it.

A credential is entered for a destination: the broker itself, or a host and port in its place.
Where the destination becomes another, what was stored does not go along.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from brokers.endpoints.addresses import is_loopback, netloc
from brokers.exceptions import BrokerConfigError

__all__ = ["check_host", "destination", "kept_credentials", "may_redirect"]

_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}
_SAFE = frozenset({"wss", "https"})


def check_host(
    endpoint: str, *, label: str, own: Collection[str], further: str, is_public: bool = False
) -> None:
    """Refuse an endpoint that leads to a host which nobody has allowed, or there without TLS.

    Args:
        endpoint: a WebSocket URL, or an HTTP one.
        label: how people call the broker.
        own: endpoints of the broker itself.
        further: hosts that the installation allows besides, separated by commas. This machine's
            loopback is always allowed, with and without TLS.
        is_public: the broker asks for no credential, so that any host may be named.

    Raises:
        BrokerConfigError: the message says what mends it.
        ValueError: the endpoint is no URL.
    """
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if is_loopback(host):
        return
    ours = {urlsplit(each).hostname for each in own}
    allowed = {each.strip().lower() for each in further.split(",")} - {""}
    if not is_public and host not in ours | allowed:
        raise BrokerConfigError(
            f"{label}: the endpoint leads to {host}, which is not the broker's: leave it empty, or "
            "have whoever runs this installation name the host in BROKER_HOSTS"
        )
    if parts.scheme not in _SAFE:
        raise BrokerConfigError(
            f"{label}: the endpoint leads over the network in clear: write "
            f"{'https' if parts.scheme == 'http' else 'wss'}:// instead of {parts.scheme}://"
        )


def destination(broker: str, endpoint: str, own: Collection[str]) -> str:
    """Return who gets the credential of an account: the broker by name, or a host with its port.

    What is no URL has a destination of its own, to which nothing is ever sent.
    """
    try:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
        if not endpoint or host in {urlsplit(each).hostname for each in own}:
            return broker
    except ValueError:
        return f"{broker} at {endpoint}"
    return f"{broker} at {netloc(host, port)}"


def kept_credentials(stored: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """Return those encrypted fields that were entered since ``stored``; equal ones were not.

    The same text encrypted again is another one.
    """
    return {name: text for name, text in now.items() if stored.get(name) != text}


def may_redirect(url: str, target: str, *, domain: str) -> bool:
    """Tell whether a server at ``url`` may send a client with a credential on to ``target``.

    Only to the same host or into ``domain`` (the broker's; "": none), and never from TLS into
    clear. All of loopback is one host.
    """
    try:
        before, after = urlsplit(url), urlsplit(target)
    except ValueError:
        return False
    here, there = before.hostname or "", after.hostname or ""
    if before.scheme in _SAFE and after.scheme not in _SAFE:
        return False
    if here == there or (is_loopback(here) and is_loopback(there)):
        return True
    is_inside = bool(domain) and (there == domain or there.endswith(f".{domain}"))
    return is_inside and after.scheme in _SAFE
