"""What restarts may cost, and what makes their verdict red."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.soak.restart_verdict import Kind, Refused, Restart, RestartResult, as_text, faults


def restart(**values: Any) -> Restart:
    usual = {"begin": 100.0, "back": 112.0, "named": 103.0, "ready": 113.0, "admitted": 112.5}
    return Restart(way="SIGKILL", **(usual | values))


def result(kind: Kind = Kind.POSTGRES, **values: Any) -> RestartResult:
    usual: dict[str, Any] = {"clients": 2, "restarts": [restart()], "ticks": 1000}
    return RestartResult(kind=kind, **(usual | values))


@pytest.mark.parametrize("kind", Kind)
def test_what_cost_nothing_is_green(kind: Kind) -> None:
    assert faults(result(kind)) == []
    assert as_text(result(kind)).startswith(f"GREEN: {kind} 1 times under 2 clients: 1 by SIGKILL")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Kind.WORKER, {"lost": ["holder-1 at 101.0: 1006"]}),
        (Kind.REDIS, {"missed": 1}),
        (Kind.POSTGRES, {"backwards": 1}),
        (Kind.WORKER, {"unfinished": 1}),
        (Kind.WORKER, {"ticks": 0}),
        (Kind.REDIS, {"log_lines": ["worker: pooling: failed"]}),
        (Kind.REDIS, {"said": ["holder-1: nothing"]}),
        (Kind.REDIS, {"restarts": [restart(named=None)]}),
        (Kind.WORKER, {"restarts": [restart(ready=None)]}),
        (Kind.WORKER, {"restarts": [restart(admitted=None)]}),
    ],
)
def test_each_of_these_is_red(kind: Kind, values: dict[str, Any]) -> None:
    found = result(kind, **values)
    assert len(faults(found)) == 1
    assert as_text(found).startswith("RED")


def test_a_worker_begins_anew_so_its_numbers_may() -> None:
    assert faults(result(Kind.WORKER, missed=5, backwards=5)) == []


def test_a_short_absence_need_not_be_named() -> None:
    assert faults(result(restarts=[restart(back=102.0, named=None)])) == []


TOLD = Refused("a new key", 104.0, 109.0, "SERVER_ERROR, then 4503")


@pytest.mark.parametrize(
    ("refused", "is_right"),
    [
        (TOLD, True),
        (TOLD._replace(why="AUTHENTICATION_ERROR, then 4401"), False),
        (TOLD._replace(since=90.0, at=95.0), False),
        (TOLD._replace(since=130.0, at=131.0), False),
        (Refused("the API page", 105.0, 106.0, "HTTP 503"), True),
        (Refused("the API page", 105.0, 106.0, "HTTP 500"), False),
        (Refused("the API page", 99.5, 101.0, "HTTP 500"), True),
    ],
)
def test_who_is_told_to_come_again_while_the_database_is_away_is_told_right(
    refused: Refused, is_right: bool
) -> None:
    assert (faults(result(refused=[refused])) == []) is is_right
    for kind in (Kind.REDIS, Kind.WORKER):
        assert faults(replace(result(kind), refused=[refused])) != []
