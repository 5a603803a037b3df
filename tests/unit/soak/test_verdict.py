"""Every kind of violation makes a run's verdict red, and what is explained does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.soak.logs import grave_lines
from tests.soak.plan import Happening
from tests.soak.verdict import (
    Event,
    ExpectedLine,
    Judge,
    LogLine,
    Lost,
    Names,
    Sample,
    Seen,
    bounds_of,
    unexpected_lines,
)

INFY, TCS = ("NSE", "INFY"), ("NSE", "TCS")
RESTART = Event(Happening.GATEWAY_KILLED, "gateway-1", 100.0, 104.0)
RIGHT = Seen("anna", *INFY, number=1, index=7, count=3, age=0.4, age_at=50.0, last_at=50.0)


@pytest.fixture
def judge() -> Judge:
    return Judge(
        numbers={"anna": frozenset({1})},
        names={1: Names({INFY: 7, TCS: 8}), 2: Names({INFY: 7})},
        gateways={"127.0.0.1:81": "gateway-1", "127.0.0.1:82": "gateway-2"},
    )


def sample(at: float, **values: int) -> Sample:
    usual = {"memory": 100 << 20, "descriptors": 80, "threads": 10, "tasks": 210, "clients": 50}
    return Sample("worker", values.pop("pid", 1), at, **(usual | values))


def lost(at: float, address: str = "127.0.0.1:81", *, is_refusal: bool = False) -> Lost:
    return Lost("anna", at, address, "1006", is_refusal)


def test_a_run_without_fault_is_green(judge: Judge) -> None:
    judge.seen(RIGHT)
    judge.lost(lost(101.0))
    judge.events([RESTART])
    judge.deaf({"anna": [INFY]}, {"anna": {INFY: 200.0}})
    judge.grown([sample(at) for at in range(20)], since=0)
    judge.lines([LogLine("worker", 1.0, "known")], [ExpectedLine("worker", "known")], [RESTART])
    assert judge.verdict.is_green
    assert judge.ticks == 3
    assert judge.explained == {"gateway killed gateway-1": 1}


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (replace(RIGHT, number=2), "foreign tick"),
        (replace(RIGHT, number=0), "foreign tick"),
        (replace(RIGHT, client="nobody that is known"), "foreign tick"),
        (replace(RIGHT, index=8), "wrong tick"),
        (replace(RIGHT, symbol="NEVER LISTED"), "wrong tick"),
        (replace(RIGHT, age=46.0), "old price"),
    ],
)
def test_a_tick_that_is_not_right_makes_it_red(judge: Judge, seen: Seen, kind: str) -> None:
    judge.seen(seen)
    assert set(judge.verdict.counts) == {kind}
    assert kind in judge.verdict.cases[0]


def test_a_price_of_before_an_interruption_is_old_however_short_it_was(judge: Judge) -> None:
    off = Event(Happening.ACCOUNT_OFF, "", 100.0, 125.0, number=1)
    after = replace(RIGHT, age=32.0, age_at=130.0, last_at=130.0)
    judge.seen(after)
    judge.seen(replace(after, age=20.0, age_at=118.0, last_at=118.0))  # while it was off
    judge.events([off])
    assert judge.verdict.counts == {"old price": 1}


def test_an_interruption_of_another_exchange_makes_nothing_old(judge: Judge) -> None:
    judge.seen(replace(RIGHT, age=32.0, age_at=130.0, last_at=130.0))
    judge.events([Event(Happening.LINK_DEAD, "", 100.0, 125.0, number=2)])
    assert judge.verdict.is_green


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lost(90.0), "unexplained disconnect"),
        (lost(120.0), "unexplained disconnect"),
        (lost(101.0, "127.0.0.1:82"), "unexplained disconnect"),
        (lost(90.0, "", is_refusal=True), "refused connection"),
    ],
)
def test_an_end_that_no_event_explains_makes_it_red(judge: Judge, end: Lost, kind: str) -> None:
    judge.lost(end)
    judge.events([RESTART])
    assert judge.verdict.counts == {kind: 1}


@pytest.mark.parametrize(
    "happening", sorted(set(Happening) - {Happening.GATEWAY_STOPPED, Happening.GATEWAY_KILLED})
)
def test_nothing_but_the_end_of_its_gateway_explains_an_end(
    judge: Judge, happening: Happening
) -> None:
    judge.lost(lost(101.0))
    judge.events([replace_happening(RESTART, happening)])
    assert judge.verdict.counts == {"unexplained disconnect": 1}


def replace_happening(event: Event, happening: Happening) -> Event:
    return event._replace(happening=happening)


def test_a_database_that_is_away_may_turn_somebody_away(judge: Judge) -> None:
    judge.lost(lost(101.0, "", is_refusal=True))
    judge.events([replace_happening(RESTART, Happening.POSTGRES_RESTARTED)])
    assert judge.verdict.is_green


def test_a_short_run_may_grow_by_what_is_done_for_the_first_time() -> None:
    assert bounds_of(180).memory_allowance > bounds_of(3600).memory_allowance


def test_an_event_that_failed_makes_it_red(judge: Judge) -> None:
    judge.events([RESTART._replace(error="it ended with 1")])
    assert judge.verdict.counts == {"event failed": 1}


def test_a_client_that_hears_nothing_of_what_it_holds_makes_it_red(judge: Judge) -> None:
    judge.deaf({"anna": [INFY, TCS]}, {"anna": {INFY: 200.0}})
    assert judge.verdict.cases == ["deaf client: anna hears nothing of NSE:TCS"]


def test_nobody_need_hear_what_is_no_longer_listed(judge: Judge) -> None:
    names = Names({INFY: 7})
    names.may_change(99.0, {INFY: None})
    names.have_changed(100.0, [INFY])
    judge = Judge(numbers={"anna": frozenset({1})}, names={1: names}, gateways={})
    judge.deaf({"anna": [INFY]}, {})
    assert judge.verdict.is_green


@pytest.mark.parametrize(
    ("what", "value"),
    [("memory", 103 << 20), ("descriptors", 90), ("threads", 17), ("tasks", 240)],
)
def test_growth_makes_it_red(judge: Judge, what: str, value: int) -> None:
    rows = [sample(at) for at in range(10)] + [sample(at, **{what: value}) for at in range(10, 20)]
    judge.grown(rows, since=0)
    assert judge.verdict.counts == {f"{what} grew": 1}


def test_what_more_clients_need_is_no_growth(judge: Judge) -> None:
    more = {"clients": 100, "descriptors": 130, "tasks": 310}
    rows = [sample(at) for at in range(10)] + [sample(at, **more) for at in range(10, 20)]
    judge.grown(rows, since=0)
    assert judge.verdict.is_green


def test_what_was_before_is_no_growth(judge: Judge) -> None:
    rows = [sample(at, memory=50 << 20) for at in range(10)] + [sample(at) for at in range(10, 20)]
    judge.grown(rows, since=10)
    assert judge.verdict.is_green


def test_a_process_that_nobody_replaced_makes_it_red(judge: Judge) -> None:
    judge.grown([sample(1), sample(2, pid=2)], since=0)
    assert judge.verdict.counts == {"process ended": 1}


def test_a_process_that_gave_no_samples_makes_it_red(judge: Judge) -> None:
    judge.grown([sample(1)], since=0, wanted=["worker", "gateway-1"])
    assert judge.verdict.counts == {"no samples": 2}


def test_a_log_line_that_nobody_expects_makes_it_red(judge: Judge) -> None:
    judge.lines([LogLine("worker", 1.0, "broken")], [], [])
    assert judge.verdict.cases == ["log line: worker: broken"]


@pytest.mark.parametrize(
    ("line", "is_expected"),
    [
        (LogLine("gateway-1", 102.0, "redis is away"), True),
        (LogLine("gateway-1", 90.0, "redis is away"), False),
        (LogLine("gateway-1", 140.0, "redis is away"), False),
        (LogLine("worker", 102.0, "redis is away"), False),
        (LogLine("gateway-1", 102.0, "something else"), False),
    ],
)
def test_an_expected_line_is_that_of_its_process_and_its_event(
    line: LogLine, is_expected: bool
) -> None:
    expected = [ExpectedLine(r"gateway-\d", "redis is", (Happening.REDIS_RESTARTED,))]
    events = [replace_happening(RESTART, Happening.REDIS_RESTARTED)]
    assert (not unexpected_lines([line], expected, events)) is is_expected


def test_names_mean_what_the_last_load_said_and_for_a_while_what_the_one_before_did() -> None:
    names = Names({INFY: 7, TCS: 8})
    change = {INFY: None, TCS: 7, ("NSE", "NEW"): 9}
    names.may_change(98.0, change)
    names.have_changed(100.0, change)
    assert names.is_right(INFY, 7, 99.0, grace=20)
    assert names.is_right(INFY, 7, 119.0, grace=20)
    assert not names.is_right(INFY, 7, 121.0, grace=20)
    assert names.is_right(TCS, 8, 110.0, grace=20)
    assert not names.is_right(TCS, 8, 121.0, grace=20)
    assert names.is_right(TCS, 7, 98.0, grace=20)
    assert not names.is_right(TCS, 7, 97.0, grace=20)
    assert names.is_right(("NSE", "NEW"), 9, 98.0, grace=20)
    assert not names.is_right(("NSE", "NEW"), 9, 97.0, grace=20)
    assert names.there(TCS)
    assert not names.there(INFY)


def test_lines_above_warning_and_bare_tracebacks_are_found() -> None:
    lines = [
        '{"time":"2026-11-30T08:00:00+00:00","level":"info","logger":"pooling","message":"fine"}',
        '{"time":"2026-11-30T08:00:01+00:00","level":"warning","logger":"a","message":"so so"}',
        '{"time":"2026-11-30T08:00:02+00:00","level":"error","logger":"a","message":"bad",'
        '"exception":"Traceback\\n  File\\nValueError: x"}',
        "Traceback (most recent call last):",
        "  File somewhere",
        "KeyError: 1",
        "a print",
    ]
    found = grave_lines("worker", lines)
    assert [line.text for line in found] == [
        "a: bad | ValueError: x",
        "Traceback (most recent call last): |   File somewhere | KeyError: 1",
        "a print",
    ]
    assert found[0].at == 1796025602.0


def test_the_first_cases_of_each_kind_are_told(judge: Judge) -> None:
    for _ in range(100):
        judge.seen(replace(RIGHT, number=2))
    judge.seen(replace(RIGHT, index=8))
    assert judge.verdict.counts == {"foreign tick": 300, "wrong tick": 3}
    assert len(judge.verdict.cases) == 21
