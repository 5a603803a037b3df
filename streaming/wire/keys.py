"""The bus on a port: CURVE keys, whatever the address. Loopback has socket files as well.

An installation has one key pair. Every worker, every gateway on another machine and every
subscriber of one's own reads it from the same file (``ZMQ_CURVE_KEY_FILE``, mode 0600) and uses it
on both ends, so holding the file is what makes a process part of the installation. The file is a
ZeroMQ certificate (CurveZMQ, https://rfc.zeromq.org/spec/26/).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import zmq
import zmq.auth
from zmq.auth.thread import ThreadAuthenticator

from brokers.endpoints.addresses import is_loopback
from streaming.exceptions import CurveKeyFileError, CurveRequiredError

__all__ = [
    "CurveGate",
    "CurveKeys",
    "create_key_file",
    "load_key_file",
    "require_curve",
]

_SETTING = "ZMQ_CURVE_KEY_FILE"


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """The installation's key pair, Z85 text as bytes. The secret half is never shown."""

    public_key: bytes
    secret_key: bytes = field(repr=False)

    def protect_server(self, socket: zmq.Socket[bytes]) -> None:
        """Make ``socket`` accept encrypted peers only; call before it binds."""
        socket.curve_secretkey = self.secret_key
        socket.curve_publickey = self.public_key
        socket.curve_server = True

    def protect_client(self, socket: zmq.Socket[bytes]) -> None:
        """Make ``socket`` connect only to this installation; call before it connects."""
        socket.curve_secretkey = self.secret_key
        socket.curve_publickey = self.public_key
        socket.curve_serverkey = self.public_key


class CurveGate:
    """Lets only holders of the installation's key through, for all server sockets of one context.

    ZeroMQ itself accepts any client that knows the server's public key; this also checks the
    client's own. It works in a thread of its own, as ZAP requires.
    """

    def __init__(self, *, context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys) -> None:
        self._keys = keys
        self._authenticator = ThreadAuthenticator(context)

    def open(self) -> None:
        """Start answering; call before the first server socket of the context binds."""
        self._authenticator.start()
        self._authenticator.configure_curve_callback(credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:
        """Answer ZeroMQ whether the client with this public key may connect."""
        return key == self._keys.public_key

    def close(self) -> None:
        """Stop answering. Idempotent."""
        if self._authenticator.is_alive():
            self._authenticator.stop()


def require_curve(host: str, keys: CurveKeys | None) -> None:
    """Refuse an address that others can reach while there are no keys.

    Raises:
        CurveRequiredError: ``host`` is not loopback and ``keys`` is None.
    """
    if keys is None and not is_loopback(host):
        raise CurveRequiredError(
            f"the bus address {host} can be reached from other machines: set {_SETTING} to the "
            "installation's key file (manage.py createkeyfile --bus FILE makes one), or "
            "ZMQ_HOST to 127.0.0.1"
        )


def load_key_file(path: str | Path) -> CurveKeys | None:
    """Read the key file named by the settings; an empty name means that there are no keys.

    Raises:
        CurveKeyFileError: the file is missing, readable by others, or holds no key pair.
    """
    if not str(path):
        return None
    file = Path(path)
    try:
        mode = file.stat().st_mode
        if not stat.S_ISREG(mode) or mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise CurveKeyFileError(f"{_SETTING}={file} must be a file with mode 0600")
        public_key, secret_key = zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        raise CurveKeyFileError(f"{_SETTING}={file} cannot be read as a key file") from error
    if secret_key is None or len(public_key) != 40 or len(secret_key) != 40:
        raise CurveKeyFileError(f"{_SETTING}={file} holds no secret key")
    return CurveKeys(public_key, secret_key)


def create_key_file(path: str | Path) -> CurveKeys:
    """Make a new key pair and store it with mode 0600.

    Raises:
        CurveKeyFileError: the file exists already or cannot be written.
    """
    public_key, secret_key = zmq.curve_keypair()
    text = (
        "metadata\ncurve\n"
        f'    public-key = "{public_key.decode()}"\n    secret-key = "{secret_key.decode()}"\n'
    )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
    except OSError as error:
        raise CurveKeyFileError(f"{path} cannot be written: {error.strerror}") from error
    return CurveKeys(public_key, secret_key)
