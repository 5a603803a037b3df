"""Names that the rows of a master get, so that each means one instrument and stays so. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from brokers.passed_over import PassedOver
from brokers.types import InstrumentRow

__all__ = ["MAX_NAME_LENGTH", "named_apart"]

MAX_EXCHANGE_LENGTH: Final = 16
# A client asks for no longer one, in bytes.
MAX_SYMBOL_LENGTH: Final = 64
MAX_TOKEN_LENGTH: Final = 64
MAX_TEXT_LENGTH: Final = 64
MAX_NAME_LENGTH: Final = 128
_PARTS: Final = re.compile(r"[|:]")

_Key = tuple[str, str]


def named_apart(
    rows: Iterable[InstrumentRow], before: Mapping[_Key, str], passed: PassedOver
) -> Iterator[tuple[InstrumentRow, str]]:
    """Yield rows that fit the database, each with a name and a token of its own, and its old name.

    Where several have one name, the one that had it before keeps it, else the first of the master;
    the others get their token behind it: ``9NTPC29-961234``. A row that is there twice counts once;
    of two names with one token the first counts.

    Args:
        rows: of a master.
        before: the token that each exchange and symbol had in the master before.
        passed: notes what is left out, and who got another name.
    """
    names: dict[_Key, str] = {}  # the token of each name that is given
    tokens: dict[str, _Key] = {}  # the name of each token that is given
    # Their name belonged to another token, which may still come.
    later: list[InstrumentRow] = []
    for is_later in (False, True):
        for row in later if is_later else rows:
            key = (row.exchange, row.symbol)
            if not _fits(row):
                why = "name or token is too long or not printable"
                passed.leave_out(why, f"{row.exchange}:{row.symbol}", is_fault=True)
                continue
            if not is_later and before.get(key, row.broker_token) != row.broker_token:
                later.append(row)
                continue
            if (owner := tokens.get(row.broker_token)) is not None:
                _leave_out_token(row, owner, passed)
                continue
            name = _free_name(row, names)
            if name is None:
                why = "no free name"
                passed.leave_out(why, f"{row.exchange}:{row.symbol}", is_fault=True)
                continue
            if name != row.symbol:
                passed.renamed.add(f"{row.exchange}:{name}")
            names[row.exchange, name] = row.broker_token
            tokens[row.broker_token] = (row.exchange, name)
            yield _cut(row, name), row.symbol


def _leave_out_token(row: InstrumentRow, owner: _Key, passed: PassedOver) -> None:
    if owner[0] == row.exchange and owner[1] in _names_of(row):
        passed.leave_out("is there twice", f"{row.exchange}:{row.symbol}")
        return
    passed.leave_out(
        "has the token of another",
        f"{row.exchange}:{row.symbol} ({row.broker_token} is {owner[0]}:{owner[1]})",
        is_fault=True,
    )


def _names_of(row: InstrumentRow) -> tuple[str, str]:
    return row.symbol, f"{row.symbol}-{_PARTS.split(row.broker_token)[-1]}"


def _free_name(row: InstrumentRow, names: Mapping[_Key, str]) -> str | None:
    for name in _names_of(row):
        fits = len(name.encode()) <= MAX_SYMBOL_LENGTH
        if fits and (row.exchange, name) not in names:
            return name
    return None


def _fits(row: InstrumentRow) -> bool:
    return (
        0 < len(row.symbol.encode()) <= MAX_SYMBOL_LENGTH
        and row.symbol.isprintable()
        and len(row.exchange) <= MAX_EXCHANGE_LENGTH
        and 0 < len(row.broker_token) <= MAX_TOKEN_LENGTH
        and row.broker_token.isprintable()
    )


def _cut(row: InstrumentRow, symbol: str) -> InstrumentRow:
    """Make what no tick needs fit, too: such a text cannot refuse a load."""
    name = row.name if row.name.isprintable() else "".join(filter(str.isprintable, row.name))
    broker_symbol = row.broker_symbol
    if len(broker_symbol) > MAX_TEXT_LENGTH or not broker_symbol.isprintable():
        broker_symbol = ""
    if len(name) > MAX_NAME_LENGTH:
        name = name[:MAX_NAME_LENGTH]
    if (symbol, broker_symbol, name) == (row.symbol, row.broker_symbol, row.name):
        return row
    return msgspec.structs.replace(row, symbol=symbol, broker_symbol=broker_symbol, name=name)
