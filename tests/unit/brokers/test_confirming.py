"""What waits for confirmation and what ended: the same at every broker, however it confirms."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from brokers._template.connection import TemplateAdapter
from brokers.confirming import HeldTokens, Token
from brokers.contract import BrokerAdapter, Confirmed
from brokers.registry import default_registry
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from tests.unit.brokers.broker_frames import answers_of, frames_of, subscription_to

EVERY_BROKER = pytest.mark.parametrize("adapter_class", [*default_registry(), TemplateAdapter])

INFY = Instrument(InstrumentKey("NSE", "INFY"), "7")
TCS = Instrument(InstrumentKey("NSE", "TCS"), "8")


class Socket:
    """One adapter, and a broker that says what is asked of it."""

    def __init__(self, adapter_class: type[BrokerAdapter]) -> None:
        self.adapter_class = adapter_class
        self.sink = RecordingSink()
        self.adapter = adapter_class(sink=self.sink)
        self.modes = adapter_class.capabilities.modes

    def subscribe(self, *numbers: int, mode: FeedMode | None = None) -> list[str | bytes]:
        items = [self.item(number, mode) for number in numbers]
        return self.adapter.subscribe(items)

    def unsubscribe(self, number: int) -> list[str | bytes]:
        return self.adapter.unsubscribe([self.item(number)])

    def item(self, number: int, mode: FeedMode | None = None) -> Subscription:
        return subscription_to(self.adapter_class, number, mode or self.modes[-1])

    def ticks(self, number: int, mode: FeedMode | None = None) -> list[str]:
        """Send what there is of an instrument; the names that were confirmed by it."""
        return self.hear(frames_of(self.adapter_class, number, mode or self.modes[-1]))

    def answers(self, messages: list[str | bytes]) -> list[str]:
        """Answer requests, where the broker does; the names that were confirmed by it."""
        return self.hear(answers_of(self.adapter_class, messages))

    def hear(self, frames: Iterable[str | bytes]) -> list[str]:
        events = [event for frame in frames for event in self.adapter.receive(frame, 1)]
        events += self.adapter.settle()
        confirmed = [event for event in events if isinstance(event, Confirmed)]
        return [key.symbol for event in confirmed for key in event.keys]

    def shown(self) -> list[str]:
        """Return the names of all that was published since the last time."""
        names = [each.instrument.key.symbol for each in self.sink.published]
        self.sink.published.clear()
        return names

    @property
    def waiting(self) -> dict[Token, int]:
        """What the adapter's bookkeeping waits for; a broker with numbered answers has none."""
        held: HeldTokens | None = getattr(self.adapter, "_held", None)
        return {} if held is None else held.awaiting

    @property
    def unknown(self) -> int:
        return self.adapter.ticks_unknown


