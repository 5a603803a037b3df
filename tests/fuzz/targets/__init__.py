"""What is fuzzed: one module a broker, with a function ``target`` that makes its ``Target``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.target import Target
from tests.fuzz.targets import angel, binance, upstox, zerodha

__all__ = ["TARGETS"]

TARGETS: Mapping[str, Callable[[], Target]] = {
    "zerodha": zerodha.target,
    "binance": binance.target,
    "angel": angel.target,
    "upstox": upstox.target,
}
