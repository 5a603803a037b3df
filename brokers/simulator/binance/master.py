"""Binance's instruments master, made from the symbols of a capture. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from brokers.simulator.binance.capture import Capture

__all__ = ["exchange_info"]

# Longest first: FDUSD ends in USD.
_QUOTE_ASSETS = (
    "FDUSD",
    *("USDT", "BUSD", "USDC", "TUSD"),
    *("BTC", "ETH", "BNB", "EUR", "GBP", "TRY", "BRL", "AUD", "USD"),
)
_PRECISION = 8


class _Trade(msgspec.Struct):
    """The prices (b, a, p) and quantities (B, A, q) of a bookTicker, an aggTrade or a trade."""

    b: str | list[Any] | None = None
    a: Any = None
    p: Any = None
    B: Any = None
    A: Any = None
    q: Any = None


_TRADE = msgspec.json.Decoder(_Trade)
_TRADE_STREAMS = ("bookTicker", "aggTrade", "trade")


def exchange_info(capture: Capture, *, now_ms: int) -> dict[str, Any]:
    """Return the body of ``GET /api/v3/exchangeInfo`` for the capture's symbols, all trading.

    Tick and lot sizes are the finest that its prices and quantities show.
    """
    prices: dict[str, int] = defaultdict(int)
    quantities: dict[str, int] = defaultdict(int)
    for frame in capture.frames:
        symbol, _, kind = frame.stream.partition("@")
        if kind in _TRADE_STREAMS:
            seen = _TRADE.decode(frame.payload)
            prices[symbol] = _finest(prices[symbol], (seen.b, seen.a, seen.p))
            quantities[symbol] = _finest(quantities[symbol], (seen.B, seen.A, seen.q))
    names = dict.fromkeys(
        name.partition("@")[0]
        for name in (*capture.streams, *(frame.stream for frame in capture.frames))
        if not name.startswith("!")
    )
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "rateLimits": [],
        "exchangeFilters": [],
        "symbols": [
            _symbol(name.upper(), prices.get(name) or _PRECISION, quantities.get(name, _PRECISION))
            for name in names
        ],
    }


def _finest(decimals: int, values: Iterable[Any]) -> int:
    for value in values:
        if isinstance(value, str):
            decimals = max(decimals, len(value.partition(".")[2].rstrip("0")))
    return decimals


def _symbol(symbol: str, price_decimals: int, quantity_decimals: int) -> dict[str, Any]:
    quote = next((asset for asset in _QUOTE_ASSETS if symbol.endswith(asset)), "")
    tick, step = _step(price_decimals), _step(quantity_decimals)
    return {
        "symbol": symbol,
        "status": "TRADING",
        "baseAsset": symbol.removesuffix(quote),
        "baseAssetPrecision": _PRECISION,
        "quoteAsset": quote,
        "quotePrecision": _PRECISION,
        "quoteAssetPrecision": _PRECISION,
        "orderTypes": ["LIMIT", "MARKET"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "1000000.00000000",
                "tickSize": tick,
            },
            {
                "filterType": "LOT_SIZE",
                "minQty": step,
                "maxQty": "9000000.00000000",
                "stepSize": step,
            },
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }


def _step(decimals: int) -> str:
    return f"{10.0**-decimals:.{_PRECISION}f}"
