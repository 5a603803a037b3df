"""Which accounts a broker counts together, told apart without showing a credential."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from brokers.exceptions import BrokerConfigError
from pooling.crypto import CredentialCipher
from pooling.models import BrokerAccount

__all__ = ["SeatGroups"]


class SeatGroups:
    """Names for groups of accounts whose credentials have a value in common.

    A name is a keyed hash that means nothing outside of this object. Credentials are decrypted once
    a version. Blocking; one thread at a time.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        # By account: what it was made of, and the group.
        self._known: dict[int, tuple[tuple[str, int], str]] = {}

    def of(self, accounts: Iterable[BrokerAccount], key_file: Path) -> dict[int, str]:
        """Return the group of each account by primary key; "" where it counts for itself."""
        found: dict[int, tuple[tuple[str, int], str]] = {}
        cipher: CredentialCipher | None = None
        for account in accounts:
            made_of = (account.broker, account.credentials_version)
            known = self._known.get(account.pk)
            if known is None or known[0] != made_of:
                try:
                    cipher = cipher or CredentialCipher.from_file(key_file)
                    known = made_of, self._group(account, cipher)
                except (BrokerConfigError, ValueError, TypeError, AttributeError):
                    continue  # whoever connects with it says so
            found[account.pk] = known
        self._known = found
        return {pk: group for pk, (_, group) in found.items()}

    def _group(self, account: BrokerAccount, cipher: CredentialCipher) -> str:
        field = account.capabilities().connections_count_by
        if not field or field not in account.credentials:
            return ""
        value = cipher.decrypt({field: account.credentials[field]})[field].strip()
        # Whether brokers that may count together do is for the owner to know: each by itself here.
        digest = hmac.new(self._key, f"{account.broker}\0{value}".encode(), hashlib.sha256)
        return digest.hexdigest() if value else ""
