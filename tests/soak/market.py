"""The instruments of a run: which name means which stamp, and masters that change it."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from brokers.angel import symbols as angel_symbols
from brokers.simulator.angel.encoder import encode_master, name_of
from brokers.simulator.listing import ListedInstrument, build_listing, to_csv
from brokers.types import InstrumentRow
from brokers.zerodha.symbols import parse_master

__all__ = ["Change", "Name", "changed_master", "names_of", "tradable"]

Name = tuple[str, str]
_EXCHANGES = ("NSE", "NFO", "BSE")  # two digits behind the point


class Change(NamedTuple):
    """A new master of Zerodha's, and what its names mean from now on (None: nothing)."""

    master: bytes
    names: Mapping[Name, int | None]


def names_of(broker: str, today: date) -> dict[Name, int]:
    """Return the stamp's index of each name that a broker's master has, in the master's order."""
    listing = build_listing(today=today)
    if broker == "zerodha":
        tokens = {str(item.instrument_token): at for at, item in enumerate(listing)}
        rows = list(parse_master(io.BytesIO(to_csv(listing).encode())))
    else:
        named = ((name_of(item), at) for at, item in enumerate(listing))
        tokens = {f"{name[0]}:{name[1]}": at for name, at in named if name is not None}
        rows = list(angel_symbols.parse_master(encode_master(listing)))
    return {_name(row): tokens[row.broker_token] for row in rows}


def tradable(names: Mapping[Name, int], count: int, start: int = 0) -> list[Name]:
    """Return some names whose prices have two digits behind the point."""
    usable = [name for name in names if name[0] in _EXCHANGES]
    return usable[start : start + count]


def changed_master(today: date, round_number: int, names: list[Name]) -> Change:
    """Return the master in which one of ``names`` is renamed, one has expired, one got a token.

    Every round changes others: the shares and options at places 4 * n to 4 * n + 2 of those that
    are options or futures. The first is renamed (its contract stays), the second has left the
    master, the third now has the token of the second and so means the second's contract.
    """
    listing = build_listing(today=today)
    at_of = {_name(row): place for place, row in enumerate(_rows(listing))}
    rows = list(csv.DictReader(io.StringIO(to_csv(listing))))
    meant: dict[Name, int | None] = {}
    for turn in range(round_number + 1):
        some = names[3 * turn : 3 * turn + 3]
        if len(some) < 3:
            break
        renamed, expired, reused = (at_of[name] for name in some)
        new = f"{some[0][1][:20]}R{turn}"
        rows[renamed] |= {"tradingsymbol": new}
        rows[reused] |= {
            "instrument_token": rows[expired]["instrument_token"],
            "exchange_token": rows[expired]["exchange_token"],
        }
        # What earlier rounds changed stays as it is.
        meant = {some[0]: None, (some[0][0], new): renamed, some[1]: None, some[2]: expired}
        rows[expired] = {}
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row for row in rows if row)
    return Change(out.getvalue().encode(), meant)


def _rows(listing: list[ListedInstrument]) -> list[InstrumentRow]:
    return list(parse_master(io.BytesIO(to_csv(listing).encode())))


def _name(row: InstrumentRow) -> Name:
    return (row.exchange, row.symbol)
