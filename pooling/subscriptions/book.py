"""Memory of a pool: references, placements and confirmations as one consistent whole. Pure.

``SubscriptionBook`` joins the tracker (who wants what), the allocator (which connection carries
it) and one reconciler per connection (what its socket carries). Each public method is one decision,
called under the pool's lock; what is to be done outside of it waits for ``take_actions``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from brokers.pool_service import Holder, Outcome, OutcomeState, RefusalCode, Want
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.actions import Actions
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import Category, Charge, Cost, Limits, Load
from pooling.subscriptions.moves import Moves
from pooling.subscriptions.offer import BrokerOffer
from pooling.subscriptions.outcomes import (
    capacity_refused_outcome,
    outcome_of,
    same_contract_outcome,
    settled_outcome,
    unknown_outcome,
    waiting_outcome,
)
from pooling.subscriptions.plan import (
    CloseConnection,
    OpenConnection,
    Plan,
    Slot,
    Subscribe,
    Unsubscribe,
)
from pooling.subscriptions.rebalancer import Rebalancer
from pooling.subscriptions.reconciler import Batch, Reconciler
from pooling.subscriptions.renaming import Renaming
from pooling.subscriptions.tracker import Interest, Level, Tracker

__all__ = ["SubscriptionBook"]


LOWEST = Level.of(FeedMode.LTP, 0)


class SubscriptionBook:
    """All state of a pool that is decided on. Not thread-safe: the pool holds its lock.

    Args:
        limits: the user's under the broker's.
        cost: what (instrument, mode) takes of a connection's capacity.
        category: which of the limits' categories a subscription is of; None: of none.
        modes: what the broker offers; a want is carried by the lowest one that covers it.
        depth_levels: numbers of depth levels that the broker offers.
        linger_seconds: how long a subscription outlives its last holder.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        cost: Cost,
        modes: Sequence[FeedMode],
        depth_levels: Sequence[int],
        linger_seconds: float,
        category: Category | None = None,
    ) -> None:
        self._allocator = Allocator(limits=limits, cost=cost, category=category)
        self._tracker = Tracker(linger_seconds=linger_seconds)
        self._rebalancer = Rebalancer(allocator=self._allocator, tracker=self._tracker, mover=self)
        self.moves = Moves(allocator=self._allocator, mover=self)
        self.renaming = Renaming(
            allocator=self._allocator,
            tracker=self._tracker,
            rebalancer=self._rebalancer,
            mover=self,
        )
        self.offer = BrokerOffer(modes=modes, depth_levels=depth_levels)  # ``reoffer`` replaces it
        # What is decided and not done yet, and what each connection's socket carries, by number.
        self._actions = Actions()
        self._reconcilers: dict[int, Reconciler] = {}
        self._sent = Load()  # of all sockets together
        self._is_room_freed = False  # until it was tried to place what waits

    # -- Questions ----------------------------------------------------------------------------

    def __contains__(self, key: object) -> bool:
        return key in self._tracker

    def __iter__(self) -> Iterator[InstrumentKey]:
        """Iterate over what is wanted or lingers, the oldest first."""
        return iter(self._tracker)

    def get(self, key: InstrumentKey) -> Interest | None:
        """Return what is known about an instrument; not to be changed by the caller."""
        return self._tracker.get(key)

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._allocator.limits

    @property
    def slots(self) -> Mapping[int, Slot]:
        """The connections that are to exist, by number, the oldest first; read only."""
        return self._allocator.slots

    @property
    def used(self) -> int:
        """Units of everything that has a place."""
        return self._allocator.used

    @property
    def symbols(self) -> int:
        """Number of instruments that have a place."""
        return self._allocator.symbols

    @property
    def held(self) -> int:
        """Number of instruments that somebody holds; lingering ones do not count."""
        return self._tracker.held

    @property
    def confirmed(self) -> int:
        """Number of instruments confirmed at any level."""
        return self._tracker.confirmed

    @property
    def clients(self) -> int:
        """Number of holders that hold anything."""
        return self._tracker.clients

    @property
    def waiting(self) -> Collection[InstrumentKey]:
        """The instruments that are held and have no place."""
        return self._rebalancer.waiting

    def is_confirmed(self, key: InstrumentKey) -> bool:
        """Tell whether an instrument is confirmed at any level."""
        interest = self._tracker.get(key)
        return interest is not None and interest.confirmed is not None

    def carrier_of(self, key: InstrumentKey) -> int | None:
        """Return which connection's ticks count for an instrument."""
        return self._allocator.carrier_of(key)

    def held_by(self, holder: Holder) -> list[InstrumentKey]:
        """Return what a client holds."""
        return self._tracker.held_by(holder)

    def knows_gateway(self, gateway: str) -> bool:
        """Tell whether any client of a gateway holds anything."""
        return self._tracker.knows_gateway(gateway)

    def next_deadline(self) -> float | None:
        """Return when ``expire`` may next have something to do, or None."""
        return self._tracker.next_deadline()

    def emptied(self, limits: Limits) -> Allocator:
        """Return an allocator that counts as this book's, carries nothing and has these limits."""
        return self._allocator.emptied(limits)

    # -- What the shell has to do -------------------------------------------------------------

    def take_actions(self) -> Actions:
        """Return what the shell has to do since the last call."""
        actions, self._actions = self._actions, Actions()
        return actions

    @property
    def has_actions(self) -> bool:
        """Whether ``take_actions`` would return anything to do."""
        return bool(self._actions)

    # -- Wants and answers --------------------------------------------------------------------

    def want(
        self, holder: Holder, want: Want, instrument: Instrument | None, now: float
    ) -> Outcome:
        """Take or change one reference and return its honest outcome. Idempotent.

        A refused want changes nothing: what the holder had of the instrument, it keeps. What was
        accepted before, by this pool or the one before it, waits where it has no room.
        """
        if instrument is None:
            return unknown_outcome(want)
        other = self._tracker.name_of(instrument.broker_token)
        if refusal := self.offer.refusal(want) or (other and self._named_otherwise(want, other)):
            return refusal
        known, waits = self._tracker.get(want.key), want.key in self._rebalancer.waiting
        if known is not None and waits and not known.holders:
            self._tracker.expel(want.key)  # where nothing is carried, nothing can linger
            self.dropped(want.key)
            known, waits = None, False
        if known is not None:
            instrument = known.instrument
        level = Level.of(want.mode, want.depth_levels)
        target = self._tracker.target(want.key, level)
        if known is None or waits or target != known.upstream:
            try:
                self.place(instrument, target)
            except PoolCapacityError as error:
                is_raise = known is not None and not waits
                return self._without_room(holder, want, instrument, now, error, is_raise=is_raise)
        if known is not None and target > known.upstream:
            self._actions.raised += 1
        interest = self._tracker.hold(holder, instrument, level, now)
        if waits:
            self._rebalancer.forget(want.key)
            self.replaced(want.key)
        elif known is None:
            self._recall(want.key)
        state = OutcomeState.ACTIVE if interest.is_active(level) else OutcomeState.PENDING
        return Outcome(want.key, state, want.mode, want.depth_levels)

    def _without_room(
        self,
        holder: Holder,
        want: Want,
        instrument: Instrument,
        now: float,
        error: PoolCapacityError,
        *,
        is_raise: bool,
    ) -> Outcome:
        """Refuse what fits nowhere, or have it wait for room if it was accepted before."""
        level = Level.of(want.mode, want.depth_levels)
        if is_raise or not (want.stands or self._tracker.holds(holder, want.key, level)):
            return capacity_refused_outcome(want, error)
        self._tracker.hold(holder, instrument, level, now)
        self._rebalancer.wait(want.key)
        return waiting_outcome(want.key, level, error)

    def _named_otherwise(self, want: Want, other: InstrumentKey) -> Outcome | None:
        """Refuse a second name of what is held under another one; a mere linger makes way."""
        interest = self._tracker.get(other)
        if interest is None or want.key in self._tracker:  # perhaps by this very name
            return None
        if interest.holders:
            return same_contract_outcome(want, other)
        self._tracker.expel(other)
        self.dropped(other)
        return None

    def release(self, holder: Holder, keys: Iterable[InstrumentKey] | None, now: float) -> int:
        """Give up references; what nobody wants any more lingers. Returns how many were held."""
        released = len(self._tracker.release(holder, keys, now))
        self.refill(is_room_freed=released > 0)
        return released

    def release_gateway(self, gateway: str, now: float, most: int | None = None) -> int:
        """Give up references of a gateway's clients, at most so many, or all.

        Returns how many clients have none any more.
        """
        is_known = self._tracker.knows_gateway(gateway)
        clients = len(self._tracker.release_gateway(gateway, now, most))
        self.refill(is_room_freed=is_known)
        return clients

    def settle(self, holder: Holder, outcome: Outcome) -> Outcome:
        """Return the outcome of a holder's pending want as it is now."""
        waits = outcome.key in self._rebalancer.waiting
        interest, gone = self._tracker.get(outcome.key), self.renaming.gone.get(outcome.key)
        return settled_outcome(outcome, interest, holder, waits=waits, gone=gone)

    def expire(self, now: float) -> None:
        """End lingers that are over."""
        for key, level in self._tracker.expire(now):
            self._follow(key, level)
        self.refill()

    def has_changes(self, slot: int) -> bool:
        """Tell whether there may be anything to send on a connection."""
        return self.reconciler(slot).has_work

    def take_batch(self, slot: int, limit: int) -> Batch:
        """Return the next changes to send on a connection; empty when there are none.

        Where limits bound all connections together, what one of them is to end counts until that
        was said: a message of another one that came before it would ask for too much. Then the
        batch is empty, too, while all waits for room.
        """
        allocator, reconciler = self._allocator, self.reconciler(slot)
        wanted, fading = allocator.items_on(slot), allocator.fading_on(slot)
        limits = allocator.limits
        if not limits.are_categories_shared:
            return reconciler.take(wanted, limit, fading=fading)

        def has_room(charge: Charge, instead_of: Charge | None) -> bool:
            return limits.fit_together(self._sent, charge, instead_of=instead_of)

        batch = reconciler.take(wanted, limit, has_room, fading)
        if batch or not reconciler.has_work:
            return batch
        can_proceed = any(
            each.can_proceed(allocator.items_on(number), has_room)
            for number, each in self._reconcilers.items()
        )
        return batch if can_proceed else reconciler.force(wanted)

    def restart(self, slot: int) -> list[InstrumentKey]:
        """Note that a connection's socket is gone; returns the instruments that were confirmed.

        What was moving away from it is not asked for again: it has another place already. One that
        was to be replaced is as good as new with its next socket, so what found no room stays.
        """
        lost = self._tracker.unconfirm(self.keys_of(slot))
        if (wanted := self._allocator.slots.get(slot)) is not None:
            for key in [*wanted.leaving, *wanted.fading]:
                self.record(self._allocator.settle(key))
            if wanted.is_retiring and wanted.items:
                self.moves.reinstate(slot)
            self.refill()
        if slot in self._allocator.slots:
            self.reconciler(slot).restart(self._allocator.slots[slot].items)
        return lost

    def carried(self) -> list[tuple[int, Subscription]]:
        """Return everything that may tick, wanted or not, with its connection."""
        return [
            (slot, subscription)
            for slot, reconciler in self._reconcilers.items()
            for subscription in reconciler.carried()
        ]

    def parted(self, slot: int) -> None:
        """Note that a connection has said the end of what was cut off."""
        self.reconciler(slot).parted()

    def sent_on(self, slot: int) -> list[InstrumentKey]:
        """Return the instruments whose ticks may come from a connection, wanted or not."""
        return list(self.reconciler(slot).sent)

    def keys_of(self, slot: int) -> list[InstrumentKey]:
        """Return the instruments whose ticks a connection carries; not what still moves to it."""
        items, carrier_of = self._allocator.items_on(slot), self._allocator.carrier_of
        return [key for key in items if carrier_of(key) == slot]

    def confirm(self, slot: int, keys: Iterable[InstrumentKey]) -> list[Outcome]:
        """Note confirmations of a connection; returns the wants that became active.

        Only what its socket was asked for counts, so a late answer to an older wish does no harm.
        """
        reconciler = self.reconciler(slot)
        outcomes: list[Outcome] = []
        for key in keys:
            level = reconciler.confirm(key)
            if level is None or self._allocator.slot_of(key) != slot:
                continue
            if not reconciler.is_asked(key, self._allocator.items_on(slot)[key].subscription):
                continue  # it was the earlier token that spoke
            active = self._tracker.confirm(key, level)
            outcomes.extend(outcome_of(key, lv, OutcomeState.ACTIVE) for lv in active)
            self.record(self._allocator.settle(key))
        self.refill()
        return outcomes

    def reject(
        self, slot: int, keys: Sequence[InstrumentKey], code: RefusalCode, message: str
    ) -> list[Outcome]:
        """Drop what the broker refused; returns the wants that are refused by it.

        No ``keys`` means that the broker did not say which: everything sent on the connection and
        not confirmed. It may also be of what ``verify_again`` returns.
        """
        sent = self.reconciler(slot).sent
        named = [key for key in keys if key in sent and self._allocator.slot_of(key) == slot]
        unconfirmed = named if keys else self.unconfirmed_on(slot)
        for key in unconfirmed:
            interest = self._tracker.get(key)
            is_former = self._allocator.carries_former(key)
            if interest is not None and (is_former or interest.is_active(interest.upstream)):
                self._tracker.unconfirm([key])
        outcomes: list[Outcome] = []
        for key in unconfirmed:
            self.reconciler(slot).refuse(key)
            levels, remains = self._tracker.reject(key)
            if remains is not None:
                # A raise that had to move: its old connection still carries the lower level.
                self.record(self._allocator.revert(key))
                if self._allocator.is_misplaced(key):  # it had to leave there in any case
                    levels, remains = (*levels, *self._tracker.expel(key)), None
            self._follow(key, remains)
            outcomes.extend(
                outcome_of(key, level, OutcomeState.REFUSED, code, message) for level in levels
            )
        self.refill()
        return outcomes

    def doubt_unanswered(self, slot: int) -> list[InstrumentKey]:
        """Note a complaint that names nothing; returns what waits for an answer there.

        It is asked for again unless it is answered within seconds: it may be what was refused.
        """
        self.reconciler(slot).doubt_unanswered()
        return self.unconfirmed_on(slot)

    def unconfirmed_on(self, slot: int) -> list[InstrumentKey]:
        """Return what was sent on the connection and is not confirmed there."""
        sent = self.reconciler(slot).sent
        return [key for key in sent if self._is_unconfirmed(slot, key)]

    def verify_again(self, slot: int) -> list[InstrumentKey]:
        """Subscribe again what a tick of an earlier subscription may have confirmed; returns it.

        A refusal that names nothing may be of it, and come behind what the broker sent before.
        """
        doubtful = self.reconciler(slot).distrust()
        self.changed(slot)
        return self._tracker.unconfirm(k for k in doubtful if self._allocator.slot_of(k) == slot)

    def expel(
        self, keys: Iterable[InstrumentKey], code: RefusalCode, message: str
    ) -> list[Outcome]:
        """Take instruments from all their holders, at once; returns the wants that end by it.

        The lowest mode is among them, and with it all ends that a client has of the instrument: a
        refused Depth alone would say nothing about its last prices.
        """
        outcomes: list[Outcome] = []
        for key in keys:
            levels = self._tracker.expel(key)
            self.dropped(key)
            ended = sorted({*levels, LOWEST}) if levels else ()
            outcomes += [outcome_of(key, lv, OutcomeState.REFUSED, code, message) for lv in ended]
        self.refill()
        return outcomes

    def resize(self, *, limits: Limits, linger_seconds: float | None = None) -> None:
        """Take over new limits: place what waits, or move and displace what no longer fits.

        ``linger_seconds`` None: as before.
        """
        if linger_seconds is not None:
            self._tracker.linger_seconds = linger_seconds
        self.record(self._allocator.resize(limits))
        self._rebalancer.fit()
        self.refill(is_room_freed=True)

    # -- Upkeep -------------------------------------------------------------------------------

    def is_needed(self, slot: int) -> bool:
        """Tell whether a connection is to be open: it carries something or is kept warm."""
        return self.carries(slot) or self.moves.is_warm(slot)

    def carries(self, slot: int) -> bool:
        """Tell whether a connection is to carry anything."""
        return bool(self._allocator.items_on(slot))

    def grow_older(self) -> None:
        """Note that about a second passed: called for each."""
        for slot, reconciler in self._reconcilers.items():
            if reconciler.grow_older():
                self.changed(slot)

    # -- What rebalancer and moves ask (``Mover``) ----------------------------------------------

    def record(self, plan: Plan) -> None:
        """Take note of a plan."""
        for step in plan:
            if isinstance(step, OpenConnection):
                self._actions.opened.append(step.slot)
                self._reconcilers[step.slot] = Reconciler(self._sent)
            elif isinstance(step, CloseConnection):
                self._actions.closed.append(step.slot)
                if (closed := self._reconcilers.pop(step.slot, None)) is not None:
                    self._actions.gone += closed.sent
                    closed.restart()
                self._is_room_freed = True
            else:
                self._is_room_freed |= not isinstance(step, Subscribe)
                self._reconcilers[step.slot].note(step)
                self._actions.changed.add(step.slot)

    def changed(self, slot: int) -> None:
        """Take note that there is something to send on a connection."""
        self._actions.changed.add(slot)

    def perform(self, plan: Plan) -> None:
        """Take note of a plan; of what it ended by an earlier token, nothing may be confirmed."""
        self.record(plan)
        for step in plan:
            if isinstance(step, Unsubscribe):
                self._note_former(step)

    def _note_former(self, step: Unsubscribe) -> None:
        """Unconfirm what moved on before its new token had spoken."""
        ended = step.subscription.instrument
        interest = self._tracker.get(ended.key)
        if interest is None or interest.instrument.broker_token == ended.broker_token:
            return
        if not self.reconciler(step.slot).is_answered(ended.key):
            self._tracker.unconfirm([ended.key])
            self._actions.restarted.append(ended.key)

    def displaced(self, key: InstrumentKey, error: PoolCapacityError) -> None:
        """Take an instrument off its connection; its holders keep it and are told."""
        self._tracker.end_linger(key)
        self.record(self._allocator.unassign(key))
        self._tracker.unconfirm([key])
        self._actions.displaced.append(key)
        interest = self._tracker.get(key)
        levels = () if interest is None else interest.levels
        self._actions.outcomes += [waiting_outcome(key, level, error) for level in levels]

    def replaced(self, key: InstrumentKey) -> None:
        """Tell the holders of an instrument that waited what became of it."""
        self._recall(key)
        interest = self._tracker.get(key)
        for level in () if interest is None else interest.levels:
            active = interest is not None and interest.is_active(level)
            state = OutcomeState.ACTIVE if active else OutcomeState.PENDING
            self._actions.outcomes.append(outcome_of(key, level, state))

    def dropped(self, key: InstrumentKey) -> None:
        """Take off its connection what nobody wants any more."""
        self._actions.gone.append(key)
        self._rebalancer.forget(key)
        self.record(self._allocator.unassign(key))

    def place(self, instrument: Instrument, level: Level, *, keeps_former: bool = False) -> None:
        """Assign, and end lingers early where only they are in the way.

        ``keeps_former``: what is carried by an earlier token may go on until the new one speaks.

        Raises:
            PoolCapacityError: it fits nowhere.
        """
        subscription = self.offer.subscription(instrument, level)
        while True:
            try:
                plan = self._allocator.assign(subscription, keeps_former=keeps_former)
                self.perform(plan)
            except PoolCapacityError:
                victim = self._tracker.evict_unheld()
                if victim is None:
                    raise
                self.dropped(victim)
            else:
                return

    def reconciler(self, slot: int) -> Reconciler:
        """Return what a connection's socket carries; of an unknown one, nothing that is kept."""
        return self._reconcilers.get(slot) or Reconciler()

    def refill(self, *, is_room_freed: bool = False) -> None:
        """Place what waits if anything was freed since the last time."""
        is_room_freed |= self._is_room_freed
        self._is_room_freed = False
        if is_room_freed and self._rebalancer.waiting:
            self._rebalancer.place_waiting()
            self._is_room_freed = False

    def _recall(self, key: InstrumentKey) -> None:
        """Confirm what comes back while its socket still carries it: nothing will be sent."""
        slot = self._allocator.slot_of(key)
        if slot is None:
            return
        reconciler = self.reconciler(slot)
        if (level := reconciler.confirmed(key)) is None:
            return
        if reconciler.is_asked(key, self._allocator.items_on(slot)[key].subscription):
            self._tracker.confirm(key, level)

    def _follow(self, key: InstrumentKey, level: Level | None) -> None:
        """Bring the placement down to a lowered level.

        Where the lower level fits nowhere, as where the broker grants less to mixed categories, the
        higher one stays: it covers what is wanted.
        """
        if level is None:
            self.dropped(key)
            return
        interest, slot = self._tracker.get(key), self._allocator.slot_of(key)
        if interest is None or slot is None:
            self._is_room_freed = True  # something that waits became cheaper
            return
        try:
            self.record(self._allocator.assign(self.offer.subscription(interest.instrument, level)))
        except PoolCapacityError:
            carried = self._allocator.slots[slot].items[key].subscription
            self._tracker.keep(key, Level.of(carried.mode, carried.depth_levels))
            self._recall(key)
        else:
            self._actions.lowered += 1

    def _is_unconfirmed(self, slot: int, key: InstrumentKey) -> bool:
        interest = self._tracker.get(key)
        if interest is None or self._allocator.slot_of(key) != slot:
            return False
        # What moves here is active by its old connection, which says nothing of this one.
        is_confirmed_here = self.reconciler(slot).confirmed(key) is not None
        return not (is_confirmed_here and interest.is_active(interest.upstream))
