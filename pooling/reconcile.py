"""What one socket carries against what it shall carry, and the next messages that close the gap.

Pure. Instead of a queue of messages, a connection keeps the set of instruments whose wish changed
since they were last sent. However fast wishes change, that set is bounded by the symbols of the
connection, and what is sent is always the newest wish.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from brokers.types import InstrumentKey, Subscription
from pooling.plan import Placement
from pooling.tracker import Level

__all__ = ["Batch", "Reconciler"]


class Batch(NamedTuple):
    """One round of changes, in the order in which they are to be sent: room is made first."""

    unsubscribe: tuple[Subscription, ...] = ()
    change_mode: tuple[tuple[Subscription, Subscription], ...] = ()
    subscribe: tuple[Subscription, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unsubscribe or self.change_mode or self.subscribe)


class Reconciler:
    """The gap of one connection. Not thread-safe: its owner holds the lock."""

    __slots__ = ("_confirmed", "_dirty", "_leaving", "_refused", "sent")

    def __init__(self) -> None:
        self.sent: dict[InstrumentKey, Subscription] = {}
        self._confirmed: dict[InstrumentKey, Level] = {}
        self._dirty: dict[InstrumentKey, None] = {}
        self._leaving: dict[InstrumentKey, None] = {}  # those that make room: they go first
        self._refused: set[InstrumentKey] = set()  # sent, refused, and never confirmed here

    @property
    def has_work(self) -> bool:
        """Whether anything may have to be sent."""
        return bool(self._dirty or self._leaving)

    def confirm(self, key: InstrumentKey) -> Level | None:
        """Note that the broker carries ``key`` as it was last sent; returns that level.

        None for what was not sent on this socket: a late answer to an older wish.
        """
        subscription = self.sent.get(key)
        if subscription is None:
            return None
        self._refused.discard(key)
        level = self._confirmed[key] = Level.of(subscription.mode, subscription.depth_levels)
        return level

    def refuse(self, key: InstrumentKey) -> None:
        """Note that the broker refused ``key``: whether this socket carries it is not known.

        If it is wished again here it is subscribed anew, because a change of mode would change
        nothing where nothing is carried. What was confirmed before keeps its earlier level.
        """
        if key in self.sent and key not in self._confirmed:
            self._refused.add(key)

    def confirmed(self, key: InstrumentKey) -> Level | None:
        """Return the level at which this socket is known to carry ``key``."""
        return self._confirmed.get(key)

    def mark(self, key: InstrumentKey, *, leaves: bool = False) -> None:
        """Note that the wish for ``key`` changed; ``leaves`` that nothing is wished any more.

        What leaves goes first, for it makes room at the broker, and among the others the newest
        change goes last: what frees room was decided before what takes it. That holds as well for
        what was to leave and is wished again, perhaps at a lower level: others have its room.
        """
        was_leaving = key in self._leaving and key in self.sent
        self._dirty.pop(key, None)
        self._leaving.pop(key, None)
        (self._leaving if leaves or was_leaving else self._dirty)[key] = None

    def restart(self, wanted: Iterable[InstrumentKey]) -> None:
        """Start over for a new socket that carries nothing: everything wanted is to be sent."""
        self.sent.clear()
        self._confirmed.clear()
        self._refused.clear()
        self._dirty = dict.fromkeys(wanted)
        self._leaving.clear()

    def take(self, wanted: Mapping[InstrumentKey, Placement], limit: int) -> Batch:
        """Return the next changes, of at most ``limit`` instruments, and count them as sent.

        If sending fails the socket is lost, and ``restart`` makes up for it. An empty batch means
        that nothing is left to do.
        """
        unsubscribe: list[Subscription] = []
        change: list[tuple[Subscription, Subscription]] = []
        subscribe: list[Subscription] = []
        taken = 0
        while (dirty := self._leaving or self._dirty) and taken < limit:
            key = next(iter(dirty))
            del dirty[key]
            placement, has = wanted.get(key), self.sent.get(key)
            if placement is None:
                if has is None:
                    continue
                unsubscribe.append(has)
                del self.sent[key]
                self._confirmed.pop(key, None)
                self._refused.discard(key)
            elif has is None or key in self._refused:
                if has is not None:
                    unsubscribe.append(has)
                    self._refused.discard(key)
                subscribe.append(placement.subscription)
                self.sent[key] = placement.subscription
            elif has != placement.subscription:
                change.append((has, placement.subscription))
                self.sent[key] = new = placement.subscription
                if key in self._confirmed:
                    level = Level.of(new.mode, new.depth_levels)
                    self._confirmed[key] = min(self._confirmed[key], level)
            else:
                continue
            taken += 1
        return Batch(tuple(unsubscribe), tuple(change), tuple(subscribe))
