"""Actions that the decisions of a pool's book ask of the shell. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from brokers.pool_service import Outcome
from brokers.types import InstrumentKey

__all__ = ["Actions"]


@dataclass(slots=True)
class Actions:
    """All that was decided and is not done yet.

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
