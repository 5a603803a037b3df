"""Values and protocols that the parts of the alerts hand to each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from pooling.alerts.message import Alert

__all__ = ["AlertKind", "AlertStore", "PoolTargets", "Send", "Target"]


class AlertKind(StrEnum):
    """The ways in which people are told."""

    WEBHOOK = "webhook"
    EMAIL = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to tell. ``address`` is the whole URL or the mailbox; ``secret`` empty: unsigned."""

    id: int
    kind: AlertKind
    address: str = field(repr=False)
    secret: str = field(default="", repr=False)
    tells_recovery: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolTargets:
    """A pool's names, and whom to tell about it."""

    user: str
    broker: str
    label: str
    targets: Sequence[Target]


class AlertStore(Protocol):
    """The store of who is told, and of how it went. Every coroutine may be cancelled."""

    async def targets(self, pool_id: str) -> PoolTargets | None:
        """Return whom to tell about a pool; None: there is no such pool any more."""

    async def delivered(self, target_id: int, error: str) -> None:
        """Note how the last attempt ended; ``error`` empty: it arrived."""


# Carries one alert to one target. Raises AlertError, or AlertRefusedError where trying again is
# of no use.
Send = Callable[[Target, Alert], Awaitable[None]]
