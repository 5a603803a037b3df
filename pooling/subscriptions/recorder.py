"""What the decisions of a pool's book ask of the shell that acts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from brokers.pool_service import Outcome
from brokers.types import InstrumentKey, Subscription
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import Charge, Load
from pooling.subscriptions.plan import (
    ChangeMode,
    CloseConnection,
    OpenConnection,
    Plan,
    Subscribe,
    Unsubscribe,
)
from pooling.subscriptions.reconciler import Batch, Reconciler

__all__ = ["Actions", "PlanRecorder"]


@dataclass(slots=True)
class Actions:
    """What a decision asks of the shell.

    ``opened`` and ``closed`` are connections, ``changed`` those with something to send; ``gone``
    are instruments that nobody wants any more; ``raised`` and ``lowered`` count changes of mode.
    ``displaced`` are instruments that lost their place to lowered limits, ``outcomes`` what their
    holders, and those of instruments that got theirs back, have to be told. ``restarted`` are those
    that lost their confirmation and kept their place.
    """

    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    gone: list[InstrumentKey] = field(default_factory=list)
    raised: int = 0
    lowered: int = 0
    displaced: list[InstrumentKey] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    restarted: list[InstrumentKey] = field(default_factory=list)

    def __bool__(self) -> bool:
        done = self.opened or self.closed or self.changed or self.gone
        return bool(done or self.outcomes or self.restarted)


class PlanRecorder:
    """Turns plans into actions, and keeps the reconciler of every connection. The book owns it.

    ``is_room_freed`` stays set until its owner has tried to place what waits.
    """

    def __init__(self) -> None:
        self.actions = Actions()
        self.is_room_freed = False
        self._reconcilers: dict[int, Reconciler] = {}
        self._sent = Load()  # of all sockets together

    def take_actions(self) -> Actions:
        """Return what was recorded since the last call."""
        actions, self.actions = self.actions, Actions()
        return actions

    def reconciler(self, slot: int) -> Reconciler:
        """Return what a connection's socket carries; of an unknown one, nothing that is kept."""
        return self._reconcilers.get(slot) or Reconciler()

    def carried(self) -> list[tuple[int, Subscription]]:
        """Return everything that brokers may send ticks of, with its connection."""
        return [
            (slot, subscription)
            for slot, reconciler in self._reconcilers.items()
            for subscription in reconciler.carried()
        ]

    def grow_older(self) -> None:
        """Note that about a second passed."""
        for slot, reconciler in self._reconcilers.items():
            if reconciler.grow_older():
                self.actions.changed.add(slot)

    def take_batch(self, slot: int, limit: int, allocator: Allocator) -> Batch:
        """Return the next changes to send on a connection, empty where all waits for room.

        Where limits bound all connections together, what one of them is to end counts until that
        was said: a message of another one that came before it would ask for too much.
        """
        reconciler, wanted = self.reconciler(slot), allocator.items_on(slot)
        limits, fading = allocator.limits, allocator.fading_on(slot)
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

    def record(self, plan: Plan) -> None:
        """Take note of a plan."""
        for step in plan:
            if isinstance(step, Subscribe):
                self._reconcilers[step.slot].mark(step.subscription.instrument.key)
                self.actions.changed.add(step.slot)
                continue
            if isinstance(step, OpenConnection):
                self.actions.opened.append(step.slot)
                self._reconcilers[step.slot] = Reconciler(self._sent)
                continue
            self.is_room_freed = True
            if isinstance(step, CloseConnection):
                self.actions.closed.append(step.slot)
                if (closed := self._reconcilers.pop(step.slot, None)) is not None:
                    self.actions.gone += closed.sent
                    closed.restart()
            else:
                self._mark(self._reconcilers[step.slot], step)
                self.actions.changed.add(step.slot)

    def _mark(self, reconciler: Reconciler, step: Unsubscribe | ChangeMode) -> None:
        if isinstance(step, Unsubscribe):
            reconciler.mark_ended(step.subscription)
        else:
            reconciler.mark(step.new.instrument.key)
