"""Who gets which exclusive connection. Pure: it counts and queues, its owner opens and closes.

Callers are served in the order of their asking. An idle connection of the same URI is reused, the
one used last first, so that those that are not needed grow old and are closed. Without one a
further connection is opened; at the limit an idle one of another URI makes way. A later caller may
be served before an earlier one only while the earlier one's place is being cleared.

A connection counts from the decision to open it until its socket is closed: that is how a broker
counts.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

__all__ = ["Decision", "Evict", "ExclusiveLedger", "Open", "Reuse", "Seats", "Ticket"]


class Seats(Protocol):
    """A limit on connections that others take from too. Called on the owner's loop."""

    def take(self) -> bool:
        """Take a seat if there is one."""

    def give_back(self) -> None:
        """Give a seat back."""


class _OwnSeats:
    """No limit but the ledger's own."""

    def take(self) -> bool:
        return True

    def give_back(self) -> None:
        pass


class Ticket:
    """One caller's place in the queue."""

    __slots__ = ("uri",)

    def __init__(self, uri: str) -> None:
        self.uri = uri


class Reuse(NamedTuple):
    """The caller gets an idle connection."""

    ticket: Ticket
    number: int


class Open(NamedTuple):
    """The caller may open a connection."""

    ticket: Ticket


class Evict(NamedTuple):
    """An idle connection is to be closed: its place is needed."""

    number: int


Decision = Reuse | Open | Evict


class ExclusiveLedger:
    """Counts and queue of one pool. Not thread-safe.

    Args:
        max_connections: how many may be open at once.
        seats: a limit shared with others; None: there is none.
    """

    def __init__(self, *, max_connections: int, seats: Seats | None = None) -> None:
        if max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        self.max_connections = max_connections
        self._seats = seats or _OwnSeats()
        self._waiting: dict[Ticket, None] = {}
        self._active: set[int] = set()
        self._idle: dict[int, tuple[str, float]] = {}  # the longest idle first
        self._idle_of: dict[str, list[int]] = {}
        self._closing: set[int] = set()
        self.opening = 0

    @property
    def waiting(self) -> int:
        """How many callers wait for a connection."""
        return len(self._waiting)

    @property
    def held(self) -> tuple[int, ...]:
        """The connections that are held."""
        return tuple(self._active)

    @property
    def idle(self) -> tuple[int, ...]:
        """The connections that nobody holds, the longest idle first."""
        return tuple(self._idle)

    @property
    def closing(self) -> int:
        """How many connections are being closed."""
        return len(self._closing)

    @property
    def occupied(self) -> int:
        """How many connections count against the limit."""
        return self.opening + len(self._active) + len(self._idle) + len(self._closing)

    def is_idle(self, number: int) -> bool:
        """Tell whether nobody holds the connection."""
        return number in self._idle

    def ask(self, uri: str) -> Ticket:
        """Join the queue."""
        ticket = Ticket(uri)
        self._waiting[ticket] = None
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the queue; a ticket that was served is ignored."""
        self._waiting.pop(ticket, None)

    def decide(self) -> list[Decision]:
        """Serve whom it can; the decisions are in force when it returns."""
        decisions: list[Decision] = []
        cleared = len(self._closing)
        for ticket in list(self._waiting):
            if (number := self._take_idle(ticket.uri)) is not None:
                del self._waiting[ticket]
                decisions.append(Reuse(ticket, number))
            elif self._take_seat():
                del self._waiting[ticket]
                decisions.append(Open(ticket))
            elif cleared:
                cleared -= 1
            elif self._idle:
                decisions.append(self._evict())
            else:
                break
        while self._idle and self.occupied - len(self._closing) > self.max_connections:
            decisions.append(self._evict())
        return decisions

    def opened(self, number: int) -> None:
        """Note that an opening succeeded; the connection is held."""
        self.opening -= 1
        self._active.add(number)

    def abandoned(self) -> None:
        """Note that an opening failed."""
        self.opening -= 1
        self._seats.give_back()

    def replaced(self, number: int) -> None:
        """Note that a held connection is gone and another is being opened in its place."""
        self._active.remove(number)
        self.opening += 1

    def park(self, number: int, uri: str, now: float) -> None:
        """Note that a held connection was given back."""
        self._active.remove(number)
        self._idle[number] = (uri, now)
        self._idle_of.setdefault(uri, []).append(number)

    def start_closing(self, number: int) -> None:
        """Note that a held or idle connection is being closed."""
        if number in self._idle:
            self._forget_idle(number)
        else:
            self._active.remove(number)
        self._closing.add(number)

    def closed(self, number: int) -> None:
        """Note that its socket is closed."""
        self._closing.remove(number)
        self._seats.give_back()

    def evict(self, count: int) -> list[Evict]:
        """Have up to ``count`` idle connections closed, the longest idle first."""
        return [self._evict() for _ in range(min(count, len(self._idle)))]

    def expire(self, before: float) -> list[Evict]:
        """Have those closed that are idle since ``before`` or longer."""
        old = sum(1 for _, since in self._idle.values() if since <= before)
        return self.evict(old)

    def idle_since(self, number: int | None = None) -> float | None:
        """Return since when a connection is idle (None: the longest idle one), if it is."""
        if number is None:
            number = next(iter(self._idle), None)
        entry = None if number is None else self._idle.get(number)
        return None if entry is None else entry[1]

    def _take_idle(self, uri: str) -> int | None:
        numbers = self._idle_of.get(uri)
        if not numbers:
            return None
        number = numbers[-1]
        self._forget_idle(number)
        self._active.add(number)
        return number

    def _take_seat(self) -> bool:
        if self.occupied >= self.max_connections or not self._seats.take():
            return False
        self.opening += 1
        return True

    def _evict(self) -> Evict:
        number = next(iter(self._idle))
        self.start_closing(number)
        return Evict(number)

    def _forget_idle(self, number: int) -> None:
        uri, _ = self._idle.pop(number)
        numbers = self._idle_of[uri]
        numbers.remove(number)
        if not numbers:
            del self._idle_of[uri]
