"""Upkeep of a pool's connections as time passes, decided from how they are now. Pure.

- A connection that has been down for 15 s hands its subscriptions to live ones that have room, and
  takes nothing new until it is back. What found no room stays with it, and it goes on trying.
- A connection without subscriptions stays open for ``max_idle_seconds``, to be reused, and is then
  closed, unless it is one of the warm ones.
- Two connections that would fill at most three quarters of one are merged, once this has been so
  for a minute. The emptied one then idles as any other, so a load that comes back finds it.
- A connection is replaced before the broker ends it (``max_lifetime_seconds``), at a moment drawn
  between 85 and 95 % of that, and no two at once: a new one is opened, everything moves to it
  make-before-break, and the old one closes. Where no further connection may be opened, what fits on
  the others moves there, and for the rest the connection is opened again in place: a gap of one
  handshake at a moment of ours, which its clients are told about, instead of a cut by the broker.
- A move whose new connection is live and still silent about the instrument after 10 s is finished
  all the same: some instruments do not tick for hours. One that moves to another token of the
  broker's has 5 s: what it was called before may well be dead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from brokers.types import InstrumentKey
from pooling.retry_waits import Randomness
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.plan import Slot

__all__ = [
    "CloseIdle",
    "ConnectionView",
    "Evacuate",
    "Merge",
    "Readmit",
    "Reopen",
    "Retire",
    "SettleMoves",
    "Task",
    "Upkeep",
    "find_merge",
]

EVACUATE_SECONDS = 15.0
MERGE_SECONDS = 60.0
MERGE_FILL = 0.75
MOVE_SECONDS = 10.0
RENAME_SECONDS = 5.0
EARLIEST_ROTATION, LATEST_ROTATION = 0.85, 0.95


class ConnectionView(NamedTuple):
    """A connection as it is now; times are monotonic seconds.

    ``opened_at`` is None while its socket is not open, ``down_since`` while it is.
    """

    slot: int
    is_live: bool
    opened_at: float | None
    down_since: float | None


class Evacuate(NamedTuple):
    """The connection has been down for too long: its subscriptions may move to ``among``."""

    slot: int
    among: tuple[int, ...]


class Readmit(NamedTuple):
    """The connection is back and may be given new subscriptions."""

    slot: int


class CloseIdle(NamedTuple):
    """The connection had nothing to carry for long enough."""

    slot: int


class Merge(NamedTuple):
    """Two connections of which ``target`` has room for what ``source`` carries as well."""

    source: int
    target: int


class Retire(NamedTuple):
    """The connection is to be replaced by another."""

    slot: int


class Reopen(NamedTuple):
    """The connection could not be emptied and is to be opened again in place."""

    slot: int


class SettleMoves(NamedTuple):
    """These moves have waited long enough for the new connection to speak."""

    keys: tuple[InstrumentKey, ...]


Task = Evacuate | Readmit | CloseIdle | Merge | Retire | Reopen | SettleMoves


class Upkeep:
    """Remembers since when things are as they are. Not thread-safe: the pool holds its lock.

    Args:
        rng: draws the moment of a planned replacement.
        max_lifetime_seconds: when the broker ends a connection; None: never.
    """

    def __init__(self, *, rng: Randomness, max_lifetime_seconds: float | None) -> None:
        self._rng = rng
        self._max_lifetime = max_lifetime_seconds
        # Monotonic seconds: since when a slot carries nothing, when it was opened and is to be
        # replaced, since when an instrument moves, and since when two connections may be merged.
        self._empty_since: dict[int, float] = {}
        self._rotate_at: dict[int, tuple[float, float]] = {}
        self._moving_since: dict[InstrumentKey, float] = {}
        self._merge_since: tuple[Merge, float] | None = None

    def review(
        self,
        now: float,
        views: Sequence[ConnectionView],
        allocator: Allocator,
        *,
        warm: Collection[int],
        max_idle_seconds: float,
    ) -> list[Task]:
        """Return what is to be done now.

        Args:
            now: monotonic seconds.
            views: the connections; those unknown to the allocator are ignored.
            allocator: what they carry; read only.
            warm: slots that stay open with nothing to carry.
            max_idle_seconds: how long others do.
        """
        slots = allocator.slots
        known = {view.slot: view for view in views if view.slot in slots}
        tasks: list[Task] = [
            *self._failures(now, known, allocator),
            *self._overdue_moves(now, known, allocator),
            *self._idle(now, slots, warm, max_idle_seconds),
        ]
        is_calm = not tasks and not allocator.moving
        tasks += self._rotations(now, known, slots)
        tasks += self._merges(now, known, allocator, warm, is_calm=is_calm and not tasks)
        return tasks

    def _failures(
        self, now: float, known: Mapping[int, ConnectionView], allocator: Allocator
    ) -> Iterator[Task]:
        slots = allocator.slots
        for number, view in known.items():
            slot = slots[number]
            if view.is_live and slot.is_failing:
                yield Readmit(number)
            down_since = view.down_since
            if down_since is None or now - down_since < EVACUATE_SECONDS or not slot.items:
                continue
            roomy = tuple(
                other
                for other, seen in known.items()
                if seen.is_live and other != number and allocator.has_room_on(other)
            )
            if roomy or not slot.is_failing:
                yield Evacuate(number, roomy)

    def _overdue_moves(
        self, now: float, known: Mapping[int, ConnectionView], allocator: Allocator
    ) -> Iterator[Task]:
        moving = allocator.moving
        if not moving:
            self._moving_since.clear()
            return
        self._moving_since = {key: self._moving_since.get(key, now) for key in moving}
        overdue = tuple(
            key
            for key, since in self._moving_since.items()
            if now - since >= (RENAME_SECONDS if allocator.carries_former(key) else MOVE_SECONDS)
            and _is_live(known, allocator.slot_of(key))
        )
        if overdue:
            yield SettleMoves(overdue)

    def _idle(
        self, now: float, slots: Mapping[int, Slot], warm: Collection[int], max_idle: float
    ) -> Iterator[Task]:
        empty = (number for number, slot in slots.items() if not slot.items)
        self._empty_since = {number: self._empty_since.get(number, now) for number in empty}
        for number, since in self._empty_since.items():
            if number not in warm and now - since >= max_idle:
                yield CloseIdle(number)

    def _rotations(
        self, now: float, known: Mapping[int, ConnectionView], slots: Mapping[int, Slot]
    ) -> Iterator[Task]:
        retiring = [slots[number] for number in known if slots[number].is_retiring]
        for slot in retiring:
            if slot.items and not slot.leaving:
                yield Reopen(slot.number)
        if self._max_lifetime is None:
            return
        self._rotate_at = {
            number: self._rotation_of(number, view.opened_at)
            for number, view in known.items()
            if view.opened_at is not None
        }
        if not retiring:
            # Of several, the one that the broker ends first: the others may have to wait for it.
            due = [(opened, n) for n, (opened, at) in self._rotate_at.items() if now >= at]
            if due:
                yield Retire(min(due)[1])

    def _rotation_of(self, number: int, opened_at: float) -> tuple[float, float]:
        drawn = self._rotate_at.get(number)
        if drawn is not None and drawn[0] == opened_at:
            return drawn
        share = self._rng.uniform(EARLIEST_ROTATION, LATEST_ROTATION)
        return opened_at, opened_at + share * (self._max_lifetime or 0.0)

    def _merges(
        self,
        now: float,
        known: Mapping[int, ConnectionView],
        allocator: Allocator,
        warm: Collection[int],
        *,
        is_calm: bool,
    ) -> Iterator[Task]:
        found = find_merge(known, allocator, warm) if is_calm else None
        if found is None:
            self._merge_since = None
            return
        if self._merge_since is None or self._merge_since[0] != found:
            self._merge_since = found, now
        if now - self._merge_since[1] >= MERGE_SECONDS:
            self._merge_since = None
            yield found


def find_merge(
    known: Mapping[int, ConnectionView],
    allocator: Allocator,
    warm: Collection[int],
    *,
    fill: float = MERGE_FILL,
) -> Merge | None:
    """Return two live connections whose load fills at most a part (``fill``) of one.

    The one of the lower number is filled, because new subscriptions go there too.
    """
    limits = allocator.limits
    carrying = sorted(
        number
        for number, view in known.items()
        if view.is_live and allocator.slots[number].items and not allocator.slots[number].is_ending
    )
    for source in reversed(carrying):
        for target in carrying:
            if target >= source or source in warm:
                break
            both = allocator.slots[source].load.plus(allocator.slots[target].load)
            is_small = (
                both.units <= fill * limits.units
                and both.symbols <= fill * limits.symbols_per_connection
            )
            if is_small and limits.allow(both):
                return Merge(source, target)
    return None


def _is_live(known: Mapping[int, ConnectionView], number: int | None) -> bool:
    view = None if number is None else known.get(number)
    return view is not None and view.is_live
