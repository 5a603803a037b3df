"""The address of a worker's bus, and how both ends of a connection prove that they belong together.

On one machine by socket files in a folder of the installation's user (``socket_files.py``), between
machines by keys (``keys.py``). There is no way to it without either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from brokers.endpoints.addresses import is_loopback, netloc
from streaming.exceptions import CurveRequiredError
from streaming.wire.keys import CurveKeys, load_key_file, require_curve
from streaming.wire.socket_files import SocketFiles

__all__ = ["BusAddress", "BusSettings", "bus_address"]

_CONTROL_NUMBERS = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class BusAddress:
    """One worker's bus.

    With ``files`` gateways come through these, and ``curve`` opens the port for subscribers of
    one's own as well. Without, everybody comes to the port with keys.

    Raises:
        CurveRequiredError: neither files nor keys.
        ValueError: the port is none.
    """

    host: str
    port: int
    files: SocketFiles | None = None
    curve: CurveKeys | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65_535:
            raise ValueError(f"{self.port} is no port")
        if self.files is None and self.curve is None:
            require_curve(self.host, None)
            raise CurveRequiredError(
                "a bus without socket files (ZMQ_SOCKET_DIR) needs keys: set ZMQ_CURVE_KEY_FILE to "
                "the installation's key file (manage.py createkeyfile --bus FILE makes one)"
            )

    def __str__(self) -> str:
        return self.tcp if self.files is None else str(self.files.folder / self.ticks_name)

    @property
    def ticks_name(self) -> str:
        """The socket file that ticks and beats come through."""
        return f"{self.port}.ticks"

    @property
    def lock_name(self) -> str:
        """The file that the one worker of this address holds."""
        return f"{self.port}.lock"

    @property
    def control_prefix(self) -> str:
        """How the socket files of control links begin."""
        return f"{self.port}.control-"

    @property
    def tcp(self) -> str:
        """The ZeroMQ endpoint of the port; IPv6 addresses have their brackets."""
        return f"tcp://{netloc(self.host, self.port)}"

    @property
    def ticks(self) -> str:
        """The ZeroMQ endpoint by which gateways hear the bus.

        Raises:
            BusFolderError, OSError: see ``SocketFiles.path``.
        """
        return self.tcp if self.files is None else f"ipc://{self.files.path(self.ticks_name)}"

    def control(self, number: int) -> str:
        """Return the endpoint of the control link that a beat names: of a file, or a port.

        Raises:
            BusFolderError, OSError: see ``SocketFiles.path``.
        """
        if self.files is None:
            return f"tcp://{netloc(self.host, number)}"
        return f"ipc://{self.files.path(f'{self.control_prefix}{number}')}"

    def control_number(self, epoch: int) -> int:
        """Return the number of a worker's control file; 0, a free port, where it has none.

        Another life has another: what was said to the one before stays unheard.
        """
        return 0 if self.files is None else 1 + epoch % _CONTROL_NUMBERS


class BusSettings(Protocol):
    """Those of the environment's settings that the bus reads."""

    @property
    def zmq_host(self) -> str: ...
    @property
    def zmq_port(self) -> int: ...
    @property
    def zmq_curve_key_file(self) -> str: ...


def bus_address(env: BusSettings, folder: Path | None) -> BusAddress:
    """Return what the settings say: socket files for a loopback host, keys for any other.

    Args:
        env: the settings.
        folder: of the socket files; None: keys for a loopback host, too.

    Raises:
        CurveRequiredError: keys are needed and there is no key file.
        CurveKeyFileError: the key file cannot be used.
    """
    curve = load_key_file(env.zmq_curve_key_file)
    require_curve(env.zmq_host, curve)
    files = SocketFiles(folder.absolute()) if folder and is_loopback(env.zmq_host) else None
    return BusAddress(host=env.zmq_host, port=env.zmq_port, files=files, curve=curve)
