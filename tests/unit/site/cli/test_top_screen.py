"""What the live view shows at a given size."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from openalgo_site.cli.top_screen import Emphasis, Snapshot, clamp_scroll, frame
from pooling.operations.describe import PoolView
from pooling.operations.pool_state import PoolState

AT = datetime(2026, 1, 5, 9, 15, tzinfo=UTC)


def view(number: int, **values: Any) -> PoolView:
    defaults: dict[str, Any] = {
        "id": number, "name": f"asha/zerodha/label-{number}", "user": "asha", "broker": "zerodha",
        "label": f"label-{number}", "enabled": True, "paused": False, "state": PoolState.LIVE,
        "reason": "", "is_served": True, "owner": "host:1", "since": AT, "connections": 3,
        "max_connections": 3, "symbols": 9000, "used": 9000, "capacity": 9000, "waiting": 120,
        "clients": 44, "ticks_per_second": 12_345.0, "last_frame_age": 0.1, "last_tick_age": 0.1,
        "heartbeat_age": 0.5, "credential_expiry": None, "revision": 1, "applied_revision": 1,
    }  # fmt: skip
    return PoolView(**(defaults | values))


def texts(count: int, **size: int) -> list[str]:
    snapshot = Snapshot(at=AT, pools=[view(number) for number in range(count)])
    return [line.text for line in frame(snapshot, **size)]


@pytest.mark.parametrize(("width", "height"), [(80, 24), (79, 24), (120, 40), (20, 3), (1, 1)])
def test_it_keeps_to_its_size(width: int, height: int) -> None:
    lines = texts(100, width=width, height=height)
    assert len(lines) <= height
    assert all(len(line) <= width for line in lines)


def test_80_by_24_shows_every_figure_whole() -> None:
    lines = texts(1, width=79, height=24)
    assert lines[3].split() == ["POOL", "STATE", "CONNS", "USED", "WAIT", "CLI", "TICKS/S", "TICK"]
    for figure in ("live", "3/3", "9000/9000", "120", "44", "12,345", "0.1 s"):
        assert figure in lines[4], figure
    assert "asha/zerodha" in lines[4]


def test_problems_come_first_and_disabled_ones_last() -> None:
    pools = [view(1), view(2, state=PoolState.DISABLED), view(3, state=PoolState.NO_WORKER)]
    lines = frame(Snapshot(at=AT, pools=pools), width=100, height=24)
    shown = [(line.text.split("label-")[1][0], line.emphasis) for line in lines[4:7]]
    assert shown == [("3", Emphasis.PROBLEM), ("1", Emphasis.PLAIN), ("2", Emphasis.QUIET)]
    assert "no worker" in lines[4].text


def test_what_does_not_fit_is_counted_and_reached_by_scrolling() -> None:
    lines = texts(100, width=100, height=24)
    assert "81 more" in lines[-1]
    assert "label-0 " in lines[4]
    assert "label-99" in texts(100, width=100, height=24, scroll=1000)[-2]


def test_scrolling_stays_within_the_list() -> None:
    assert clamp_scroll(5, 3, 10) == 0
    assert clamp_scroll(50, 30, 10) == 20
    assert clamp_scroll(-3, 30, 10) == 0


def test_a_database_that_is_down_is_said() -> None:
    lines = frame(Snapshot(at=AT, pools=(), problem="The database is gone"), width=80, height=24)
    assert lines[1].text == "The database is gone"
    assert lines[1].emphasis is Emphasis.PROBLEM


def test_a_hostile_name_cannot_command_the_terminal() -> None:
    pools = [view(1, name="\x1b[2J\x1b]0;owned\x07")]
    lines = frame(Snapshot(at=AT, pools=pools), width=80, height=24)
    assert all(line.text.isprintable() for line in lines)
