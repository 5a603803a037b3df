"""States of an attempt to log in at a broker, and which one may follow which. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

__all__ = ["OPEN_STATES", "WORKERS_STATES", "AttemptKind", "AttemptState"]


class AttemptKind(StrEnum):
    """The ways in which an attempt is made.

    PASTED proves a credential as the feed takes it, LONG_LIVED a token that the broker's login
    turns into one. TEST asks about the stored one, and changes nothing.
    """

    BROWSER = "browser"
    UNATTENDED = "unattended"
    PASTED = "pasted"
    LONG_LIVED = "long-lived"
    TEST = "test"


class AttemptState(StrEnum):
    """The states of an attempt.

    PREPARING: the worker asks the broker for what its login page needs. AWAY: the browser is at the
    broker, or about to go. EXCHANGING: it came back, and the worker gets the credential. The others
    are ends, and keep nothing that is secret.
    """

    PREPARING = "preparing"
    AWAY = "away"
    EXCHANGING = "exchanging"
    GRANTED = "granted"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    LATE = "late"


# What may still become something, and what waits for a worker.
OPEN_STATES: Final = (AttemptState.PREPARING, AttemptState.AWAY, AttemptState.EXCHANGING)
WORKERS_STATES: Final = (AttemptState.PREPARING, AttemptState.EXCHANGING)
