"""The gap between what one socket carries and what it is to carry, and messages that close it.

Pure. Instead of a queue of messages, a connection keeps the set of instruments whose wish changed
since they were last sent. However fast wishes change, that set is bounded by the symbols of the
connection, and what is sent is always the newest wish.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from brokers.types import InstrumentKey, Subscription
from pooling.subscriptions.capacity import Charge, Load
from pooling.subscriptions.plan import ChangeMode, Placement, Subscribe, Unsubscribe
from pooling.subscriptions.tracker import Level

__all__ = ["Batch", "HasRoom", "Reconciler"]

ASK_AGAIN_LOOKS = 10  # a second each

_NONE: Mapping[InstrumentKey, Placement] = {}


class Batch(NamedTuple):
    """One round of changes, in the order in which they are to be sent: room is made first."""

    unsubscribe: tuple[Subscription, ...] = ()
    change_mode: tuple[tuple[Subscription, Subscription], ...] = ()
    subscribe: tuple[Subscription, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.unsubscribe or self.change_mode or self.subscribe)


# Whether a charge, perhaps in place of another, fits beside everything that was sent.
HasRoom = Callable[[Charge, Charge | None], bool]


def _always(charge: Charge, instead_of: Charge | None) -> bool:
    return True


class Reconciler:
    """The gap of one connection. Not thread-safe: its owner holds the lock.

    What frees room is said before what takes it, and not in one batch with it. As what is wished
    fits on the connection, no message asks for more than fits, whatever was sent of earlier wishes.

    Args:
        total: what the sockets of all connections were asked for, kept up to date here; None: of
            nobody else.
    """

    __slots__ = (
        "_changing",
        "_coming",
        "_confirmed",
        "_doubtful",
        "_ended",
        "_fading",
        "_former",
        "_leaving",
        "_parting",
        "_refused",
        "_total",
        "_unanswered",
        "sent",
    )

    def __init__(self, total: Load | None = None) -> None:
        self._total = Load() if total is None else total
        # What the socket was asked for, and at which level it confirmed it; under the pool's lock,
        # as everything here.
        self.sent: dict[InstrumentKey, Placement] = {}
        self._confirmed: dict[InstrumentKey, Level] = {}
        # Those whose wish changed, the latest change last: no longer wished; sent before, and
        # perhaps to be changed; not sent yet.
        self._leaving: dict[InstrumentKey, None] = {}
        self._changing: dict[InstrumentKey, None] = {}
        self._coming: dict[InstrumentKey, None] = {}
        # What is sent of an earlier token, beside ``sent``; and the charges of what was cut off and
        # whose end is still to be said.
        self._former: dict[InstrumentKey, Placement] = {}
        self._fading: dict[InstrumentKey, None] = {}  # those of them that are to be ended
        self._parting: list[Charge] = []
        self._refused: set[InstrumentKey] = set()  # sent, refused, and never confirmed here
        # The broker's tokens of what came from here and was ended; and what was subscribed by one
        # of them since, so that ticks under way from the first time may look like an answer.
        self._ended: set[str] = set()
        self._doubtful: dict[InstrumentKey, int] = {}  # and for how many looks since the answer
        # What had no answer when the broker complained of nothing in particular, and for how many
        # looks since then.
        self._unanswered: dict[InstrumentKey, int] = {}

    @property
    def has_work(self) -> bool:
        """Whether anything may have to be sent."""
        return bool(self._leaving or self._changing or self._coming or self._fading)

    def confirm(self, key: InstrumentKey) -> Level | None:
        """Note that the broker carries ``key`` as it was last sent; returns that level.

        None for what was not sent on this socket: a late answer to an older wish.
        """
        sent = self.sent.get(key)
        if sent is None:
            return None
        self._refused.discard(key)
        self._unanswered.pop(key, None)
        level = self._confirmed[key] = _level(sent.subscription)
        return level

    def is_asked(self, key: InstrumentKey, subscription: Subscription) -> bool:
        """Tell whether this socket was asked for ``key`` by the token of ``subscription``."""
        sent = self.sent.get(key)
        return sent is not None and _same_token(sent.subscription, subscription)

    def is_doubted(self, key: InstrumentKey) -> bool:
        """Tell whether ``key`` is to be asked for again: a refusal may have been of it."""
        return key in self._unanswered or key in self._refused

    def is_answered(self, key: InstrumentKey) -> bool:
        """Tell whether the broker confirmed what was last sent of ``key``: no answer is due."""
        sent = self.sent.get(key)
        return sent is not None and self._confirmed.get(key) == _level(sent.subscription)

    def carried(self) -> list[Subscription]:
        """Return everything that the broker may send ticks of, earlier tokens included."""
        placements = (*self.sent.values(), *self._former.values())
        return [placement.subscription for placement in placements]

    def cut(self, subscription: Subscription, *, is_wished: bool) -> None:
        """Count what was sent as ended; its owner has to say so before anything else.

        It takes its room until ``parted``. What is still wished is subscribed again.
        """
        key = subscription.instrument.key
        if not self.is_asked(key, subscription):
            self._parting.append(self._former.pop(key).charge)
            self._fading.pop(key, None)
            return
        self._parting.append(self.sent[key].charge)
        self._forget_sent(key)
        self.mark(key, leaves=not is_wished)

    def parted(self) -> None:
        """Note that the end of all that was cut off has been said."""
        for charge in self._parting:
            self._total.remove(charge)
        self._parting.clear()

    def refuse(self, key: InstrumentKey) -> None:
        """Note that the broker refused ``key``: whether this socket carries it is not known.

        If it is wished again here it is subscribed once more, because a change of mode would change
        nothing where nothing is carried. What was confirmed before keeps its earlier level.
        """
        if key in self.sent and key not in self._confirmed:
            self._refused.add(key)

    def doubt_unanswered(self) -> None:
        """Note a complaint of nothing in particular: what is not answered soon may be its cause."""
        for key in self.sent:
            if key not in self._confirmed:
                self._unanswered.setdefault(key, 0)

    def grow_older(self) -> bool:
        """Note that about a second passed: a refusal of what was answered before it has come.

        What had no answer when the broker complained is asked for again after a while, once for
        each complaint. Returns whether there is any.
        """
        overdue = [key for key, looks in self._unanswered.items() if looks >= ASK_AGAIN_LOOKS]
        self._unanswered = {
            key: looks + 1 for key, looks in self._unanswered.items() if key not in overdue
        }
        for key in overdue:
            self._refused.add(key)
            if key not in self._leaving:
                self.mark(key)
        self._forget_old_doubts()
        return bool(overdue)

    def _forget_old_doubts(self) -> None:
        for key, looks in list(self._doubtful.items()):
            if key in self._confirmed:
                self._doubtful[key] = looks + 1
                if looks:
                    del self._doubtful[key]

    def distrust(self) -> list[InstrumentKey]:
        """Have what may be confirmed by mistake subscribed again, once; returns it."""
        doubtful = [key for key in self._doubtful if key in self._confirmed]
        self._doubtful.clear()
        for key in doubtful:
            del self._confirmed[key]
            self._refused.add(key)
            if key not in self._leaving:
                self.mark(key)
        return doubtful

    def confirmed(self, key: InstrumentKey) -> Level | None:
        """Return the level at which this socket is known to carry ``key``."""
        return self._confirmed.get(key)

    def note(self, step: Subscribe | ChangeMode | Unsubscribe) -> None:
        """Take note of a step of a plan."""
        if isinstance(step, Unsubscribe):
            self._note_ended(step.subscription)
        else:
            wish = step.new if isinstance(step, ChangeMode) else step.subscription
            self.mark(wish.instrument.key)

    def mark(self, key: InstrumentKey, *, leaves: bool = False) -> None:
        """Note that the wish for ``key`` changed; ``leaves`` that nothing is wished any more."""
        self._leaving.pop(key, None)
        self._changing.pop(key, None)
        self._coming.pop(key, None)
        if key in self.sent:
            (self._leaving if leaves else self._changing)[key] = None
        elif not leaves:
            self._coming[key] = None

    def _note_ended(self, subscription: Subscription) -> None:
        """Note that a subscription is not wished any more: of the present or an earlier token."""
        key = subscription.instrument.key
        former = self._former.get(key)
        if former is not None and _same_token(former.subscription, subscription):
            self._fading[key] = None
        else:
            self.mark(key, leaves=True)

    def restart(self, wanted: Iterable[InstrumentKey] = ()) -> None:
        """Start over for a new socket that carries nothing: everything wanted is to be sent."""
        for placement in (*self.sent.values(), *self._former.values()):
            self._total.remove(placement.charge)
        self.parted()
        self.sent.clear()
        self._former.clear()
        self._fading.clear()
        self._confirmed.clear()
        self._refused.clear()
        self._unanswered.clear()
        self._ended.clear()
        self._doubtful.clear()
        self._leaving.clear()
        self._changing.clear()
        self._coming = dict.fromkeys(wanted)

    def take(
        self,
        wanted: Mapping[InstrumentKey, Placement],
        limit: int,
        has_room: HasRoom = _always,
        fading: Mapping[InstrumentKey, Placement] = _NONE,
    ) -> Batch:
        """Return the next changes, of at most ``limit`` instruments, and count them as sent.

        What got another token is ended and subscribed again. Of those in ``fading`` the earlier one
        stays until an ``Unsubscribe`` names it.

        If sending fails the socket is lost, and ``restart`` makes up for it. An empty batch means
        that nothing is left to do, or that all of it waits for room.
        """
        draft = _Draft()
        self._part_tokens(draft, wanted, fading, limit)
        self._move(draft, self._leaving, wanted, limit)
        lowered = [key for key in self._changing if self._frees_room(key, wanted.get(key))]
        for key in lowered[: max(0, limit - draft.size)]:
            del self._changing[key]
            self._add(draft, key, wanted.get(key))
        # Within a batch an adapter may put changes of mode in another order: the rest waits.
        if not lowered:
            self._move(draft, self._changing, wanted, limit, has_room)
            self._move(draft, self._coming, wanted, limit, has_room)
        return draft.batch()

    def can_proceed(self, wanted: Mapping[InstrumentKey, Placement], has_room: HasRoom) -> bool:
        """Tell whether something of what the socket carries is about to end or to change."""
        return bool(self._leaving or self._fading) or any(
            self._frees_room(key, wanted.get(key)) or self._has_room(key, wanted.get(key), has_room)
            for key in self._changing
        )

    def force(self, wanted: Mapping[InstrumentKey, Placement]) -> Batch:
        """Return one change that has no room, where waiting makes none.

        What is carried is ended; it is subscribed again as soon as that finds room.
        """
        if not self._changing:
            return self.take(wanted, 1)
        draft, key = _Draft(), next(iter(self._changing))
        del self._changing[key]
        self._add(draft, key, None)
        self._coming[key] = None
        return draft.batch()

    def _part_tokens(
        self,
        draft: _Draft,
        wanted: Mapping[InstrumentKey, Placement],
        fading: Mapping[InstrumentKey, Placement],
        limit: int,
    ) -> None:
        """End earlier tokens before anything takes them, perhaps under another name."""
        for key in tuple(self._fading)[:limit]:
            del self._fading[key]
            self._end(draft, self._former.pop(key))
        for key in (*self._leaving, *self._changing):
            has, wish = self.sent[key], wanted.get(key)
            if wish is None or _same_token(has.subscription, wish.subscription):
                continue
            if key in fading and key not in self._former:
                self._former[key] = has
            elif draft.size < limit:
                self._end(draft, has)
            else:
                return
            self._forget_sent(key)
            self.mark(key)

    def _forget_sent(self, key: InstrumentKey) -> None:
        sent = self.sent.pop(key)
        self._doubtful.pop(key, None)
        self._unanswered.pop(key, None)
        if self._confirmed.pop(key, None) is not None:
            self._ended.add(_token(sent))
        self._refused.discard(key)

    def _end(self, draft: _Draft, placement: Placement) -> None:
        draft.unsubscribe.append(placement.subscription)
        self._total.remove(placement.charge)
        draft.size += 1

    def _has_room(self, key: InstrumentKey, placement: Placement | None, has_room: HasRoom) -> bool:
        if placement is None:
            return True
        has = self.sent.get(key)
        return has_room(placement.charge, None if has is None else has.charge)

    def _frees_room(self, key: InstrumentKey, placement: Placement | None) -> bool:
        return placement is None or placement.charge.units < self.sent[key].charge.units

    def _move(
        self,
        draft: _Draft,
        waiting: dict[InstrumentKey, None],
        wanted: Mapping[InstrumentKey, Placement],
        limit: int,
        has_room: HasRoom = _always,
    ) -> None:
        for key in tuple(waiting):
            if draft.size >= limit:
                return
            placement = wanted.get(key)
            if self._has_room(key, placement, has_room):
                del waiting[key]
                self._add(draft, key, placement)

    def _add(self, draft: _Draft, key: InstrumentKey, placement: Placement | None) -> None:
        """Put what has to be said of one instrument into the draft, if there is anything."""
        has = self.sent.get(key)
        if placement is None:
            if has is None:
                return
            draft.unsubscribe.append(has.subscription)
            self._total.remove(has.charge)
            self._forget_sent(key)
        elif has is None or key in self._refused:
            if has is not None:
                draft.unsubscribe.append(has.subscription)
                self._refused.discard(key)
            elif _token(placement) in self._ended:
                self._doubtful[key] = 0
            draft.subscribe.append(placement.subscription)
            self._note_sent(key, has, placement)
        elif has.subscription != placement.subscription:
            draft.change_mode.append((has.subscription, placement.subscription))
            self._note_sent(key, has, placement)
            if key in self._confirmed:
                self._confirmed[key] = min(self._confirmed[key], _level(placement.subscription))
        else:
            return
        draft.size += 1

    def _note_sent(self, key: InstrumentKey, has: Placement | None, new: Placement) -> None:
        if has is not None:
            self._total.remove(has.charge)
        self._total.add(new.charge)
        self.sent[key] = new


@dataclass(slots=True)
class _Draft:
    """A batch that is being filled."""

    size: int = 0
    unsubscribe: list[Subscription] = field(default_factory=list)
    change_mode: list[tuple[Subscription, Subscription]] = field(default_factory=list)
    subscribe: list[Subscription] = field(default_factory=list)

    def batch(self) -> Batch:
        return Batch(tuple(self.unsubscribe), tuple(self.change_mode), tuple(self.subscribe))


def _token(placement: Placement) -> str:
    return placement.subscription.instrument.broker_token


def _same_token(one: Subscription, other: Subscription) -> bool:
    return one.instrument.broker_token == other.instrument.broker_token


def _level(subscription: Subscription) -> Level:
    return Level.of(subscription.mode, subscription.depth_levels)
