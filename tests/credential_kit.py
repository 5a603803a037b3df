"""Both halves of a key pair in one hand, as tests need them and no process has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.fernet import Fernet
from nacl.public import PrivateKey

from pooling.keys.crypto import CredentialSealer, load_sealer
from pooling.keys.files import create_key_file
from pooling.keys.opening import CredentialOpener

__all__ = ["CredentialCipher", "create_symmetric_key_file", "foreign_sealer"]


class CredentialCipher:
    """Seals as a gateway does, and opens as a worker does, with the files as they are now."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def created(cls, path: Path) -> CredentialCipher:
        """Make a key pair and return what uses it."""
        create_key_file(path)
        return cls(path)

    @property
    def key_id(self) -> str:
        return load_sealer(self._path).key_id

    def encrypt(self, values: Mapping[str, str], bound_to: str) -> dict[str, str]:
        return load_sealer(self._path).encrypt(values, bound_to)

    def decrypt(self, tokens: Mapping[str, str], bound_to: str) -> dict[str, str]:
        return CredentialOpener.from_file(self._path).decrypt(tokens, bound_to)


def create_symmetric_key_file(path: Path) -> None:
    """Make the key file of an installation that began before there were key pairs."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(Fernet.generate_key() + b"\n")


def foreign_sealer() -> CredentialSealer:
    """Return what seals for a key pair that no file of the test holds."""
    return CredentialSealer(PrivateKey.generate().public_key)
