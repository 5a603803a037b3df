"""Keys that stored credentials were sealed for, and sealing them again for the one in use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from brokers.exceptions import BrokerConfigError
from pooling.keys.crypto import Opens, Seals, key_of
from pooling.models import AlertTarget, BrokerAccount, LoginSetup
from pooling.operations.naming import account_name

Row: TypeAlias = BrokerAccount | AlertTarget | LoginSetup

__all__ = ["Resealed", "keys_of", "reseal", "rows_by_key", "rows_left", "rows_of_others"]


@dataclass(slots=True)
class Resealed:
    """End of a sealing of rows.

    ``changed`` counts rows that somebody saved in the meantime. ``unreadable`` are sentences.
    """

    done: int = 0
    changed: int = 0
    unreadable: list[str] = field(default_factory=list)


def keys_of(tokens: object) -> frozenset[str]:
    """Return the names of the keys of one row's tokens; what is no object of tokens has none."""
    return frozenset(map(key_of, tokens.values())) if isinstance(tokens, dict) else frozenset()


def rows_by_key() -> Counter[str]:
    """Return how many rows have anything that was encrypted with a key, by the key's name."""
    return Counter(name for row in _rows() for name in keys_of(_tokens(row)))


def rows_left(in_use: str, known: Collection[str]) -> int:
    """Return how many rows wait for ``reseal``: their keys are known, and not all in use."""
    found = (keys_of(_tokens(row)) for row in _rows())
    return sum(not keys <= {in_use} and keys <= {in_use, *known} for keys in found)


def rows_of_others(in_use: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each row that other keys than the one in use encrypted: its name, and theirs."""
    for row in _rows():
        if others := sorted(keys_of(_tokens(row)) - {in_use}):
            yield _name(row), others


def reseal(opener: Opens, sealer: Seals) -> Resealed:
    """Seal again, for the key in use, whatever was encrypted with another.

    Versions stay, as values do, so no connection is opened again. What cannot be opened stays as it
    is, and so does a row that somebody saves at the same time: with the key in use.
    """
    result = Resealed()
    for row in _rows():
        tokens = _tokens(row)
        if keys_of(tokens) <= {sealer.key_id}:
            continue
        try:
            is_done = _reseal(row, tokens, opener, sealer)
        except BrokerConfigError as error:
            result.unreadable.append(f"{_name(row)}: {error}")
            continue
        result.done += is_done
        result.changed += not is_done
    return result


def _rows() -> Iterator[Row]:
    yield from BrokerAccount.objects.select_related("user").order_by("pk")
    yield from AlertTarget.objects.select_related("account__user").order_by("pk")
    yield from LoginSetup.objects.select_related("account__user").order_by("pk")


def _tokens(row: Row) -> Any:
    return row.credentials if isinstance(row, BrokerAccount) else row.secrets


def _reseal(row: Row, tokens: dict[str, str], opener: Opens, sealer: Seals) -> bool:
    """Return whether the row was still as it was read."""
    if isinstance(row, BrokerAccount):
        new = sealer.encrypt(row.credentials_in_clear(opener), row.destination())
        accounts = BrokerAccount.objects.filter(pk=row.pk, credentials=tokens)
        # The destination is part of what was sealed.
        same = accounts.filter(broker=row.broker, endpoint=row.endpoint)
        return bool(same.update(credentials=new))
    if isinstance(row, LoginSetup):
        new = sealer.encrypt(opener.decrypt(tokens, row.bound_to()), row.bound_to())
        setups = LoginSetup.objects.filter(pk=row.pk, secrets=tokens, endpoint=row.endpoint)
        return bool(setups.update(secrets=new))
    row.set_secrets(row.secrets_in_clear(opener), sealer)
    return bool(AlertTarget.objects.filter(pk=row.pk, secrets=tokens).update(secrets=row.secrets))


def _name(row: Row) -> str:
    if isinstance(row, BrokerAccount):
        return account_name(row)
    if isinstance(row, LoginSetup):
        return f"login of {account_name(row.account)}"
    return f"alert target {row.pk} of {account_name(row.account)}"
