"""Days of one account on end: at 03:00 its token dies, some time later somebody logs in.

A day may be shortened: the same happens in it, with less waiting between.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

from brokers.types import FeedMode
from pooling.pool.runtime import UPKEEP_SECONDS
from pooling.subscriptions.upkeep import LATEST_ROTATION
from tests.simulation.schedule import Plan, Step, make_plan

__all__ = [
    "DAY_SECONDS",
    "count_disruptions",
    "count_roll_overs",
    "make_closed_market",
    "make_month",
    "make_rotation",
]

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS
ROLL_OVER = 3 * HOUR_SECONDS
OPENS, CLOSES = 9.25 * HOUR_SECONDS, 15.5 * HOUR_SECONDS
WEEKEND = (5, 6)
BACK_SECONDS = 5.0  # from a saved credential to prices
BEAT_SECONDS = 1.0
CLOSING = 60.0  # of a closed market: how long it is open before and afterwards
CARRYING = 2  # connections of three symbols for six
MESSAGES = 6  # to subscribe three symbols one by one, each with its mode


def make_month(seed: int, *, days: int = 30, day_seconds: float = DAY_SECONDS) -> Plan:
    """Draw a plan that starts on a Monday at midnight; most days have one fault more."""
    chance = random.Random(seed)
    steps = [Step(0.0, "close_market"), *_wants()]
    for day in range(days):
        steps += _day(chance, day, day_seconds)
    return _calm_plan(seed, days * day_seconds, sorted(steps))


def count_disruptions(plan: Plan) -> int:
    """Return how often a plan costs the one connection its link."""
    ends = {"drop_all", "silence"}
    return sum(step.verb in ends or step.args == (True,) for step in plan.steps)


def count_roll_overs(plan: Plan) -> int:
    """Return how often the credential dies."""
    return sum(step.verb == "roll_token" for step in plan.steps)


def make_closed_market(hours: float) -> Plan:
    """Return a plan in which only heartbeats come for so long, between two minutes of trading."""
    opens = hours * HOUR_SECONDS
    steps = [*_wants(), Step(CLOSING, "close_market"), Step(opens, "open_market")]
    return _calm_plan(0, opens + CLOSING, steps)


def make_rotation(seed: int, *, hours: float = 1.0) -> Plan:
    """Return a plan in which the broker ends every connection for its age and nothing else fails.

    From the latest moment of replacing one, a twentieth of its life is left, and all that are due
    together are replaced one after the other: that has to be enough for two, with the delays that
    are drawn. So it is made as short as it may be. (Of a day at Binance it is 72 minutes.) There is
    room for the connection that replaces another, so no tick may be lost.
    """
    chance = random.Random(seed)
    numbers = tuple(range(1, 1 + chance.randint(1, 6)))
    half = len(numbers) // 2
    steps = [
        Step(0.0, "want", (0, numbers, FeedMode.QUOTE)),
        Step(0.0, "want", (2, numbers[half:], chance.choice(tuple(FeedMode)))),
        Step(0.0, "slow_acks", (acks := chance.choice((0.0, 0.4, 3.0)),)),
        Step(0.0, "slow_handshakes", (handshake := chance.choice((0.02, 2.0)),)),
    ]
    batch_size, interval = chance.choice((1, 2, 500)), chance.choice((0.0, 0.05, 0.2))
    replacing = UPKEEP_SECONDS + handshake + MESSAGES * interval + acks + BEAT_SECONDS
    return replace(
        _calm_plan(seed, hours * HOUR_SECONDS, steps),
        symbols_per_connection=3,
        max_connections=3,
        batch_size=batch_size,
        message_interval_seconds=interval,
        max_lifetime_seconds=CARRYING * replacing / (1.0 - LATEST_ROTATION),
        beat_seconds=BEAT_SECONDS,
        tick_every_beats=1,
        sample_seconds=0.5003,
        is_calm=True,
    )


def _wants() -> Iterator[Step]:
    yield Step(0.0, "want", (0, (1, 2), FeedMode.QUOTE))
    yield Step(0.0, "want", (2, (2, 3), FeedMode.DEPTH))


def _day(chance: random.Random, day: int, day_seconds: float) -> Iterator[Step]:
    start, scale = day * day_seconds, day_seconds / DAY_SECONDS
    yield Step(start + ROLL_OVER * scale, "roll_token", (chance.random() < 0.7,))
    login = start + (ROLL_OVER + chance.uniform(0.05, 4.0) * HOUR_SECONDS) * scale
    yield Step(login, "login")
    yield Step(login + BACK_SECONDS, "expect_well")
    if day % 7 in WEEKEND:
        return
    yield Step(start + OPENS * scale, "open_market")
    yield Step(start + CLOSES * scale, "close_market")
    yield from _fault(chance, start + chance.uniform(OPENS, CLOSES) * scale)


def _fault(chance: random.Random, at: float) -> Iterator[Step]:
    match chance.choice(("drop_all", "silence", "refuse", "limits", "nothing")):
        case "drop_all":
            yield Step(at, "drop_all")
        case "silence":
            yield Step(at, "silence", (None,))
            yield Step(at + 60.0, "speak")
        case "refuse":
            yield Step(at, "refuse", (429, 20))
            yield Step(at, "drop_all")
            yield Step(at + 15.0, "accept")
        case "limits":
            yield Step(at, "limits", (chance.randint(3, 6), chance.randint(1, 3)))


def _calm_plan(seed: int, seconds: float, steps: list[Step]) -> Plan:
    return replace(
        make_plan(seed, seconds=1.0),
        seconds=seconds,
        symbols_per_connection=4,
        max_connections=1,
        linger_seconds=5.0,
        depth_cost=1,
        batch_size=500,
        message_interval_seconds=0.1,
        connect_interval_seconds=1.0,
        max_lifetime_seconds=None,
        max_idle_seconds=300.0,
        store_seconds=0.0,
        sample_seconds=10.0003,
        beat_seconds=2.0,  # as often as Kite: the quiet hours are most of a month
        tick_every_beats=1,
        steps=steps,
    )
