"""Binance spot's exchange information in OpenAlgo's names.

Source: binance/binance-spot-api-docs, rest-api.md, ``GET /api/v3/exchangeInfo``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from brokers.exceptions import BrokerProtocolError
from brokers.masters.decimal_text import any_decimal
from brokers.passed_over import LeftOut, PassedOver, usable_rows
from brokers.types import InstrumentRow

__all__ = ["EXCHANGE", "parse_master"]

EXCHANGE: Final = "BINANCE"


class _Filter(msgspec.Struct, rename="camel"):
    filter_type: str
    tick_size: str = ""
    step_size: str = ""


class _Symbol(msgspec.Struct, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter] = []


class _ExchangeInfo(msgspec.Struct):
    symbols: list[msgspec.Raw]


_NOT_JSON: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
_DECODER: Final = msgspec.json.Decoder(_ExchangeInfo)
_SYMBOL: Final = msgspec.json.Decoder(_Symbol)


def parse_master(data: bytes, passed: PassedOver | None = None) -> Iterator[InstrumentRow]:
    """Yield the symbols that are trading, in the file's order.

    Args:
        data: the file.
        passed: notes symbols that are not trading, and those that cannot be used; None: the first
            of the latter ends the reading.

    Raises:
        BrokerProtocolError: not an exchangeInfo answer.
    """
    try:
        info = _DECODER.decode(data)
    except _NOT_JSON as error:
        raise BrokerProtocolError(f"exchangeInfo: {error}") from error
    numbered = ((f"symbol {number}", symbol) for number, symbol in enumerate(info.symbols))
    try:
        yield from usable_rows(numbered, _instrument, passed)
    except BrokerProtocolError as error:
        raise BrokerProtocolError(f"exchangeInfo: {error}") from error


def _instrument(raw: msgspec.Raw) -> InstrumentRow | LeftOut:
    try:
        symbol = _SYMBOL.decode(raw)
    except _NOT_JSON as error:
        raise BrokerProtocolError(str(error)) from error
    if symbol.status != "TRADING":
        return LeftOut(f"{symbol.status[:20]} is not trading", symbol.symbol)
    filters = {each.filter_type: each for each in symbol.filters}
    price_filter = filters.get("PRICE_FILTER")
    lot_size = filters.get("LOT_SIZE")
    return InstrumentRow(
        exchange=EXCHANGE,
        symbol=symbol.symbol.upper(),
        broker_token=symbol.symbol.lower(),
        broker_symbol=symbol.symbol,
        name=f"{symbol.base_asset}/{symbol.quote_asset}",
        expiry="",
        strike="",
        lot_size=any_decimal(lot_size.step_size if lot_size else ""),
        tick_size=any_decimal(price_filter.tick_size if price_filter else ""),
        instrument_type="SPOT",
    )
