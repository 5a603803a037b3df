"""Says before anything starts which port is taken, and which variable moves it."""

from __future__ import annotations

import socket
from collections.abc import Iterable

__all__ = ["PortTakenError", "check_ports"]


class PortTakenError(Exception):
    """A port cannot be had; the message names it and its variable."""


def check_ports(ports: Iterable[tuple[str, str, int]]) -> None:
    """Try to bind every (variable, host, port).

    Raises:
        PortTakenError: one is in use, or two variables name the same.
    """
    owners: dict[int, str] = {}
    for variable, host, port in ports:
        if port in owners:
            raise PortTakenError(
                f"{owners[port]} and {variable} both name port {port}: give each its own"
            )
        owners[port] = variable
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the servers do: a port in TIME_WAIT is free, one that is listened on is not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
                probe.listen(1)
            except OSError as error:
                raise PortTakenError(
                    f"port {port} on {host} cannot be used ({error.strerror}): stop what uses it "
                    f"or set {variable} to a free port"
                ) from None
