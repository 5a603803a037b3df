"""The order in which pages and logins are served, and which are refused. Pure.

Whatever is served has a thread, a connection of the database, and a core for its hash. So few are
served at a time, and the others wait where they hold none of these. Those whom nobody knows share
a part of the turns. Among known clients, and among unknown ones, whoever had no turn since all was
quiet comes first, then who had its last one longest ago, however many requests each has.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum, auto

from streaming.edge_limits import Refusal

__all__ = ["Crowd", "Place", "RequestTurns", "TurnRefusedError", "Visitor"]


_MOST_REMEMBERED = 10_000


class TurnRefusedError(Exception):
    """A request has no place; ``refusal`` says which bound was met."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whose request it is: ``share`` is what bounds it, and it alone."""

    share: Hashable
    is_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Bounds of all known clients together, or of all others."""

    at_once: int
    most: int

    def __post_init__(self) -> None:
        if self.at_once < 1 or self.most < 1:
            raise ValueError("at_once and most must be at least 1")


class _Stage(Enum):
    ARRIVING = auto()
    WAITING = auto()
    SERVED = auto()
    ANSWERED = auto()
    GONE = auto()


# What may follow; a request may be gone at any time.
_NEXT = {
    _Stage.ARRIVING: {_Stage.WAITING, _Stage.GONE},
    _Stage.WAITING: {_Stage.SERVED, _Stage.GONE},
    _Stage.SERVED: {_Stage.ANSWERED, _Stage.GONE},
    _Stage.ANSWERED: {_Stage.GONE},
    _Stage.GONE: set[_Stage](),
}


@dataclass(slots=True, eq=False)
class Place:
    """A request on its way. Belongs to the ``RequestTurns`` that gave it."""

    visitor: Visitor
    on_turn: Callable[[], None]
    on_displaced: Callable[[], None]
    # Changed by ``_move`` alone.
    stage: _Stage = _Stage.ARRIVING

    @property
    def is_served(self) -> bool:
        """Whether it has its turn now."""
        return self.stage is _Stage.SERVED


@dataclass(slots=True)
class _Client:
    """Requests of one share."""

    waiting: deque[Place] = field(default_factory=deque)
    count: int = 0  # of all stages but gone
    served: int = 0


@dataclass(slots=True)
class _Side:
    """Known clients, or all others."""

    bounds: Crowd
    # By share, whoever was served longest ago first.
    clients: OrderedDict[Hashable, _Client] = field(default_factory=OrderedDict)
    count: int = 0
    served: int = 0
    # Shares that had a turn since nobody had one; forgotten when they become too many.
    had: set[Hashable] = field(default_factory=set)


class RequestTurns:
    """Turns of the requests of a process. Belongs to one event loop; nothing here waits.

    Args:
        at_once: so many are served at a time, ``client_at_once`` of one client.
        most_at_once: so many are, where ``serve_one_more`` is called; None: no more.
        known: bounds of all known clients.
        strangers: bounds of all others.
        most_of_client: requests of one client, from ``enter`` to ``leave``.
        refusal: what whoever finds no place is told.
    """

    def __init__(
        self,
        *,
        at_once: int,
        client_at_once: int,
        known: Crowd,
        strangers: Crowd,
        most_of_client: int,
        refusal: Refusal,
        most_at_once: int | None = None,
    ) -> None:
        if min(at_once, client_at_once, most_of_client) < 1:
            raise ValueError("at_once, client_at_once and most_of_client must be at least 1")
        self._at_once = at_once
        self._most_at_once = max(at_once, most_at_once or 0)
        self._refusal = refusal
        self._client_at_once = client_at_once
        self._most_of_client = most_of_client
        self._sides = {True: _Side(known), False: _Side(strangers)}

    def __repr__(self) -> str:
        known, strangers = self._sides[True], self._sides[False]
        return f"<RequestTurns served={known.served + strangers.served} " + (
            f"known={known.count} strangers={strangers.count}>"
        )

    def __len__(self) -> int:
        """Return how many are here, answered ones that are still being read included."""
        return sum(side.count for side in self._sides.values())

    @property
    def is_waited_for(self) -> bool:
        """Whether anybody waits for a turn."""
        return any(
            client.waiting for side in self._sides.values() for client in side.clients.values()
        )

    def enter(
        self, visitor: Visitor, on_turn: Callable[[], None], on_displaced: Callable[[], None]
    ) -> Place:
        """Give a request a place, which ``leave`` gives back.

        Args:
            visitor: whose it is.
            on_turn: called once it is served; within ``wait`` where nobody is before it.
            on_displaced: called instead where it has to make room while it waits; it has left then.

        Raises:
            TurnRefusedError: the client has too many, or there is no place for anybody.
        """
        side = self._sides[visitor.is_known]
        client = side.clients.get(visitor.share)
        mine = client.count if client is not None else 0
        if mine >= self._most_of_client:
            raise TurnRefusedError(self._refusal)
        if side.count >= side.bounds.most and not self._make_room(side, visitor.share, mine):
            raise TurnRefusedError(self._refusal)
        if client is None:
            client = side.clients[visitor.share] = _Client()
        client.count += 1
        side.count += 1
        return Place(visitor, on_turn, on_displaced)

    def wait(self, place: Place) -> None:
        """Let a request that is there as a whole wait for its turn."""
        _move(place, _Stage.WAITING)
        self._client(place).waiting.append(place)
        self._go_on()

    def serve_one_more(self) -> None:
        """Serve the next one beside those that take long, up to ``most_at_once``."""
        if (place := self._next(self._most_at_once)) is not None:
            _move(place, _Stage.SERVED)
            place.on_turn()

    def answered(self, place: Place) -> None:
        """Let others have the turn: what is left is to be read by the client. Idempotent."""
        if place.stage is _Stage.SERVED:
            _move(place, _Stage.ANSWERED)
            self._end_turn(place)

    def leave(self, place: Place) -> None:
        """Give the place back, and the turn if it has one. Idempotent."""
        before = place.stage
        if before is _Stage.GONE:
            return
        _move(place, _Stage.GONE)
        client, side = self._client(place), self._sides[place.visitor.is_known]
        if before is _Stage.WAITING:
            client.waiting.remove(place)
        client.count -= 1
        side.count -= 1
        if before is _Stage.SERVED:
            self._end_turn(place)
        if not client.count:
            side.clients.pop(place.visitor.share, None)

    def _client(self, place: Place) -> _Client:
        return self._sides[place.visitor.is_known].clients[place.visitor.share]

    def _make_room(self, side: _Side, share: Hashable, mine: int) -> bool:
        """Displace the newest that waits of a client that had a turn, for one that had none.

        Otherwise of the client with most, if it has more than another would have then.
        """
        waiting = [each for each in side.clients.items() if each[1].waiting]
        had = [each for each in waiting if each[0] in side.had and each[0] != share]
        if not had or share in side.had:
            had = [each for each in waiting if len(each[1].waiting) > mine + 1]
        if not had:
            return False
        place = max(had, key=lambda each: len(each[1].waiting))[1].waiting[-1]
        self.leave(place)
        place.on_displaced()
        return True

    def _end_turn(self, place: Place) -> None:
        side = self._sides[place.visitor.is_known]
        self._client(place).served -= 1
        side.served -= 1
        self._go_on()
        if not side.served or len(side.had) > _MOST_REMEMBERED:
            side.had.clear()

    def _go_on(self) -> None:
        """Serve whom there is a turn for."""
        while (place := self._next(self._at_once)) is not None:
            _move(place, _Stage.SERVED)
            place.on_turn()

    def _next(self, at_once: int) -> Place | None:
        """Take who is next where fewer are served than ``at_once``, counted as served.

        It is of the side that has fewer turns, known first.
        """
        sides = sorted(self._sides.values(), key=lambda side: side.served)
        if sum(side.served for side in sides) >= at_once:
            return None
        for side in sides:
            if side.served >= side.bounds.at_once:
                continue
            ready = [
                share
                for share, client in side.clients.items()
                if client.waiting and client.served < self._client_at_once
            ]
            if ready:
                return _serve(side, next((one for one in ready if one not in side.had), ready[0]))
        return None


def _serve(side: _Side, share: Hashable) -> Place:
    """Take the oldest of a client, counted as served."""
    client = side.clients[share]
    side.clients.move_to_end(share)
    side.had.add(share)
    client.served += 1
    side.served += 1
    return client.waiting.popleft()


def _move(place: Place, stage: _Stage) -> None:
    if stage not in _NEXT[place.stage]:
        raise RuntimeError(f"a request that is {place.stage.name} cannot be {stage.name}")
    place.stage = stage
