"""The way of a publisher to its address: socket files that are its alone, and a port with keys."""

from __future__ import annotations

import contextlib
import logging
import os
import socket

import zmq
from zmq.utils.monitor import parse_monitor_message

from brokers.words import one_line
from streaming.exceptions import BusAddressInUseError, BusConfigurationError, BusError
from streaming.wire.address import BusAddress

__all__ = ["BusBinding"]

logger = logging.getLogger("streaming.worker.publisher")

_NOBLOCK = int(zmq.NOBLOCK)
# What the kernel may hold for one gateway. Its own choice for socket files is 100 KiB of ticks,
# less than a gateway reads at once under load, and smaller turns cost it more.
_BUFFER_BYTES = 1 << 20


class BusBinding:
    """The address of one publisher, from ``take`` to ``give_back``.

    For one thread at a time.

    Args:
        bus: the address.
    """

    def __init__(self, bus: BusAddress) -> None:
        self._bus = bus
        self._lock_file: int | None = None  # held while the socket files are ours
        self._accepted: zmq.Socket[bytes] | None = None  # tells of connections to the socket file
        self._is_port_wanted = False  # somebody else has it, and gateways do not need it

    def take(self) -> None:
        """Make sure that nobody else uses the socket files: a bind would take them away.

        Raises:
            BusAddressInUseError: another worker has them.
            BusConfigurationError: the folder cannot be used.
        """
        files, bus = self._bus.files, self._bus
        if files is None:
            return
        files.prepare()
        try:
            self._lock_file = files.lock(bus.lock_name)
        except OSError as error:
            raise BusConfigurationError(
                f"{files.folder / bus.lock_name} cannot be written: {error.strerror}"
            ) from None
        if self._lock_file is None:
            raise BusAddressInUseError(host=bus.host, port=bus.port, where=str(bus))
        if files.answers(bus.ticks_name):  # where the file system has no locks
            descriptor, self._lock_file = self._lock_file, None
            os.close(descriptor)
            raise BusAddressInUseError(host=bus.host, port=bus.port, where=str(bus))
        self._sweep()

    def give_back(self) -> None:
        """Delete the files and let another worker have them; all sockets are closed by now.

        Idempotent.
        """
        descriptor, self._lock_file = self._lock_file, None
        if descriptor is not None:
            self._sweep()
            os.close(descriptor)

    def _sweep(self) -> None:
        """Delete the socket files, which ZeroMQ leaves behind; the lock is held."""
        files, bus = self._bus.files, self._bus
        if files is not None:
            files.sweep(bus.ticks_name)
            files.sweep(bus.control_prefix)

    def bind(self, target: zmq.Socket[bytes]) -> None:
        """Bind to the socket file, without keys, and with keys to the port.

        A listener keeps the options that the socket had when it was bound.

        Raises:
            BusError: it cannot be bound; says why.
        """
        bus = self._bus
        try:
            if bus.files is not None:
                self._accepted = target.get_monitor_socket(zmq.EVENT_ACCEPTED)
                target.bind(bus.ticks)
            if bus.curve is None:
                return
            bus.curve.protect_server(target)
            if ":" in bus.host:
                target.setsockopt(zmq.IPV6, 1)
            if bus.files is None:
                target.bind(bus.tcp)
            else:
                self._is_port_wanted = not self._is_port_bound(target, is_first=True)
        except (zmq.ZMQError, OSError) as error:
            raise self._why_not_bound(error) from error

    def look(self, target: zmq.Socket[bytes]) -> None:
        """Care for new connections, and for a port that could not be had. Called at each beat."""
        if self._accepted is not None:
            self._widen(self._accepted)
        if self._is_port_wanted:
            self._is_port_wanted = not self._is_port_bound(target, is_first=False)

    def _widen(self, accepted: zmq.Socket[bytes]) -> None:
        with contextlib.suppress(zmq.ZMQError):
            while True:
                event = parse_monitor_message(accepted.recv_multipart(_NOBLOCK))
                # It may have gone since, and its number may be something else's.
                with (
                    contextlib.suppress(OSError),
                    socket.socket(fileno=os.dup(event["value"])) as connection,
                ):
                    if connection.family == socket.AF_UNIX:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)

    def _is_port_bound(self, target: zmq.Socket[bytes], *, is_first: bool) -> bool:
        """Bind to the port; False, told once, while somebody else has it.

        Gateways have the socket file: whoever takes a port keeps out subscribers, and no worker.
        """
        try:
            target.bind(self._bus.tcp)
        except zmq.ZMQError as error:
            if is_first:
                logger.warning(
                    "%s cannot be bound (%s) and is tried again each second; gateways are served, "
                    "subscribers with ZMQ_CURVE_KEY_FILE are not",
                    self._bus.tcp,
                    one_line(error),
                )
            return False
        if not is_first:
            logger.info("%s was free and serves subscribers with keys", self._bus.tcp)
        return True

    def _why_not_bound(self, error: Exception) -> BusError:
        bus = self._bus
        if bus.files is not None:
            return BusConfigurationError(
                f"no socket file can be made at {bus} ({one_line(error)}): set ZMQ_SOCKET_DIR to "
                "a folder of your own on a local file system"
            )
        if isinstance(error, zmq.ZMQError) and error.errno == zmq.EADDRINUSE:
            return BusAddressInUseError(host=bus.host, port=bus.port)
        return BusError(f"cannot bind the bus to {bus}: {one_line(error)}")
