"""States of a span out of their changes, and the minutes of outage in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pooling.outages import Change, FeedState, Outages, Stretch, stretches

NINE = datetime(2026, 11, 30, 9, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NINE + timedelta(minutes=minutes)


def told(*changes: tuple[float, str], heard: float | None = None) -> list[Stretch]:
    """Return the states of the hour from nine, of which a dead worker was last heard then."""
    return stretches(
        [Change(at(minutes), f"feed_{kind}", "worker w:1 ended") for minutes, kind in changes],
        heard=None if heard is None else at(heard),
        is_alive=heard is None,
        start=NINE,
        end=at(60),
    )


def words(found: list[Stretch]) -> list[tuple[float, float, FeedState]]:
    return [
        ((s.start - NINE) / timedelta(minutes=1), (s.end - NINE) / timedelta(minutes=1), s.state)
        for s in found
    ]


def test_a_state_lasts_until_the_next_and_begins_before_the_span() -> None:
    found = told((-500, "live"), (10, "stale"), (12, "live"), (40, "auth_required"))
    assert words(found) == [
        (0, 10, FeedState.LIVE),
        (10, 12, FeedState.STALE),
        (12, 40, FeedState.LIVE),
        (40, 60, FeedState.LOGIN_NEEDED),
    ]
    assert Outages(found).minutes(NINE, at(60)) == 22


def test_a_worker_that_fell_silent_ends_what_is_known_as_live() -> None:
    found = told((5, "live"), heard=30)
    assert words(found) == [(5, 30, FeedState.LIVE), (30, 60, FeedState.NO_WORKER)]
    assert Outages(found).minutes(NINE, at(60)) == 30


@pytest.mark.parametrize("kind", ["closed", "disabled", "of_a_later_version"])
def test_what_nobody_wants_served_is_no_outage(kind: str) -> None:
    found = told((-5, kind), heard=1)
    assert [(state.start, state.end) for state in found] == [(NINE, at(60))]
    assert Outages(found).minutes(NINE, at(60)) == 0


def test_an_orderly_end_is_told_once() -> None:
    assert words(told((0, "live"), (20, "not_served"), heard=21)) == [
        (0, 20, FeedState.LIVE),
        (20, 60, FeedState.NO_WORKER),
    ]


def test_of_what_is_not_known_no_outage_is_told() -> None:
    """Neither as none nor as one."""
    outages = Outages(told((30, "live"), (50, "stale")))
    assert outages.minutes(NINE, at(30)) is None
    assert outages.minutes(at(20), at(40)) == 0
    assert outages.minutes(at(49), at(50.5)) == 0.5
    assert Outages([]).minutes(NINE, at(60)) is None


def test_any_part_of_a_span_has_the_sum_of_what_lies_in_it() -> None:
    """Also where it cuts states, and where nothing is known in between."""
    known = told((5, "live"), (10, "stale"), (20, "live"), (31, "auth_required"), (40, "closed"))
    known.pop(2)  # a gap from 20 to 31
    outages = Outages(known)
    down = [(10.0, 20.0), (31.0, 40.0)]
    covered = [(5.0, 20.0), (31.0, 60.0)]

    def within(spans: list[tuple[float, float]], begin: float, end: float) -> float:
        return sum(max(0.0, min(stop, end) - max(start, begin)) for start, stop in spans)

    edges = [0, 4, 5, 7.5, 10, 15, 20, 25, 31, 33, 40, 50, 60]
    for begin in edges:
        for end in (each for each in edges if each > begin):
            found = outages.minutes(at(begin), at(end))
            is_known = within(covered, begin, end) > 0
            assert found == (within(down, begin, end) if is_known else None), (begin, end)
