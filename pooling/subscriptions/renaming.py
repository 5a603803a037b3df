"""Wants whose names mean another instrument of the broker's from now on. Pure.

A *name* is wanted; the *token* behind it is the broker's for as long as a master lists it so. After
each load everything that holds a token is compared with what the name means today:

- What left the master ends for all its holders and is cut off.
- What got another token is subscribed by the new one. The earlier one stays until the new one
  speaks, unless it is somebody else's by now: then it is cut off before anything else is done, so
  that no price of one instrument is ever published under another's name.
- Whatever else changed (lot, tick size, expiry) disturbs nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from brokers.pool_service import Outcome
from brokers.types import Instrument, InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.outcomes import Gone
from pooling.subscriptions.rebalancer import Mover, Rebalancer
from pooling.subscriptions.tracker import Tracker

__all__ = ["Renamed", "Renaming"]


@dataclass(slots=True)
class Renamed:
    """Consequences of a load of instruments, for the shell to act on and to tell.

    ``ended`` are the wants that end, ``renamed`` what is wanted by another token from now on, and
    ``restarted`` what has no price until it is confirmed again. ``cut`` is to be silent at once, by
    connection; ``old`` are names whose last values are nobody's any more.
    """

    ended: list[Outcome] = field(default_factory=list)
    restarted: list[InstrumentKey] = field(default_factory=list)
    renamed: list[InstrumentKey] = field(default_factory=list)
    cut: dict[int, list[Subscription]] = field(default_factory=dict)
    old: list[InstrumentKey] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ended or self.renamed or self.cut)


class Renaming:
    """The book's names and what they mean. Not thread-safe: the pool holds its lock.

    Args:
        allocator, tracker, rebalancer: the book's.
        mover: the book.
    """

    def __init__(
        self, *, allocator: Allocator, tracker: Tracker, rebalancer: Rebalancer, mover: Mover
    ) -> None:
        self._allocator = allocator
        self._tracker = tracker
        self._rebalancer = rebalancer
        self._mover = mover
        # Names that the last load of instruments ended: who was just asking is told why. Under the
        # pool's lock.
        self.gone: Mapping[InstrumentKey, Gone] = {}

    def names(self) -> dict[InstrumentKey, set[str]]:
        """Return every name that is wanted or may tick, with the tokens that stand for it now."""
        found: dict[InstrumentKey, set[str]] = {}
        for key in self._tracker:
            interest = self._tracker.get(key)
            if interest is not None:
                found[key] = {interest.instrument.broker_token}
        for _, subscription in self._mover.carried():
            instrument = subscription.instrument
            found.setdefault(instrument.key, set()).add(instrument.broker_token)
        return found

    def follow(
        self,
        today: Mapping[InstrumentKey, Instrument],
        gone: Mapping[InstrumentKey, Gone],
        taken: Collection[str],
    ) -> Renamed:
        """Have the book follow what its names mean today.

        Args:
            today: what is listed, by name.
            gone: names that are not. One that is in neither stays as it is.
            taken: those of the tokens in ``names`` that are listed today, under whatever name.
        """
        renamed = Renamed()
        self.gone = gone
        for key, why in gone.items():
            renamed.ended += self._mover.expel([key], why.code, why.message)
        for key, instrument in today.items():
            interest = self._tracker.get(key)
            if interest is None or interest.instrument.broker_token == instrument.broker_token:
                continue
            is_free = interest.instrument.broker_token not in taken
            was_confirmed = interest.confirmed is not None
            renamed.renamed.append(key)
            if not self._rename(instrument, keeps_former=is_free) and was_confirmed:
                renamed.restarted.append(key)
        for slot, subscription in self._mover.carried():
            key, token = subscription.instrument.key, subscription.instrument.broker_token
            is_kept = key in today and token != today[key].broker_token and self._keeps(slot, key)
            if is_kept and token in taken and self._end_former(key):
                renamed.restarted.append(key)
        old = dict.fromkeys(gone)
        for slot, subscription in self._mover.carried():
            if self._is_cut(slot, subscription, today):
                self._cut(slot, subscription)
                renamed.cut.setdefault(slot, []).append(subscription)
                old[subscription.instrument.key] = None
        renamed.old = [*old]
        return renamed

    def _rename(self, instrument: Instrument, *, keeps_former: bool) -> bool:
        """Have a known name mean another instrument of the broker's, by its token.

        Args:
            instrument: the name and its token of today.
            keeps_former: whether the earlier token may go on until the new one speaks.

        Returns:
            Whether it does; if not, the name is unconfirmed from now on.
        """
        key, interest = instrument.key, self._tracker.get(instrument.key)
        if interest is None:
            return False
        if not interest.holders:
            self._tracker.expel(key)  # what only lingers is not worth a move
            self._mover.dropped(key)
            return False
        self._tracker.rename(instrument)
        slot = self._allocator.slot_of(key)
        if slot is None:
            return False  # it waits, and is placed by its new token
        keeps_former &= key not in self._allocator.moving
        keeps_former &= interest.confirmed is not None
        keeps_former &= self._mover.reconciler(slot).is_answered(key)
        if not keeps_former:
            self._mover.record(self._allocator.settle(key))
        try:
            self._mover.place(instrument, interest.upstream, keeps_former=keeps_former)
        except PoolCapacityError as error:
            self._rebalancer.give_up(key, error)
        else:
            if keeps_former and key in self._allocator.moving:
                return True
            self._end_former(key)
        self._mover.refill()
        return False

    def _keeps(self, slot: int, key: InstrumentKey) -> bool:
        """Tell whether a connection is to go on with what it carries by an earlier token."""
        return key in self._allocator.moving and self._allocator.carrier_of(key) == slot

    def _end_former(self, key: InstrumentKey) -> bool:
        """Keep an earlier token no longer; returns whether the name lost its confirmation by it."""
        self._mover.record(self._allocator.settle(key))
        return bool(self._tracker.unconfirm([key]))

    def _is_cut(
        self, slot: int, subscription: Subscription, today: Mapping[InstrumentKey, Instrument]
    ) -> bool:
        key, token = subscription.instrument.key, subscription.instrument.broker_token
        if key in self.gone:
            return True
        named = today.get(key)
        return named is not None and named.broker_token != token and not self._keeps(slot, key)

    def _cut(self, slot: int, subscription: Subscription) -> None:
        """Count what a connection carries as ended; the shell says so before anything else."""
        is_wished = subscription.instrument.key in self._allocator.items_on(slot)
        self._mover.reconciler(slot).cut(subscription, is_wished=is_wished)
        self._mover.changed(slot)
