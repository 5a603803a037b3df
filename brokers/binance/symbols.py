"""Binance spot's exchange information in OpenAlgo's names.

Source: binance/binance-spot-api-docs, rest-api.md, ``GET /api/v3/exchangeInfo``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from brokers.decimal_text import normal_decimal
from brokers.exceptions import BrokerProtocolError
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
    symbols: list[_Symbol]


_DECODER: Final = msgspec.json.Decoder(_ExchangeInfo)


def parse_master(data: bytes) -> Iterator[InstrumentRow]:
    """Yield the symbols that are trading, in the file's order.

    Raises:
        BrokerProtocolError: not an exchangeInfo answer.
    """
    try:
        info = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise BrokerProtocolError(f"exchangeInfo: {error}") from error
    for symbol in info.symbols:
        if symbol.status == "TRADING":
            yield _instrument(symbol)


def _instrument(symbol: _Symbol) -> InstrumentRow:
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
        lot_size=_step(lot_size.step_size if lot_size else ""),
        tick_size=_step(price_filter.tick_size if price_filter else ""),
        instrument_type="SPOT",
    )


def _step(text: str) -> str:
    return normal_decimal(text) if text else ""