@EVERY_BROKER
class TestEveryBroker:
    def test_what_has_come_is_confirmed_once_and_nothing_else(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        socket = Socket(adapter_class)
        first, second = socket.subscribe(1), socket.subscribe(2)
        assert socket.answers(first) + socket.ticks(1) == ["S1"]
        assert socket.ticks(1) == []
        assert socket.answers(second) + socket.ticks(2) == ["S2"]
        assert set(socket.shown()) == {"S1", "S2"}

    def test_less_than_was_asked_for_is_shown_and_confirms_nothing(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        socket = Socket(adapter_class)
        messages = socket.subscribe(1)
        if answers_of(adapter_class, messages):
            # Where a broker answers, ticks prove nothing: they may be of what held before.
            assert socket.ticks(1) == []
        elif len(socket.modes) > 1:
            assert socket.ticks(1, socket.modes[0]) == []
        else:
            return
        assert socket.shown() == ["S1"]
        assert socket.answers(messages) + socket.ticks(1) == ["S1"]

    def test_more_than_was_asked_for_confirms(self, adapter_class: type[BrokerAdapter]) -> None:
        socket = Socket(adapter_class)
        messages = socket.subscribe(1, mode=socket.modes[0])
        assert socket.answers(messages) + socket.ticks(1, socket.modes[-1]) == ["S1"]

    def test_a_raise_waits_for_what_it_asked_for(self, adapter_class: type[BrokerAdapter]) -> None:
        socket = Socket(adapter_class)
        low, high = socket.modes[0], socket.modes[-1]
        if low is high:
            return
        messages = socket.subscribe(1, mode=low)
        assert socket.answers(messages) + socket.ticks(1, low) == ["S1"]
        messages = socket.adapter.change_mode([(socket.item(1, low), socket.item(1, high))])
        assert socket.ticks(1, low) == []
        assert socket.answers(messages) + socket.ticks(1, high) == ["S1"]

    def test_what_ended_is_neither_shown_nor_unknown(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        socket = Socket(adapter_class)
        messages = socket.subscribe(1, 2)
        assert sorted([*socket.answers(messages), *socket.ticks(1), *socket.ticks(2)]) == [
            "S1",
            "S2",
        ]
        socket.shown()
        assert socket.answers(socket.unsubscribe(1)) + socket.ticks(1) == []
        assert (socket.shown(), socket.unknown) == ([], 0)
        socket.ticks(2)
        assert set(socket.shown()) == {"S2"}

    def test_what_ended_while_it_waited_is_not_confirmed(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        socket = Socket(adapter_class)
        messages = socket.subscribe(1)
        socket.unsubscribe(1)
        assert socket.waiting == {}
        assert socket.answers(messages) + socket.ticks(1) == []
        assert (socket.shown(), socket.unknown) == ([], 0)

    def test_what_is_asked_for_again_is_confirmed_again(
        self, adapter_class: type[BrokerAdapter]
    ) -> None:
        socket = Socket(adapter_class)
        for _ in range(2):
            messages = socket.subscribe(1)
            assert socket.answers(messages) + socket.ticks(1) == ["S1"]
            assert "S1" in socket.shown()
            socket.unsubscribe(1)

    def test_what_was_never_asked_for_is_unknown(self, adapter_class: type[BrokerAdapter]) -> None:
        socket = Socket(adapter_class)
        socket.subscribe(1)
        assert socket.ticks(2) == []
        assert socket.shown() == []
        assert socket.unknown > 0 or adapter_class.capabilities.name == "binance"

    def test_another_socket_knows_nothing_of_it(self, adapter_class: type[BrokerAdapter]) -> None:
        """Neither what waited, nor what ended: the broker says nothing of either there."""
        socket = Socket(adapter_class)
        messages = socket.subscribe(1, 2)
        socket.unsubscribe(2)
        socket.adapter.reset()
        assert socket.waiting == {}
        assert socket.answers(messages) + socket.ticks(1) + socket.ticks(2) == []
        assert socket.shown() == []
        assert socket.unknown > 1 or adapter_class.capabilities.name == "binance"
        messages = socket.subscribe(1)
        assert socket.answers(messages) + socket.ticks(1) == ["S1"]


def test_a_token_waits_until_as_much_has_come() -> None:
    held = HeldTokens()
    held.take(7, INFY, FeedMode.QUOTE)
    assert held.confirm(7, FeedMode.LTP) is None
    assert held.awaiting == {7: FeedMode.QUOTE}
    assert held.confirm(7, FeedMode.QUOTE) == INFY.key
    assert held.confirm(7, FeedMode.QUOTE) is None
    assert (held.awaiting, held.instruments) == ({}, {7: INFY})


def test_a_token_that_was_never_held_confirms_nothing() -> None:
    held = HeldTokens()
    assert held.confirm(7, FeedMode.DEPTH) is None
    assert held.is_unknown(7)


def test_a_token_is_known_until_the_socket_is_gone() -> None:
    held = HeldTokens()
    held.take("7", INFY, 1)
    assert not held.is_unknown("7")
    held.end("7")
    assert not held.is_unknown("7")
    assert (held.instruments, held.awaiting) == ({}, {})
    held.clear()
    assert held.is_unknown("7")


def test_what_waits_can_end_at_once() -> None:
    """Of what has been confirmed nothing ends."""
    held = HeldTokens()
    held.take(7, INFY, 1)
    held.take(8, TCS, 1)
    held.confirm(7, 1)
    assert held.end_awaited() == [TCS]
    assert held.end_awaited() == []
    assert held.instruments == {7: INFY}
    assert not held.is_unknown(8)
