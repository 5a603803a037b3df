"""What the decisions of a pool's book ask of the shell that acts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from brokers.feed import Outcome
from brokers.types import InstrumentKey
from pooling.plan import (
    ChangeMode,
    CloseConnection,
    OpenConnection,
    Plan,
    Subscribe,
    Unsubscribe,
)
from pooling.reconcile import Reconciler

__all__ = ["Actions", "PlanRecorder"]


@dataclass(slots=True)
class Actions:
    """What a decision asks of the shell.

    ``opened`` and ``closed`` are connections, ``changed`` those with something to send; ``gone``
    are instruments that nobody wants any more; ``raised`` and ``lowered`` count changes of mode.
    ``displaced`` are instruments that lost their place to lowered limits, ``outcomes`` what their
    holders, and those of instruments that got theirs back, have to be told.
    """

    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    changed: set[int] = field(default_factory=set)
    gone: list[InstrumentKey] = field(default_factory=list)
    raised: int = 0
    lowered: int = 0
    displaced: list[InstrumentKey] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.opened or self.closed or self.changed or self.gone or self.outcomes)


class PlanRecorder:
    """Turns plans into actions, and keeps the reconciler of every connection. The book owns it.

    ``is_room_freed`` stays set until its owner has tried to place what waits.
    """

    def __init__(self) -> None:
        self.actions = Actions()
        self.is_room_freed = False
        self._reconcilers: dict[int, Reconciler] = {}

    def take_actions(self) -> Actions:
        """Return what was recorded since the last call."""
        actions, self.actions = self.actions, Actions()
        return actions

    def reconciler(self, slot: int) -> Reconciler:
        """Return what a connection's socket carries; of an unknown one, nothing that is kept."""
        return self._reconcilers.get(slot) or Reconciler()

    def record(self, plan: Plan) -> None:
        """Take note of a plan."""
        for step in plan:
            self.is_room_freed |= not isinstance(step, OpenConnection | Subscribe)
            if isinstance(step, OpenConnection):
                self.actions.opened.append(step.slot)
                self._reconcilers[step.slot] = Reconciler()
            elif isinstance(step, CloseConnection):
                self.actions.closed.append(step.slot)
                if (closed := self._reconcilers.pop(step.slot, None)) is not None:
                    self.actions.gone += closed.sent
            else:
                subscription = step.new if isinstance(step, ChangeMode) else step.subscription
                self._reconcilers[step.slot].mark(
                    subscription.instrument.key, leaves=isinstance(step, Unsubscribe)
                )
                self.actions.changed.add(step.slot)
