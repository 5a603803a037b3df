"""The answers to wants, in the words that their holders read. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from brokers.logs.redaction import REDACTOR
from brokers.pool_service import Holder, Outcome, OutcomeState, RefusalCode, Want
from brokers.types import InstrumentKey
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.tracker import Interest, Level

__all__ = [
    "DEFAULT_DEPTH_LEVELS",
    "Gone",
    "active_outcomes",
    "capacity_refused_outcome",
    "crowded_outcome",
    "delayed_outcomes",
    "gone_outcome",
    "outcome_of",
    "refused_outcome",
    "same_contract_outcome",
    "settled_outcome",
    "still_pending",
    "unknown_outcome",
    "untold_outcome",
    "waiting_outcome",
    "words_of",
]

DEFAULT_DEPTH_LEVELS = 5
MOST_WORDS = 200


class Gone(NamedTuple):
    """Reason why a name means nothing any more, in the words that its holders read."""

    code: RefusalCode
    message: str


def outcome_of(
    key: InstrumentKey,
    level: Level,
    state: OutcomeState,
    code: RefusalCode | None = None,
    message: str = "",
) -> Outcome:
    """Return what became of a held level."""
    depth_levels = level.depth_levels or DEFAULT_DEPTH_LEVELS
    return Outcome(key, state, level.mode, depth_levels, code, message)


def active_outcomes(interests: Iterable[Interest | None]) -> list[Outcome]:
    """Return an outcome for every held level that is active."""
    return [
        outcome_of(interest.instrument.key, level, OutcomeState.ACTIVE)
        for interest in interests
        if interest is not None
        for level in interest.levels
        if interest.is_active(level)
    ]


def words_of(error: Exception) -> str:
    """Return what a broker said, fit for whoever holds a subscription: short, no credential."""
    words = " ".join(REDACTOR.redact(str(error)).split())
    return words[:MOST_WORDS] or "it gave no reason"


def delayed_outcomes(
    interests: Iterable[Interest | None], code: RefusalCode, message: str
) -> list[Outcome]:
    """Return an outcome for every held level that is not active: why it waits."""
    return [
        outcome_of(interest.instrument.key, level, OutcomeState.PENDING, code, message)
        for interest in interests
        if interest is not None
        for level in interest.levels
        if not interest.is_active(level)
    ]


def settled_outcome(
    outcome: Outcome,
    interest: Interest | None,
    holder: Holder,
    *,
    waits: bool,
    gone: Gone | None = None,
) -> Outcome:
    """Return a holder's outcome as it is now, if it was pending.

    Args:
        outcome: as it was.
        interest: all that is wanted of its instrument.
        holder: whose it is.
        waits: whether the instrument waits for a place.
        gone: why its name means nothing any more; None: it does, as far as is known.
    """
    if outcome.state is not OutcomeState.PENDING:
        return outcome
    if interest is None or holder not in interest.holders:
        return msgspec.structs.replace(
            outcome,
            state=OutcomeState.REFUSED,
            code=RefusalCode.BROKER_ERROR if gone is None else gone.code,
            message="the broker refused this subscription" if gone is None else gone.message,
        )
    if interest.is_active(Level.of(outcome.mode, outcome.depth_levels)):
        return msgspec.structs.replace(outcome, state=OutcomeState.ACTIVE, code=None)
    is_known = waits is (outcome.code is RefusalCode.MAX_CAPACITY_REACHED)
    return outcome if is_known else still_pending(outcome, waits=waits)


def refused_outcome(want: Want, code: RefusalCode, message: str) -> Outcome:
    """Refuse a want as it was asked."""
    return Outcome(want.key, OutcomeState.REFUSED, want.mode, want.depth_levels, code, message)


def unknown_outcome(want: Want) -> Outcome:
    """Refuse a want of what the broker does not list."""
    return refused_outcome(
        want,
        RefusalCode.SYMBOL_NOT_FOUND,
        f"{want.key} is not an instrument of this broker; check exchange and symbol",
    )


def gone_outcome(want: Want, why: Gone) -> Outcome:
    """Refuse a want of what the broker listed once."""
    return refused_outcome(want, why.code, why.message)


def same_contract_outcome(want: Want, name: InstrumentKey) -> Outcome:
    """Refuse a second name of what is subscribed: a token has one name at a time."""
    return refused_outcome(
        want,
        RefusalCode.BROKER_ERROR,
        f"the broker calls {want.key} and {name} by one token, and {name} is subscribed: use that "
        "name, or load the instruments again",
    )


def untold_outcome(want: Want, why: str = "") -> Outcome:
    """Let a want wait whose name cannot be looked up now; it is asked for again by itself.

    ``why`` is a sentence for people; "": the store does not answer.
    """
    return Outcome(
        want.key,
        OutcomeState.PENDING,
        want.mode,
        want.depth_levels,
        RefusalCode.BROKER_UNAVAILABLE,
        why or "instruments cannot be looked up right now; it is tried again by itself",
    )


def crowded_outcome(want: Want) -> Outcome:
    """Refuse a want that can neither be looked up now nor wait with the many that do."""
    return refused_outcome(
        want,
        RefusalCode.BROKER_ERROR,
        "instruments cannot be looked up right now, and too many wait for it; try again",
    )


def capacity_refused_outcome(want: Want, error: PoolCapacityError) -> Outcome:
    """Refuse a want that fits nowhere, with the numbers."""
    return Outcome(
        want.key,
        OutcomeState.REFUSED,
        want.mode,
        want.depth_levels,
        RefusalCode.MAX_CAPACITY_REACHED,
        _how_to_make_room(error),
        error.details(),
    )


def waiting_outcome(key: InstrumentKey, level: Level, error: PoolCapacityError) -> Outcome:
    """Say that an accepted want has no place now; its holder keeps it until there is one."""
    return Outcome(
        key,
        OutcomeState.PENDING,
        level.mode,
        level.depth_levels or DEFAULT_DEPTH_LEVELS,
        RefusalCode.MAX_CAPACITY_REACHED,
        f"{_how_to_make_room(error)}; it is subscribed again once there is room",
        error.details(),
    )


def still_pending(outcome: Outcome, *, waits: bool) -> Outcome:
    """Say of a pending want why it is: it waits for room, or for the broker's answer."""
    if not waits:
        return msgspec.structs.replace(outcome, code=None, message="")
    return msgspec.structs.replace(
        outcome,
        code=RefusalCode.MAX_CAPACITY_REACHED,
        message="the limits were lowered; it is subscribed again once there is room",
    )


def _how_to_make_room(error: PoolCapacityError) -> str:
    if error.kind:
        return (
            f"The broker takes no more subscriptions of the kind {error.kind!r} of this account, "
            "whatever its limits here; unsubscribe some of them, or ask for a lower mode or fewer "
            "levels"
        )
    taken = "All" if error.used >= error.capacity else f"{error.used} of"
    return (
        f"{taken} {error.capacity} places are taken and no connection has room "
        f"({error.connections} of {error.max_connections} connections, "
        f"{error.symbols_per_connection} symbols each); unsubscribe something, or "
        "raise the limits of this account (in the admin, or with `manage.py pool set-limit`)"
    )
