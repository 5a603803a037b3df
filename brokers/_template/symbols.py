"""The broker's instruments master in OpenAlgo's names. Pure.

Say where its columns are written down.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import BinaryIO, Final

from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import any_decimal, normal_decimal
from brokers.masters.index_names import index_symbol
from brokers.masters.text import fields_of, master_table
from brokers.passed_over import LeftOut, PassedOver, usable_rows
from brokers.types import InstrumentRow

__all__ = ["parse_master"]

_COLUMNS: Final = ("token", "exchange", "symbol", "name", "expiry", "strike", "type", "lot", "tick")
# Not strftime: its month names follow the locale.
_MONTHS: Final = "JANFEBMARAPRMAYJUNJULAUGSEPOCTNOVDEC"
_EXCHANGES: Final = frozenset({"NSE", "NFO"})


def parse_master(master: BinaryIO, passed: PassedOver | None = None) -> Iterator[InstrumentRow]:
    """Yield the instruments of the CSV, in the file's order, as it is read.

    Args:
        master: the file.
        passed: notes rows that are left out or cannot be used; None: the first of the latter ends
            the reading.

    Raises:
        BrokerProtocolError: not the master, or a row that cannot be used; names the line.
    """
    try:
        yield from usable_rows(master_table(master, _COLUMNS), _row, passed)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"instruments master: {error}") from error


def _row(values: dict[str, str | None]) -> InstrumentRow | LeftOut:
    fields = fields_of(values, _COLUMNS)
    token, kind = fields["token"], fields["type"]
    if not (token.isascii() and token.isdigit() and len(token) <= 10):
        raise BrokerProtocolError(f"bad token {token[:20]!r}")
    if fields["exchange"] not in _EXCHANGES:
        return LeftOut(
            f"unknown exchange {fields['exchange'][:20]}", fields["symbol"], is_fault=True
        )
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
        # Nothing that a tick needs: what cannot be read is "".
        lot_size=any_decimal(fields["lot"] or "0"),
        tick_size=any_decimal(fields["tick"] or "0"),
        instrument_type=kind,
    )


def _symbol(fields: dict[str, str], strike: str) -> str:
    """Return OpenAlgo's name: underlying, DDMMMYY, and FUT or strike and CE or PE."""
    kind, symbol = fields["type"], fields["symbol"]
    if kind == "INDEX":
        return index_symbol("NSE_INDEX", symbol)
    if kind not in {"FUT", "CE", "PE"}:
        return symbol
    try:
        day = date.fromisoformat(fields["expiry"])
    except ValueError as error:
        raise BrokerProtocolError(f"bad expiry {fields['expiry'][:20]!r}") from error
    month = _MONTHS[3 * day.month - 3 : 3 * day.month]
    return f"{fields['name']}{day.day:02d}{month}{day.year % 100:02d}{strike}{kind}"
