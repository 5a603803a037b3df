"""A look at ports before anything starts: which one is taken, and which variable moves it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable

from brokers.endpoints.addresses import bare_host

__all__ = ["PortUnusableError", "check_ports"]


class PortUnusableError(Exception):
    """A port cannot be had; the message names it and its variable."""


def check_ports(ports: Iterable[tuple[str, str, int]]) -> None:
    """Try to bind every (variable, host, port).

    Raises:
        PortUnusableError: one is in use, or two variables name the same.
    """
    owners: dict[int, str] = {}
    for variable, host, port in ports:
        if port in owners:
            raise PortUnusableError(
                f"{owners[port]} and {variable} both name port {port}: give each its own"
            )
        owners[port] = variable
        bare = bare_host(host)
        family = socket.AF_INET6 if ":" in bare else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As the servers do: a port in TIME_WAIT is free, one that is listened on is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((bare, port))
                probe.listen(1)
            except OSError as error:
                raise PortUnusableError(
                    f"port {port} on {host} cannot be used ({error.strerror or error}): "
                    + _what_mends(error, variable)
                ) from None


def _what_mends(error: OSError, variable: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"stop what uses it or set {variable} to a free port"
    if error.errno == errno.EACCES:
        return f"set {variable} to a port from 1024 on"
    return "that is no address of this machine; set HOST, or ZMQ_HOST for the bus, to one that is"
