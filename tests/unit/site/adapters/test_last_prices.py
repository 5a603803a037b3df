"""Last prices for the order of a search: never a reason to wait or to fail."""

from __future__ import annotations

from collections.abc import Sequence

from brokers.types import InstrumentKey
from openalgo_site.adapters.last_prices import LastPrices

NIFTY = InstrumentKey("NSE_INDEX", "NIFTY")
TCS = InstrumentKey("NSE", "TCS")
BODY = b'{"type":"market_data","symbol":"NIFTY","exchange":"NSE_INDEX","mode":1,"data":{"ltp":%s}}'


class Source:
    """Answers what it is told to, and counts how often it was asked."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies: Sequence[bytes] = bodies
        self.error: Exception | None = None
        self.asked = 0

    def last_values(
        self, pool_ids: Sequence[str], keys: Sequence[InstrumentKey], timeout_seconds: float
    ) -> Sequence[bytes]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.bodies


def test_prices_are_those_that_a_pool_knows() -> None:
    prices = LastPrices()
    assert prices.of(["1"], [NIFTY]) == {}
    source = Source(BODY % b"24130.5")
    prices.ask_of(source)
    assert prices.of(["1"], [NIFTY, TCS]) == {NIFTY: 24130.5}
    assert prices.of([], [NIFTY]) == {}
    source.bodies = [BODY % b"null"]
    assert prices.of(["1"], [NIFTY]) == {}


def test_who_does_not_answer_is_left_alone_for_a_while() -> None:
    now = 0.0
    prices = LastPrices(clock=lambda: now)
    source = Source(BODY % b"24130.5")
    prices.ask_of(source)
    for error in (TimeoutError(), RuntimeError("broken")):
        source.error, source.asked = error, 0
        for _ in range(3):
            assert prices.of(["1"], [NIFTY]) == {}
        assert source.asked == 1
        now += 5.1
    source.error = None
    assert prices.of(["1"], [NIFTY]) == {NIFTY: 24130.5}
