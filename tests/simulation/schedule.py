"""What happens in a simulation, and when: a list of steps drawn from a seed. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from brokers.types import FeedMode

__all__ = ["HOLDERS", "SYMBOLS", "Plan", "Step", "make_plan"]

SYMBOLS = range(1, 15)
ENDPOINTS = (None, "wss://east.invalid", "wss://west.invalid")
HOLDERS = (("g1", "ann"), ("g1", "bob"), ("g2", "eve"), ("g2", "mal"))
MODES = tuple(FeedMode)

# Verbs of clients, and of everything else; a number is how often, against the others.
CLIENT_VERBS = {"want": 10, "release": 5, "release_all": 1, "abandon": 1, "end_gateway": 1}
FAULT_VERBS = {
    "drop": 4,
    "drop_all": 2,
    "silence": 3,
    "refuse": 3,
    "slow_acks": 2,
    "slow_handshakes": 2,
    "roll_token": 3,
    "wrong_login": 1,
    "limits": 4,
    "reject": 1,
    "store_down": 1,
    "close_market": 1,
}
MORE_FAULT_VERBS = FAULT_VERBS | {
    "endpoint": 2,
    "cut_off": 1,
    "linger": 2,
    "ban": 1,
    "shrink": 1,
    "step_clock": 1,
}
LOAD_VERBS = MORE_FAULT_VERBS | {"load": 8}
LOAD_CHANGES = ("swap", "reuse", "move", "expire", "relist")


class Step(NamedTuple):
    """At ``at`` seconds, ``World.do_<verb>(*args)`` is called."""

    at: float
    verb: str
    args: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.at:9.3f} {self.verb}{self.args}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole of a simulation: what the broker declares, how the pool starts, the steps."""

    seed: int
    seconds: float
    symbols_per_connection: int
    max_connections: int
    linger_seconds: float
    depth_cost: int
    batch_size: int
    message_interval_seconds: float
    connect_interval_seconds: float
    max_lifetime_seconds: float | None
    max_idle_seconds: float
    store_seconds: float
    beat_seconds: float = 1.0
    tick_every_beats: int = 3
    is_calm: bool = False  # nothing fails: each tick of what is live has to come out
    sample_seconds: float = 0.5003  # off the beat: what happens at one instant is over by then
    steps: list[Step] = field(repr=False)


def make_plan(
    seed: int, *, seconds: float | None = None, is_plain: bool = False, has_loads: bool = False
) -> Plan:
    """Draw a plan; the same seed always gives the same one.

    A plain one has the faults of ``FAULT_VERBS`` only, one with loads those of ``LOAD_VERBS``:
    whoever adds a verb changes every story, so seeds that are kept stay with the table that they
    were drawn from.
    """
    chance = random.Random(seed)
    seconds = seconds or chance.choice((20.0, 60.0, 120.0))
    faults = FAULT_VERBS if is_plain else LOAD_VERBS if has_loads else MORE_FAULT_VERBS
    return Plan(
        seed=seed,
        seconds=seconds,
        symbols_per_connection=chance.randint(1, 6),
        max_connections=chance.randint(1, 3),
        linger_seconds=chance.choice((0.5, 5.0)),
        depth_cost=chance.choice((1, 1, 2)),
        batch_size=chance.choice((1, 2, 200)),
        message_interval_seconds=chance.choice((0.0, 0.05, 0.2)),
        connect_interval_seconds=chance.choice((0.1, 1.0)),
        max_lifetime_seconds=chance.choice((None, None, None, 100.0)),
        max_idle_seconds=chance.choice((5.0, 300.0)),
        store_seconds=chance.choice((0.0, 0.3)),
        steps=sorted(
            _steps(chance, seconds, faults),
            key=lambda step: step.at,
        ),
    )


