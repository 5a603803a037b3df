"""Accounts that a broker counts together, told apart without showing a credential."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from brokers.exceptions import BrokerConfigError
from pooling.keys.opening import CredentialOpener
from pooling.models import BrokerAccount, PoolStatus

__all__ = ["SeatGroups"]


class SeatGroups:
    """Names for groups of accounts whose credentials have a value in common.

    A name is a keyed hash, the same in all workers of one key file; nobody without that file can
    say what it is made of. Credentials are opened once a version. Blocking; ``of`` in one thread at
    a time, ``fact`` in any.
    """

    def __init__(self) -> None:
        # Of the first opener: keys that are added later change no name.
        self._key: bytes | None = None
        # By account: what it was made of, and the group. Replaced, never changed.
        self._known: dict[int, tuple[tuple[str, int], str]] = {}

    def of(self, accounts: Iterable[BrokerAccount], key_file: Path) -> dict[int, str]:
        """Return the group of each account by primary key; "" where it counts for itself."""
        found: dict[int, tuple[tuple[str, int], str]] = {}
        opener: CredentialOpener | None = None
        for account in accounts:
            made_of = (account.broker, account.credentials_version)
            known = self._known.get(account.pk)
            if known is None or known[0] != made_of:
                try:
                    opener = opener or CredentialOpener.from_file(key_file)
                    known = made_of, self._group(account, opener)
                except (BrokerConfigError, ValueError, TypeError, AttributeError):
                    continue  # whoever connects with it says so
            found[account.pk] = known
        self._known = found
        return {pk: group for pk, (_, group) in found.items()}

    def fact(self, account_id: int) -> str:
        """Return what is written of an account's group for who cannot open credentials."""
        (_, version), group = self._known.get(account_id, (("", 0), ""))
        return PoolStatus.seat_group_fact(version, group)

    def _group(self, account: BrokerAccount, opener: CredentialOpener) -> str:
        field = account.capabilities().connections_count_by
        if not field or field not in account.credentials:
            return ""
        tokens = {field: account.credentials[field]}
        value = opener.decrypt(tokens, account.destination())[field].strip()
        self._key = self._key or opener.group_key()
        # Whether brokers that may count together do is for the owner to know: each by itself here.
        text = f"{account.broker}\0{value}".encode()
        return hashlib.blake2b(text, key=self._key, digest_size=16).hexdigest() if value else ""
