"""Credentials at rest, as far as whoever stores them needs it: sealed, and not to be opened again.

A value is sealed for the public half of the installation's key pair (libsodium's sealed box), so a
process that stores credentials holds nothing that could open one; the worker does, with
``pooling.keys.opening``. With each value is sealed which field it is and what it was entered for,
so that nobody who may write to the database can have it sent elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography.fernet import Fernet, MultiFernet
from nacl.public import PublicKey, SealedBox

from brokers.logs.redaction import REDACTOR
from pooling.keys.files import (
    CREATE,
    KeyFileError,
    key_id,
    private_half,
    public_file,
    read_private,
    read_public,
)

__all__ = [
    "SEALED",
    "SYMMETRIC",
    "CredentialSealer",
    "Opens",
    "SealedValue",
    "Seals",
    "SymmetricSealer",
    "key_of",
    "load_sealer",
]

SEALED = "sealed1"
SYMMETRIC = ""  # the name of all keys that are no pairs, and stand in no token


class SealedValue(msgspec.Struct, frozen=True, array_like=True):
    """The inside of a sealed box. Its repr shows no value."""

    bound_to: str
    field: str
    value: str

    def __repr__(self) -> str:
        return f"<SealedValue {self.field} of {self.bound_to}>"


class Seals(Protocol):
    """The half that encrypts credentials."""

    @property
    def key_id(self) -> str:
        """The key pair that it seals for; ``SYMMETRIC`` for a key that also decrypts."""

    def encrypt(self, values: Mapping[str, str], bound_to: str) -> dict[str, str]:
        """Return every field as a token; log lines of this process will not show a value."""


class Opens(Protocol):
    """The half that decrypts them."""

    def decrypt(self, tokens: Mapping[str, str], bound_to: str) -> dict[str, str]:
        """Return every field in clear; from now on no log line of this process shows one.

        Raises:
            BrokerConfigError: it cannot be opened, or was entered for something else.
        """


class CredentialSealer:
    """Seals for a public half. Safe from any thread."""

    def __init__(self, public: PublicKey) -> None:
        self._box = SealedBox(public)
        self._key_id = key_id(public)

    @property
    def key_id(self) -> str:
        """The key pair that it seals for."""
        return self._key_id

    def encrypt(self, values: Mapping[str, str], bound_to: str) -> dict[str, str]:
        """Return every field as a token that names the pair; see ``Seals``.

        Args:
            values: fields in clear, by name.
            bound_to: what they are entered for; nothing else can be given them.
        """
        REDACTOR.learn(values.values())
        return {
            name: self._token(SealedValue(bound_to, name, text)) for name, text in values.items()
        }

    def _token(self, sealed: SealedValue) -> str:
        box = self._box.encrypt(msgspec.msgpack.encode(sealed))
        return f"{SEALED}.{self._key_id}.{base64.urlsafe_b64encode(box).decode('ascii')}"


class SymmetricSealer:
    """Encrypts with the first key of an installation that has no key pair yet."""

    key_id = SYMMETRIC

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, values: Mapping[str, str], bound_to: str) -> dict[str, str]:
        """Return every field as a token; such a token is bound to nothing. See ``Seals``."""
        REDACTOR.learn(values.values())
        return {
            name: self._fernet.encrypt(text.encode()).decode("ascii")
            for name, text in values.items()
        }


def key_of(token: object) -> str:
    """Return the name of the key pair that a token was sealed for; else ``SYMMETRIC``."""
    if not isinstance(token, str) or not token.startswith(f"{SEALED}."):
        return SYMMETRIC
    return token.split(".")[1]


def load_sealer(path: Path) -> Seals:
    """Return what encrypts for the key file ``path``.

    With a public half beside it the key file is left unopened. Without one, it is used if it holds
    symmetric keys only.

    Raises:
        KeyFileError: there is no key to encrypt with, or one that cannot be used.
    """
    public = read_public(path)
    if public is not None:
        return CredentialSealer(public)
    if not path.exists():
        raise KeyFileError(
            f"key file {path} is missing: run {CREATE}, or, beside a worker with a DATA_DIR of its "
            f"own, copy {public_file(path).name} from there"
        )
    lines = read_private(path)
    try:
        if any(private_half(line) is not None for line in lines):
            raise KeyFileError(
                f"public half {public_file(path)} is missing: run {CREATE}, which writes it again"
            )
        return SymmetricSealer(lines)
    except ValueError:
        raise KeyFileError(damaged(path)) from None


def damaged(path: Path) -> str:
    """Return what is said of a key file that holds something else."""
    return (
        f"key file {path} does not hold one key a line: restore it, or remove it and "
        f"{public_file(path).name}, run {CREATE} and enter the brokers' credentials again"
    )
