"""Brokers' credentials at rest: Fernet tokens under keys that belong to one installation.

The key file holds one Fernet key a line. The first encrypts, all decrypt, so a key is rotated by
putting a new one on top. Only the worker decrypts; the site merely encrypts what a form brought.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from brokers.exceptions import BrokerConfigError
from brokers.redaction import REDACTOR

__all__ = ["CredentialCipher", "KeyFileError", "create_key_file"]


class KeyFileError(BrokerConfigError):
    """The key file cannot be used; the message says which command mends it."""


class CredentialCipher:
    """Encrypts and decrypts the fields of a credential, each on its own. Safe from any thread."""

    def __init__(self, *, keys: list[str]) -> None:
        if not keys:
            raise ValueError("at least one key is needed")
        self._fernet = MultiFernet([Fernet(key) for key in keys])

    @classmethod
    def from_file(cls, path: Path) -> CredentialCipher:
        """Read the keys.

        Raises:
            KeyFileError: the file is missing, may be read by others, or holds no valid key.
        """
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            lines = path.read_text(encoding="ascii").split()
        except FileNotFoundError:
            raise KeyFileError(
                f"key file {path} is missing: create it with `python manage.py createkeyfile`, "
                "or restore the one that the stored credentials were encrypted with"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyFileError(f"key file {path} cannot be read: {error}") from None
        if mode & 0o077:
            raise KeyFileError(
                f"key file {path} has mode {mode:04o}, so others may read it: "
                f"run `chmod 600 {path}`"
            )
        try:
            return cls(keys=lines)
        except ValueError:
            raise KeyFileError(
                f"key file {path} does not hold one Fernet key a line: restore it, or remove it, "
                "run `python manage.py createkeyfile` and enter the brokers' credentials again"
            ) from None

    def encrypt(self, value: str) -> str:
        """Return ``value`` as a token of the first key; log lines will not show it."""
        REDACTOR.learn([value])
        return self._fernet.encrypt(value.encode()).decode("ascii")

    def decrypt(self, tokens: Mapping[str, str]) -> dict[str, str]:
        """Return every field in clear; from now on no log line of this process shows one.

        Raises:
            BrokerConfigError: a token was made with a key that is not in the file.
        """
        try:
            values = {
                name: self._fernet.decrypt(token.encode("ascii")).decode()
                for name, token in tokens.items()
            }
        except InvalidToken:
            raise BrokerConfigError(
                "the stored credential was encrypted with a key that is not in the key file: "
                "restore the key or enter the credential again"
            ) from None
        REDACTOR.learn(values.values())
        return values


def create_key_file(path: Path) -> None:
    """Write a new random key to ``path`` with mode 0600.

    Raises:
        FileExistsError: there is a file already; it is never overwritten.
        OSError: the directory cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(Fernet.generate_key() + b"\n")
