"""What each user may have the JSON API do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from openalgo_site.web.api_shares import ApiShares, OverShareError
from streaming.edge_limits import EdgeLimits
from tests.support import eventually_sync


def make_shares(now: list[float] | None = None, **limits: Any) -> ApiShares:
    times = now or [0.0]
    return ApiShares(limits=EdgeLimits(**limits), clock=lambda: times[-1], patience_seconds=30)


def test_look_ups_of_a_user_have_a_budget() -> None:
    now = [0.0]
    shares = make_shares(now, user_queries_per_second=10, user_query_burst=20)
    with shares.taken(1, 4):
        shares.charge(1, 26)
    with pytest.raises(OverShareError, match="10 look-ups a second") as caught, shares.taken(1, 1):
        pytest.fail("it was let in")
    assert caught.value.retry_after == 2
    with shares.taken(2, 1):
        pass
    now.append(1.2)
    with shares.taken(1, 1):
        pass
    assert shares.refused == {"api_queries": 1, "api_at_once": 0}


@contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool


class Requests:
    """Requests under way, each in a thread, until they are let go."""

    def __init__(self, shares: ApiShares, pool: ThreadPoolExecutor) -> None:
        self.shares = shares
        self.pool = pool
        self.running: list[int] = []
        self.go = threading.Event()

    def begin(self, user_id: int) -> Future[None]:
        def run() -> None:
            with self.shares.taken(user_id, 1):
                self.running.append(user_id)
                self.go.wait(30)

        return self.pool.submit(run)


def test_a_user_s_requests_wait_for_each_other_and_no_other_s() -> None:
    shares = make_shares(user_api_requests_at_once=2, user_api_requests_waiting=2)
    with threads() as pool:
        requests = Requests(shares, pool)
        try:
            mine = [requests.begin(1) for _ in range(4)]
            eventually_sync(lambda: shares._waiting[1] == 2)
            other = requests.begin(2)
            eventually_sync(lambda: sorted(requests.running) == [1, 1, 2])
            beyond = requests.begin(1)
            with pytest.raises(OverShareError, match="2 requests of this user"):
                beyond.result(10)  # at once: whoever waits is refused later, by patience
            assert shares.refused == {"api_queries": 0, "api_at_once": 1}
        finally:
            requests.go.set()
        for future in (*mine, other):
            future.result(30)
    assert sorted(requests.running) == [1, 1, 1, 1, 2]
    assert not shares._running
    assert not shares._waiting


def test_who_waited_too_long_is_refused_and_leaves_nothing() -> None:
    shares = ApiShares(
        limits=EdgeLimits(user_api_requests_at_once=1), clock=lambda: 0.0, patience_seconds=0.001
    )
    with shares.taken(1, 1), pytest.raises(OverShareError), shares.taken(1, 1):
        pytest.fail("it was let in")
    with shares.taken(1, 1):
        pass
    assert not shares._waiting


def test_who_has_to_wait_gives_back_what_others_need() -> None:
    """A connection of the database, above all; who is let in at once keeps it."""
    given_back: list[bool] = []
    shares = ApiShares(
        limits=EdgeLimits(user_api_requests_at_once=1),
        clock=lambda: 0.0,
        patience_seconds=0.001,
        on_wait=lambda: given_back.append(True),
    )
    with shares.taken(1, 1):
        assert not given_back
        with pytest.raises(OverShareError), shares.taken(1, 1):
            pytest.fail("it was let in")
    assert given_back == [True]
