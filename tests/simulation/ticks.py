"""Whether the market's ticks came out: all of them, and never an older one behind a newer one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from brokers.types import Instrument, InstrumentKey, Tick
from tests.simulation.names import key_of, told_by

__all__ = ["LastValues"]


class LastValues:
    """A ``TickSink`` that knows which instruments it would show a price of, and which tick's.

    Args:
        complain: takes what must not be.
        is_late: tells whether an older tick of an instrument may come now.
    """

    def __init__(
        self, complain: Callable[[str], None], is_late: Callable[[InstrumentKey], bool]
    ) -> None:
        self.keys: set[InstrumentKey] = set()
        self.published = 0
        self._complain = complain
        self._is_late = is_late
        self._numbers: dict[InstrumentKey, int] = {}
        self._due: tuple[int, frozenset[InstrumentKey]] = 0, frozenset()

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        key, (traded, number) = instrument.key, told_by(tick.ltp or 0)
        self.published += 1
        if key_of(traded) != key:
            self._complain(f"a price of {key_of(traded)} came out as one of {key}")
        self.keys.add(key)
        last = self._numbers.get(key, 0)
        if number < last and not self._is_late(key):
            self._complain(f"tick {number} of {key} came behind tick {last}")
        self._numbers[key] = max(number, last)

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        if keys is None:
            self.keys.clear()
        else:
            self.keys.difference_update(keys)

    def close(self) -> None:
        self.keys.clear()

    def expect(self, number: int, keys: Collection[InstrumentKey]) -> None:
        """Take note of what has to come out before the next call."""
        self._due = number, frozenset(keys)

    def check(self, still: Collection[InstrumentKey]) -> None:
        """Complain of what did not come out, of those that are ``still`` asked for."""
        number, due = self._due
        for key in sorted(due.intersection(still)):
            if self._numbers.get(key, 0) < number:
                self._complain(f"tick {number} of {key} was lost")
