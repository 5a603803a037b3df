"""News on a link that was opened again: anything newer than what was known before. Pure.

A broker sends its last known price when something is subscribed, however old that is, and a feed
that is dead behind a working link may send the same again and again. News is what the exchange
stamped just now, or what differs from the first that came of the instrument on this socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from brokers.types import Instrument, InstrumentKey, Tick, TickSink

__all__ = ["NewsSink"]

FRESH_MS = 5000  # of clocks that agree; where they do not, only what differs is news
_COMPARED = (
    *("ltp", "ltt_ms", "ts_event_ms", "volume", "oi", "last_trade_quantity"),
    *("bid_price", "ask_price", "bid_size", "ask_size", "total_buy_quantity"),
    "total_sell_quantity",
)


class NewsSink(TickSink):
    """Publishes into another sink, and calls ``on_news`` once, at the first news. On one loop.

    Stands between an adapter and its sink only until then: the tick path has nothing of it.
    """

    def __init__(self, sink: TickSink, on_news: Callable[[], None]) -> None:
        self.sink = sink  # the pool's
        self._on_news = on_news
        self._first: dict[tuple[InstrumentKey, int], Tick] = {}  # by price scale, too
        self._is_over = False  # there was news

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        """Publish, and look whether it is news."""
        self.sink.publish(instrument, tick, ts_received_us)
        if not self._is_over and self._is_news(instrument.key, tick, ts_received_us):
            self._is_over = True
            self._on_news()

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        """See ``TickSink``."""
        self.sink.forget(keys)

    def close(self) -> None:
        """See ``TickSink``."""
        self.sink.close()

    def _is_news(self, key: InstrumentKey, tick: Tick, ts_received_us: int) -> bool:
        stamped = tick.ts_event_ms
        if stamped is not None and abs(ts_received_us // 1000 - stamped) <= FRESH_MS:
            return True
        first = self._first.setdefault((key, tick.price_scale), tick)
        return first is not tick and _differs(first, tick)


def _differs(first: Tick, tick: Tick) -> bool:
    """Compare what both have: modes and levels come in packets of their own."""
    pairs = [(getattr(first, name), getattr(tick, name)) for name in _COMPARED]
    pairs += [
        (each[0] if each else None, other[0] if other else None)
        for each, other in ((first.bids, tick.bids), (first.asks, tick.asks))
    ]
    return any(one is not None and two is not None and one != two for one, two in pairs)
