"""The kernel's buffer of a connection: what it takes beyond what was read; the rest waits there."""

from __future__ import annotations

import asyncio
import contextlib
import socket

__all__ = ["bound_kernel_buffer"]


def bound_kernel_buffer(transport: asyncio.BaseTransport, size: int) -> None:
    """Have the kernel take about ``size`` bytes more than were read; Linux doubles it.

    Nothing is done for what is no TCP connection, or is gone already: its transport keeps a socket
    without a descriptor, which raises ValueError under uvloop and OSError elsewhere.
    """
    tcp = transport.get_extra_info("socket")
    if tcp is not None and tcp.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError, ValueError):
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