def _steps(chance: random.Random, seconds: float, fault_verbs: Mapping[str, int]) -> Iterator[Step]:
    yield Step(0.0, "want", (chance.randrange(len(HOLDERS)), (1, 2, 3), FeedMode.QUOTE))
    # Calm seeds show what busy ones hide: recovery needs time without the next fault.
    faults = chance.choice((0.02, 0.1, 0.3))
    verbs = [*CLIENT_VERBS, *fault_verbs]
    rest = sum(CLIENT_VERBS.values()) * faults / sum(fault_verbs.values())
    weights = [*CLIENT_VERBS.values(), *(weight * rest for weight in fault_verbs.values())]
    count = int(seconds * chance.choice((0.2, 0.5, 2.0)))
    for _ in range(count):
        verb = chance.choices(verbs, weights)[0]
        yield from _draw(chance, round(chance.uniform(0.0, seconds), 3), verb)


def _draw(chance: random.Random, at: float, verb: str) -> Iterator[Step]:
    yield Step(at, verb, _ARGUMENTS.get(verb, _nothing)(chance))
    if verb == "refuse":
        # Nobody would notice while every link is up.
        yield Step(at, "drop", (chance.randrange(3),))
    if verb in _ENDS:
        after = chance.choice((0.5, 4.0, 12.0, 30.0)) * chance.uniform(0.5, 1.0)
        yield Step(round(at + after, 3), *_ENDS[verb])


def _nothing(chance: random.Random) -> tuple[object, ...]:
    return ()


def _some(chance: random.Random) -> tuple[int, ...]:
    return tuple(sorted(chance.sample(SYMBOLS, chance.randint(1, 6))))


def _wish(chance: random.Random) -> tuple[object, ...]:
    return (chance.randrange(len(HOLDERS)), _some(chance), chance.choice(MODES))


def _refusal(chance: random.Random) -> tuple[object, ...]:
    return chance.choice(((429, None), (429, 1), (429, 20), (500, None), (503, None)))


def _load(chance: random.Random) -> tuple[object, ...]:
    return (tuple(_change(chance) for _ in range(chance.randint(1, 4))),)


def _change(chance: random.Random) -> tuple[str, tuple[int, ...]]:
    name = chance.choice(LOAD_CHANGES)
    if name == "relist":
        return name, (chance.randint(0, 1),)
    return name, tuple(chance.sample(SYMBOLS, 2 if name in ("swap", "reuse") else 1))


_ARGUMENTS: dict[str, Callable[[random.Random], tuple[object, ...]]] = {
    "want": _wish,
    "abandon": _wish,
    "release": lambda chance: (chance.randrange(len(HOLDERS)), _some(chance)),
    "release_all": lambda chance: (chance.randrange(len(HOLDERS)),),
    "end_gateway": lambda chance: (chance.choice(("g1", "g2")),),
    "drop": lambda chance: (chance.randrange(3),),
    "silence": lambda chance: (chance.choice((None, 0, 1, 2)),),
    "refuse": _refusal,
    "slow_acks": lambda chance: (round(chance.uniform(0.1, 8.0), 3),),
    "slow_handshakes": lambda chance: (chance.choice((0.5, 3.0, 11.0)),),
    "roll_token": lambda chance: (chance.choice((True, False)),),
    "limits": lambda chance: (chance.randint(1, 6), chance.randint(1, 3)),
    "endpoint": lambda chance: (chance.choice(ENDPOINTS),),
    "linger": lambda chance: (
        chance.choice((2.0, 10.0, 30.0)),
        chance.choice((True, False)),
        chance.choice((None, 2)),
    ),
    "ban": lambda chance: (_some(chance),),
    "shrink": lambda chance: (chance.randint(0, 4),),
    "load": _load,
    "step_clock": lambda chance: (chance.choice((-3600.0, -5.0, 2.0, 90.0)),),
}

_ENDS: dict[str, tuple[str, tuple[object, ...]]] = {
    "silence": ("speak", ()),
    "refuse": ("accept", ()),
    "slow_acks": ("slow_acks", (0.0,)),
    "slow_handshakes": ("slow_handshakes", (0.02,)),
    "roll_token": ("login", ()),
    "store_down": ("store_up", ()),
    "close_market": ("open_market", ()),
    "cut_off": ("reach", ()),
    "linger": ("linger", (0.0,)),
    "ban": ("ban", ((),)),
    "shrink": ("shrink", (None,)),
}
