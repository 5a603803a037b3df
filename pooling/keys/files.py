"""The files of the credentials' keys: a private half that opens, a public half that only seals.

``credentials.key`` (mode 0600) is for the worker and for the commands of whoever runs it. It holds
one key a line: private halves of key pairs, and symmetric keys of installations that began before
there were pairs. Nothing is ever taken out of it; a new pair is appended. ``credentials.pub``
beside it holds the public half in use, which is all that a process needs that stores credentials.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from pathlib import Path

from nacl.public import PrivateKey, PublicKey

from brokers.exceptions import BrokerConfigError

__all__ = [
    "KeyFileError",
    "add_key_pair",
    "check_private_mode",
    "create_key_file",
    "key_id",
    "private_half",
    "public_file",
    "read_private",
    "read_public",
    "write_public",
]

PRIVATE = "sealed-box-private:"
PUBLIC = "sealed-box-public:"
OTHERS = stat.S_IRWXG | stat.S_IRWXO
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
CREATE = "`python manage.py createkeyfile`"


class KeyFileError(BrokerConfigError):
    """A key file cannot be used; the message says which command mends it."""


def public_file(path: Path) -> Path:
    """Return where the public half is that belongs to the key file ``path``."""
    return path.with_suffix(".pub")


def key_id(public: PublicKey) -> str:
    """Return the name of a key pair, 16 hexadecimal digits; it gives nothing away."""
    return hashlib.blake2b(bytes(public), digest_size=8).hexdigest()


def private_half(line: str) -> PrivateKey | None:
    """Return the private half that a line of the key file holds; None: it is of another kind.

    Raises:
        ValueError: it is damaged.
    """
    if not line.startswith(PRIVATE):
        return None
    return PrivateKey(_bytes(line.removeprefix(PRIVATE)))


def check_private_mode(path: Path) -> None:
    """Refuse a key file that others may read. Does not read it.

    Raises:
        KeyFileError: others may read it.
        OSError: it is not there, or out of reach.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        raise KeyFileError(
            f"key file {path} has mode {mode:04o}, so others may read it: run `chmod 600 {path}`"
        )


def read_private(path: Path) -> list[str]:
    """Return the lines of the key file.

    Raises:
        KeyFileError: the file is missing, may be read by others, or cannot be read.
    """
    try:
        check_private_mode(path)
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        public = public_file(path)
        if public.exists():
            words = (
                f"key file {path} is missing: restore the private half that {public.name} belongs "
                f"to, or remove {public}, run {CREATE} and enter the brokers' credentials again"
            )
        else:
            words = (
                f"key file {path} is missing: create it with {CREATE}, or restore the one that "
                "the stored credentials were encrypted with"
            )
        raise KeyFileError(words) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"key file {path} cannot be read: {error}") from None


def read_public(path: Path) -> PublicKey | None:
    """Return the public half beside the key file ``path``, which is not touched; None: no file.

    Raises:
        KeyFileError: others may write it, or it holds no public half.
    """
    file = public_file(path)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"public half {file} cannot be read: {error}") from None
    if mode & OTHERS_WRITE:
        raise KeyFileError(
            f"public half {file} has mode {mode:04o}, so others may put one of their own in its "
            f"place: run `chmod 644 {file}`"
        )
    try:
        if not text.startswith(PUBLIC):
            raise ValueError("another kind of file")
        return PublicKey(_bytes(text.removeprefix(PUBLIC)))
    except ValueError:
        raise KeyFileError(
            f"{file} does not hold the public half of a key pair: remove it and run {CREATE} where "
            f"{path.name} is, which writes it again"
        ) from None


def create_key_file(path: Path) -> None:
    """Write a new key pair: the private half to ``path``, and the public half beside it.

    Raises:
        FileExistsError: there is one of the files already; none is ever overwritten.
        OSError: the directory cannot be made or written.
    """
    if public_file(path).exists():
        raise FileExistsError(public_file(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    pair = PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    _write(descriptor, _line(PRIVATE, bytes(pair)))
    write_public(path, pair.public_key)


def add_key_pair(path: Path) -> PublicKey:
    """Append a new pair to the key file and return its public half, which is not written yet.

    Two who do it at once lose none.

    Raises:
        OSError: the file is not there, or cannot be written.
    """
    pair = PrivateKey.generate()
    # The last line may have been written by hand, without an end.
    _write(os.open(path, os.O_WRONLY | os.O_APPEND), "\n" + _line(PRIVATE, bytes(pair)))
    return pair.public_key


def write_public(path: Path, public: PublicKey) -> None:
    """Put ``public`` beside the key file ``path``, whole at once, for everybody to read.

    Raises:
        OSError: it cannot be written.
    """
    file = public_file(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o644)
    _write(descriptor, _line(PUBLIC, bytes(public)))
    draft.replace(file)


def _line(kind: str, key: bytes) -> str:
    return f"{kind}{base64.urlsafe_b64encode(key).decode('ascii')}\n"


def _bytes(text: str) -> bytes:
    try:
        return _exactly(base64.b64decode(text, altchars=b"-_", validate=True))
    except binascii.Error as error:
        raise ValueError("not in base64") from error


def _exactly(key: bytes) -> bytes:
    if len(key) != PublicKey.SIZE:
        raise ValueError("of another length")
    return key


def _write(descriptor: int, text: str) -> None:
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
