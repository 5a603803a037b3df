"""The broker's instruments master in OpenAlgo's names. Pure.

Say where its columns are written down.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from typing import BinaryIO, Final

from brokers.decimal_text import normal_decimal
from brokers.exceptions import BrokerProtocolError
from brokers.master_text import master_lines
from brokers.types import InstrumentRow

__all__ = ["parse_master"]

_COLUMNS: Final = ("token", "exchange", "symbol", "name", "expiry", "strike", "type", "lot", "tick")
# Not strftime: its month names follow the locale.
_MONTHS: Final = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
# Where OpenAlgo's name of an index is not the broker's.
_INDEX_NAMES: Final = {"NIFTY 50": "NIFTY", "NIFTY BANK": "BANKNIFTY"}


def parse_master(master: BinaryIO) -> Iterator[InstrumentRow]:
    """Yield the instruments of the CSV, in the file's order, as it is read.

    Raises:
        BrokerProtocolError: not the master, or a row that cannot be used; names the line.
    """
    reader = csv.DictReader(master_lines(master))
    try:
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise BrokerProtocolError(f"instruments master: no column {missing[0]!r}")
        for values in reader:
            try:
                yield _row({column: _field(values, column) for column in _COLUMNS})
            except (BrokerProtocolError, ValueError) as error:
                line = reader.line_num
                raise BrokerProtocolError(f"instruments master: line {line}: {error}") from error
    except csv.Error as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error


def _field(values: dict[str, str | None], column: str) -> str:
    value = values[column]
    if value is None:
        raise BrokerProtocolError("too few columns")
    return value.strip()


def _row(fields: dict[str, str]) -> InstrumentRow:
    token, kind = fields["token"], fields["type"]
    if not (token.isascii() and token.isdigit() and len(token) <= 10):
        raise BrokerProtocolError(f"bad token {token[:20]!r}")
    is_index = kind == "INDEX"
    strike = normal_decimal(fields["strike"]) if kind in {"CE", "PE"} else ""
    return InstrumentRow(
        exchange="NSE_INDEX" if is_index else fields["exchange"],
        symbol=_symbol(fields, strike),
        broker_token=token,
        broker_symbol=fields["symbol"],
        name=fields["name"],
        expiry=fields["expiry"],
        strike=strike,
        lot_size=normal_decimal(fields["lot"] or "0"),
        tick_size=normal_decimal(fields["tick"] or "0"),
        instrument_type=kind,
    )


def _symbol(fields: dict[str, str], strike: str) -> str:
    """Return OpenAlgo's name: underlying, DDMMMYY, and FUT or strike and CE or PE."""
    kind, symbol = fields["type"], fields["symbol"]
    if kind == "INDEX":
        return _INDEX_NAMES.get(symbol, symbol.replace(" ", ""))
    if kind not in {"FUT", "CE", "PE"}:
        return symbol
    day = date.fromisoformat(fields["expiry"])
    month = _MONTHS[3 * day.month - 3 : 3 * day.month]
    return f"{fields['name']}{day.day:02d}{month}{day.year % 100:02d}{strike}{kind}"
