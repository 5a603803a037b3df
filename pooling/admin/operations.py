"""Operations on a pool, each with the sentence that says beforehand what it will do. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from brokers.words import counted, verb

__all__ = ["OPERATIONS", "Operation", "PoolFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """The numbers of a pool that a person wants to know before acting.

    ``slots`` maps each connection to the symbols on it; ``slot`` is the chosen one, None: all.
    ``symbols`` are those placed, ``clients`` those that hold any. ``is_alive`` False: no worker
    keeps the numbers up to date, so they count as 0.
    """

    is_alive: bool
    is_enabled: bool
    is_paused: bool
    symbols: int = 0
    clients: int = 0
    slots: Mapping[int, int] = field(default_factory=dict)
    slot: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing to do. ``verb`` None: it is done here and not by a command to the worker.

    ``takes_slot`` and ``needs_slot`` say whether one connection may or must be chosen,
    ``takes_symbols`` whether instruments are named, ``is_for_many`` whether several pools may be
    done at once.
    """

    name: str
    label: str
    verb: str | None
    effect: Callable[[PoolFacts], str]
    is_disruptive: bool = True
    takes_slot: bool = False
    needs_slot: bool = False
    takes_symbols: bool = False
    is_for_many: bool = True


def _start(facts: PoolFacts) -> str:
    if facts.is_enabled and not facts.is_paused:
        return "It is switched on already; nothing changes."
    return "It is switched on: its worker opens connections for what its clients want."


def _pause(facts: PoolFacts) -> str:
    if facts.is_paused:
        return "It is paused already; nothing changes."
    return (
        f"{counted(len(facts.slots), 'connection')} {_close(len(facts.slots))} and "
        f"{counted(facts.symbols, 'symbol')} of {counted(facts.clients, 'client')} "
        f"stand still until somebody resumes it. Clients keep their subscriptions."
    )


def _resume(facts: PoolFacts) -> str:
    if not facts.is_paused:
        return "It is not paused; nothing changes."
    return "Its connections open again and what its clients want is subscribed again."


def _reconnect(facts: PoolFacts) -> str:
    if facts.slot is not None:
        return (
            f"Connection {facts.slot} is closed and opened again. "
            f"{_gap(facts.slots.get(facts.slot, 0), facts.clients)}"
        )
    return (
        f"{counted(len(facts.slots), 'connection')} {_close(len(facts.slots))} and "
        f"{verb(len(facts.slots), 'opens', 'open')} again. {_gap(facts.symbols, facts.clients)}"
    )


def _drain(facts: PoolFacts) -> str:
    if facts.slot is None:
        return "The chosen connection hands what it can to the others, then it closes."
    symbols = facts.slots.get(facts.slot, 0)
    return (
        f"Connection {facts.slot} hands its {counted(symbols, 'symbol')} to the others as far as "
        "they have room, without a gap, and closes once it is empty."
    )


def _rebalance(facts: PoolFacts) -> str:
    return (
        f"{counted(facts.symbols, 'symbol')} on {counted(len(facts.slots), 'connection')} move "
        "onto as few connections as can carry them, without a gap; emptied connections close."
    )


def _unsubscribe(facts: PoolFacts) -> str:
    return (
        "Every client that holds one of the named symbols loses it and is told so. "
        f"The pool carries {counted(facts.symbols, 'symbol')} for "
        f"{counted(facts.clients, 'client')}."
    )


def _gap(symbols: int, clients: int) -> str:
    if not symbols:
        return "Nothing is subscribed on it."
    return (
        f"{counted(symbols, 'symbol')} of up to {counted(clients, 'client')} "
        f"{'has' if symbols == 1 else 'have'} a gap until it is back, usually a second or two."
    )


def _close(connections: int) -> str:
    return "closes" if connections == 1 else "close"


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        each.name: each
        for each in (
            Operation(name="start", label="Start", verb=None, effect=_start, is_disruptive=False),
            Operation(name="pause", label="Pause", verb="pause", effect=_pause),
            Operation(
                name="resume", label="Resume", verb="resume", effect=_resume, is_disruptive=False
            ),
            Operation(
                name="reconnect",
                label="Reconnect",
                verb="reconnect",
                effect=_reconnect,
                takes_slot=True,
            ),
            Operation(
                name="drain",
                label="Drain a connection",
                verb="drain",
                effect=_drain,
                is_disruptive=False,
                takes_slot=True,
                needs_slot=True,
                is_for_many=False,
            ),
            Operation(
                name="rebalance",
                label="Rebalance",
                verb="rebalance",
                effect=_rebalance,
                is_disruptive=False,
            ),
            Operation(
                name="unsubscribe",
                label="Force-unsubscribe",
                verb="unsubscribe",
                effect=_unsubscribe,
                takes_symbols=True,
                is_for_many=False,
            ),
        )
    }
)
