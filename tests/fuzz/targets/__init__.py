"""What is fuzzed: one module a broker, with a function ``target`` that makes its ``Target``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import angel, binance, dhan, fyers, upstox, zerodha

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Callable[[], Target]] = {
    "zerodha": zerodha.target,
    "binance": binance.target,
    "angel": angel.target,
    "dhan": dhan.target,
    "dhan_depth20": dhan.target_20,
    "dhan_depth200": dhan.target_200,
    "fyers": fyers.target,
    "upstox": upstox.target,
}
