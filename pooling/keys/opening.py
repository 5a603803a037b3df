"""Opening what was sealed: for the worker, and for commands of whoever runs it. No gateway does."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox

from brokers.exceptions import BrokerConfigError
from brokers.logs.redaction import REDACTOR
from pooling.keys.crypto import SYMMETRIC, SealedValue, damaged, key_of
from pooling.keys.files import KeyFileError, key_id, private_half, public_file, read_private

__all__ = ["CredentialOpener"]


class CredentialOpener:
    """Opens tokens of every key that one key file holds. Safe from any thread."""

    def __init__(self, *, lines: Sequence[str]) -> None:
        """Raises ValueError where ``lines`` are not one key each, or none."""
        if not lines:
            raise ValueError("at least one key is needed")
        halves = [private_half(line) for line in lines]
        self._pairs: dict[str, PrivateKey] = {
            key_id(half.public_key): half for half in halves if half is not None
        }
        symmetric = [Fernet(line) for line, half in zip(lines, halves, strict=True) if half is None]
        self._symmetric = MultiFernet(symmetric) if symmetric else None
        # New keys come behind, so the first stays the first.
        self._first = lines[0].encode("ascii")

    @classmethod
    def from_file(cls, path: Path) -> CredentialOpener:
        """Read the keys.

        Raises:
            KeyFileError: the file is missing, may be read by others, or holds no valid key.
        """
        lines = read_private(path)
        try:
            return cls(lines=lines)
        except ValueError:
            raise KeyFileError(damaged(path)) from None

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The names of the key pairs, the newest last."""
        return tuple(self._pairs)

    @property
    def newest(self) -> PublicKey | None:
        """The public half of the newest pair; None: there are symmetric keys only."""
        return self._pairs[self.key_ids[-1]].public_key if self._pairs else None

    def knows(self, token: object) -> bool:
        """Whether the key of a token is there; of a token without a pair's name, whether any is."""
        name = key_of(token)
        return self._symmetric is not None if name == SYMMETRIC else name in self._pairs

    def decrypt(self, tokens: Mapping[str, str], bound_to: str) -> dict[str, str]:
        """Return every field in clear; from now on no log line of this process shows one.

        Args:
            tokens: fields by name, of any of the keys.
            bound_to: what they are opened for, the same words that they were sealed with.

        Raises:
            BrokerConfigError: a token's key is not in the file, it was changed, or it was entered
                for something else.
        """
        values = {name: self._value(name, token, bound_to) for name, token in tokens.items()}
        REDACTOR.learn(values.values())
        return values

    def group_key(self) -> bytes:
        """Return a key for names of groups: the same in all workers of the key file, no other's."""
        return hashlib.blake2b(self._first, digest_size=32, person=b"seat groups").digest()

    def mismatch(self, path: Path, sealing: str) -> str | None:
        """Return what is wrong if the public half in use, by name, belongs to no key here."""
        if sealing in (SYMMETRIC, *self.key_ids):
            return None
        public = public_file(path)
        return (
            f"public half {public} belongs to no key in {path}, so nobody can open what is stored "
            f"from now on: restore both from one copy, or remove {public} and run "
            "`python manage.py createkeyfile`, which writes it again"
        )

    def _value(self, field: str, token: str, bound_to: str) -> str:
        if key_of(token) == SYMMETRIC:
            return self._symmetric_value(token)
        sealed = self._sealed(token)
        if (sealed.bound_to, sealed.field) != (bound_to, field):
            raise BrokerConfigError(
                f"what is stored as {field} was entered for something else ({sealed.field} of "
                f"{sealed.bound_to}) and is not given to {bound_to}: enter it again"
            )
        return sealed.value

    def _symmetric_value(self, token: str) -> str:
        try:
            if self._symmetric is None:
                raise InvalidToken
            return self._symmetric.decrypt(token.encode("ascii")).decode()
        except InvalidToken:
            raise BrokerConfigError(
                "the stored credential was encrypted with a key that is not in the key file: "
                "restore the key or enter the credential again"
            ) from None

    def _sealed(self, token: str) -> SealedValue:
        pair = self._pairs.get(key_of(token))
        if pair is None:
            raise BrokerConfigError(
                f"the stored credential was sealed for key {key_of(token)}, which is not in the "
                "key file: restore the key or enter the credential again"
            )
        try:
            box = base64.b64decode(token.split(".", 2)[2], altchars=b"-_", validate=True)
            return msgspec.msgpack.decode(SealedBox(pair).decrypt(box), type=SealedValue)
        except (CryptoError, binascii.Error, IndexError, ValueError, msgspec.MsgspecError):
            raise BrokerConfigError(
                "the stored credential was changed after it was sealed: enter it again"
            ) from None
