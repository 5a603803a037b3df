"""Pools as the status page reads them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openalgo_site.web.status.shape import (
    CONNECTIONS_SHOWN,
    POOLS_PER_PAGE,
    matches,
    page_of,
    pool_entry,
)
from pooling.operations.describe import PoolView
from pooling.operations.pool_state import PoolState

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
NOW_MS = round(NOW.timestamp() * 1000)


def view(number: int = 1, **changes: Any) -> PoolView:
    made = PoolView(
        id=number,
        name=f"asha/zerodha/main{number}",
        user="asha",
        broker="zerodha",
        label=f"main{number}",
        enabled=True,
        paused=False,
        state=PoolState.LIVE,
        reason="",
        is_served=True,
        owner="box:7",
        since=NOW - timedelta(seconds=90),
        connections=1,
        max_connections=3,
        symbols=9,
        used=9,
        capacity=9000,
        waiting=0,
        clients=2,
        ticks_per_second=12.5,
        last_frame_age=0.25,
        last_tick_age=1.5,
        heartbeat_age=0.5,
        credential_expiry=NOW + timedelta(hours=2),
        revision=4,
        applied_revision=3,
    )
    return replace(made, **changes)


def entry(shown: PoolView, stats: dict[str, Any], *, has_credential: bool = True) -> dict[str, Any]:
    return pool_entry(shown, stats, has_credential=has_credential, now_ms=NOW_MS)


CONNECTION = {
    "slot": 1,
    "state": "backoff",
    "since_ms": NOW_MS - 4000,
    "used": 9,
    "capacity": 3000,
    "symbols": 9,
    "frames_received": 70,
    "messages_sent": 2,
    "reconnects_today": 3,
    "last_close": "the broker closed it",
    "last_close_code": 1006,
    "last_close_ms": NOW_MS - 4000,
    "next_retry_ms": NOW_MS + 2500,
    "last_frame_age_ms": 4100,
    "last_tick_age_ms": None,
}


def test_every_figure_of_a_pool_is_there() -> None:
    peaks = {"symbols": {"value": 9, "at_ms": NOW_MS}}
    stats = {"today": peaks, "all_time": peaks, "reconnects_today": 3, "connections": [CONNECTION]}
    shown = entry(view(), stats)
    assert (shown["state"], shown["tone"], shown["since_age_ms"]) == ("live", "good", 90_000)
    assert (shown["owner"], shown["heartbeat_age_ms"]) == ("box:7", 500)
    assert (shown["used"], shown["capacity"], shown["waiting"]) == (9, 9000, 0)
    assert (shown["connections_used"], shown["max_connections"]) == (1, 3)
    assert (shown["ticks_per_second"], shown["clients"]) == (12.5, 2)
    assert (shown["last_frame_age_ms"], shown["last_tick_age_ms"]) == (250, 1500)
    assert (shown["today"], shown["all_time"], shown["reconnects_today"]) == (peaks, peaks, 3)
    assert shown["credential_expiry_ms"] == NOW_MS + 7_200_000
    assert (shown["revision"], shown["applied_revision"]) == (4, 3)


def test_every_figure_of_a_connection_is_there() -> None:
    """Ages that the worker measured are older by the time since it wrote."""
    (shown,) = entry(view(), {"connections": [CONNECTION]})["connections"]
    assert shown == {
        "slot": 1,
        "state": "backoff",
        "tone": "warn",
        "since_age_ms": 4000,
        "symbols": 9,
        "used": 9,
        "capacity": 3000,
        "messages_received": 70,
        "messages_sent": 2,
        "ticks": None,
        "reconnects_today": 3,
        "last_close": "the broker closed it",
        "last_close_code": 1006,
        "last_close_age_ms": 4000,
        "next_retry_in_ms": 2500,
        "last_frame_age_ms": 4600,
        "last_tick_age_ms": None,
    }


def test_connections_of_a_worker_that_is_gone_went_with_it() -> None:
    dead = view(state=PoolState.NO_WORKER, is_served=False, owner=None, heartbeat_age=60.0)
    shown = entry(dead, {"connections": [CONNECTION]})
    assert (shown["tone"], shown["connections"], shown["owner"]) == ("bad", [], None)
    assert (shown["ticks_per_second"], shown["since_age_ms"]) == (None, None)
    assert shown["last_tick_age_ms"] == 1500


def test_many_connections_are_bounded_and_counted() -> None:
    shown = entry(view(), {"connections": [CONNECTION] * (CONNECTIONS_SHOWN + 7)})
    assert len(shown["connections"]) == CONNECTIONS_SHOWN
    assert shown["connections_left_out"] == 7


def test_a_pool_that_nobody_served_yet_reads_so() -> None:
    fresh = view(
        state=PoolState.NEVER_SERVED,
        is_served=False,
        owner=None,
        since=None,
        last_frame_age=None,
        last_tick_age=None,
        heartbeat_age=None,
        credential_expiry=None,
        applied_revision=None,
    )
    shown = entry(fresh, {}, has_credential=False)
    assert (shown["state"], shown["tone"], shown["has_credential"]) == (
        "never served",
        "bad",
        False,
    )
    assert shown["today"] is shown["credential_expiry_ms"] is shown["applied_revision"] is None


@pytest.mark.parametrize(
    ("search", "is_found"),
    [("", True), ("zerodha", True), ("asha main1", True), ("login", True), ("box:7", True),
     ("binance", False), ("asha binance", False)],
)  # fmt: skip
def test_every_word_of_a_search_must_fit(search: str, is_found: bool) -> None:
    assert matches(view(state=PoolState.LOGIN_NEEDED), search) is is_found


def test_who_needs_somebody_comes_first() -> None:
    states = ["disabled", "live", "stale", "no worker", "paused"]
    views = [view(number, state=PoolState(state)) for number, state in enumerate(states)]
    views.append(view(9, waiting=5))
    page = page_of(views, "", 1)
    assert [each.state for each in page.pools] == [
        "no worker", "stale", "paused", "live", "live", "disabled",
    ]  # fmt: skip
    assert page.pools[3].id == 9
    assert page.states == {"disabled": 1, "live": 2, "stale": 1, "no worker": 1, "paused": 1}


def test_a_page_is_bounded_and_one_beyond_the_last_is_the_last() -> None:
    views = [view(number) for number in range(POOLS_PER_PAGE + 3)]
    first, beyond = page_of(views, "", 1), page_of(views, "", 99)
    assert (len(first.pools), first.page, first.pages) == (POOLS_PER_PAGE, 1, 2)
    assert (len(beyond.pools), beyond.page, beyond.total) == (3, 2, POOLS_PER_PAGE + 3)
    assert page_of([], "", 5).pages == 1


def test_a_pool_whose_symbols_wait_for_room_needs_somebody() -> None:
    """One word for it, before the pools that are well."""
    short = view(
        2, state=PoolState.WAITING_FOR_ROOM, waiting=6, reason="6 symbols are waiting for room"
    )
    page = page_of([view(1), short], "", 1)
    assert [pool.id for pool in page.pools] == [2, 1]
    assert page.states == {"live": 1, "waiting for room": 1}
    shown = entry(short, {})
    assert (shown["state"], shown["tone"], shown["waiting"]) == ("waiting for room", "warn", 6)


def test_connections_that_have_no_socket_are_counted_apart() -> None:
    stats = {"connections": [{"slot": 1, "state": "backoff"}, {"slot": 2, "state": "live"}]}
    shown = entry(view(connections=1), stats)
    assert (shown["connections_used"], shown["connections_trying"]) == (1, 1)
    assert entry(view(connections=1), {})["connections_trying"] == 0
