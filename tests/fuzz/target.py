"""One broker's adapter under broken frames: what it publishes of each, and for whom."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokers.base import BrokerAdapter
from brokers.exceptions import BrokerAuthError
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription, Tick
from tests.fuzz.mutations import Frame

__all__ = ["Target"]


class Target:
    """An adapter that has subscribed some instruments, and frames of every kind for them.

    Args:
        adapter: the class; built here.
        tokens: the broker's names of what is subscribed, in every mode that the adapter has.
        seeds: valid frames, of at least every kind that the broker sends.
    """

    def __init__(
        self, adapter: type[BrokerAdapter], *, tokens: Iterable[str], seeds: Sequence[Frame]
    ) -> None:
        self.seeds = seeds
        self._ticks: list[Tick] = []
        self._adapter = adapter(sink=self)
        instruments = [Instrument(InstrumentKey("X", token), token) for token in tokens]
        self._known = set(instruments)
        self._adapter.subscribe([Subscription(each, FeedMode.DEPTH) for each in instruments])

    def decode(self, frame: Frame) -> list[Tick]:
        """Return the ticks that the adapter publishes of a frame.

        There are none where the frame ends the connection: a refusal may come out of it.
        """
        self._ticks = []
        try:
            self._adapter.receive(frame, 0)
        except BrokerAuthError:
            assert self._ticks == []
        return self._ticks

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        """Take a tick, as a sink does."""
        assert instrument in self._known, instrument
        assert str(tick.broker_token) == instrument.broker_token, (instrument, tick)
        self._ticks.append(tick)

    def forget(self, keys: Iterable[InstrumentKey]) -> None:
        """Be a sink; an adapter does not ask for this."""
