"""One broker's adapter under broken frames: what it publishes of each, and for whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from brokers.contract import BrokerAdapter
from brokers.exceptions import BrokerError
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription, Tick
from tests.fuzz.mutations import Frame

__all__ = ["Target"]


class Target:
    """An adapter that has subscribed some instruments, and frames of every kind for them.

    Args:
        adapter: the class; built here.
        tokens: the broker's names of what is subscribed, in every mode that the adapter has.
        seeds: valid frames, of at least every kind that the broker sends.
        endings: what the adapter raises where a frame says that the broker ends the connection:
            that is read, not refused.
    """

    def __init__(
        self,
        adapter: type[BrokerAdapter],
        *,
        tokens: Iterable[str],
        seeds: Sequence[Frame],
        endings: tuple[type[BrokerError], ...] = (),
    ) -> None:
        self.seeds = seeds
        self._endings = endings
        self._ticks: list[Tick] = []
        self._adapter = adapter(sink=self)
        instruments = [Instrument(InstrumentKey("X", token), token) for token in tokens]
        self._known = set(instruments)
        self._adapter.subscribe([Subscription(each, FeedMode.DEPTH) for each in instruments])

    def decode(self, frame: Frame) -> list[Tick]:
        """Return the ticks that the adapter publishes of a frame."""
        self._ticks = []
        with suppress(*self._endings):
            self._adapter.receive(frame, 0)
        return self._ticks

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        """Take a tick, as a sink does."""
        assert instrument in self._known, instrument
        assert str(tick.broker_token) == instrument.broker_token, (instrument, tick)
        self._ticks.append(tick)

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        """Be a sink; an adapter does not ask for this."""

    def close(self) -> None:
        """Be a sink; an adapter does not ask for this."""
