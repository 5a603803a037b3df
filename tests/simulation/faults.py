"""The verbs of a plan by which the broker, the network and the machine fail."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from pooling.testing import VirtualClock
from tests.simulation.exchange import SimulatedExchange

__all__ = ["BrokerVerbs", "SteppedClock"]


class SteppedClock(VirtualClock):
    """A clock whose time of day is set while the seconds go on, as NTP and people do."""

    step_ms = 0

    def time_ms(self) -> int:
        return super().time_ms() + self.step_ms

    def time_us(self) -> int:
        return super().time_us() + self.step_ms * 1000


class BrokerVerbs:
    """What a ``World`` does to its exchange; an index names a link, None all of them."""

    exchange: SimulatedExchange
    clock: SteppedClock

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """The host that is stored now."""

    def do_drop(self, index: int) -> None:
        if links := list(self.exchange.links.values()):
            links[index % len(links)].hang_up()

    def do_drop_all(self) -> None:
        for link in list(self.exchange.links.values()):
            link.hang_up()

    def do_silence(self, index: int | None) -> None:
        links = list(self.exchange.links.values())
        for link in links if index is None else links[index % max(1, len(links)) :][:1]:
            link.go_silent()

    def do_speak(self) -> None:
        for link in list(self.exchange.links.values()):
            link.speak()

    def do_refuse(self, status: int, retry_after: int | None) -> None:
        self.exchange.refusal = (status, retry_after)

    def do_accept(self) -> None:
        self.exchange.refusal = None

    def do_slow_acks(self, seconds: float) -> None:
        self.exchange.ack_seconds = seconds

    def do_slow_handshakes(self, seconds: float) -> None:
        self.exchange.handshake_seconds = seconds

    def do_reject(self) -> None:
        self.exchange.rejects_next = True

    def do_ban(self, numbers: Sequence[int]) -> None:
        self.exchange.banned = frozenset(numbers)

    def do_shrink(self, room: int | None) -> None:
        self.exchange.room = room

    def do_linger(
        self, seconds: float, ends_oldest: bool = False, retry_after: int | None = None
    ) -> None:
        sessions = self.exchange.sessions
        sessions.linger_seconds = seconds
        sessions.ends_oldest, sessions.retry_after = ends_oldest, retry_after

    def do_cut_off(self) -> None:
        """Have nobody reach the endpoint that is stored now."""
        self.exchange.unreachable |= {self.endpoint}

    def do_reach(self) -> None:
        self.exchange.unreachable = frozenset()

    def do_step_clock(self, seconds: float) -> None:
        self.clock.step_ms += int(seconds * 1000)

    def do_close_market(self) -> None:
        self.exchange.is_open_market = False

    def do_open_market(self) -> None:
        self.exchange.is_open_market = True
