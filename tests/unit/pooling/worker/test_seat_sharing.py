"""Connections that several accounts have together: who gets how many, and when."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.registry import BrokerRegistry
from pooling.testing import make_adapter_class
from pooling.worker.seat_sharing import SeatNeed, SeatSharing, grant, needed_connections
from tests.unit.pooling.kit import ACTIVE, TOKEN_FIELD, spec, virtual
from tests.unit.pooling.worker.test_worker import open_worker


def need(pool_id: str, most: int = 3, needs: int = 0, has: int = 0) -> SeatNeed:
    return SeatNeed(pool_id=pool_id, most=most, needs=needs, has=has)


def test_two_accounts_of_one_credential_have_its_connections_together():
    assert grant(3, [need("a"), need("b")], {}) == {"a": 2, "b": 1}
    assert grant(3, [need("a", most=1), need("b")], {}) == {"a": 1, "b": 2}


def test_whoever_needs_more_gets_what_the_others_do_not_need():
    had = {"a": 2, "b": 1}
    idle = [need("a", needs=1, has=1), need("b", needs=2, has=1)]
    assert grant(3, idle, had) == {"a": 1, "b": 2}
    assert grant(3, [need("a", needs=2, has=2), need("b", needs=2, has=1)], had) == had


def test_a_pool_grows_once_the_other_has_closed_its_socket():
    had = {"a": 2, "b": 1}
    still_open = [need("a", needs=1, has=2), need("b", needs=2, has=1)]
    granted = grant(3, still_open, had)
    assert granted == {"a": 1, "b": 1}
    closed = [need("a", needs=1, has=1), need("b", needs=2, has=1)]
    assert grant(3, closed, granted) == {"a": 1, "b": 2}


def test_while_nobody_lacks_one_everybody_keeps_what_it_has():
    had = {"a": 1, "b": 2}
    assert grant(3, [need("a", needs=1, has=1), need("b", needs=1, has=1)], had) == had


def test_more_pools_than_connections_have_one_each_and_say_so_themselves():
    pools = [need(name) for name in "abcd"]
    assert grant(3, pools, {}) == dict.fromkeys("abcd", 1)


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6)), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 6), min_size=4, max_size=4), max_size=8),
)
def test_together_they_never_have_more_than_the_broker_gives(limit, pools, edits):
    """Whatever they need from look to look, as each opens what it may at once."""
    names = [str(number) for number in range(len(pools))]
    granted: dict[str, int] = {}
    has = dict.fromkeys(names, 0)
    for edit in [[needs for _, needs in pools], *edits]:
        asked = [
            need(name, most=most, needs=needs, has=has[name])
            for name, (most, _), needs in zip(names, pools, edit, strict=False)
        ]
        granted = grant(limit, asked, granted)
        has = {each.pool_id: granted[each.pool_id] for each in asked}
        assert all(1 <= granted[each.pool_id] <= each.most for each in asked)
        assert sum(granted.values()) <= max(limit, len(names))


@pytest.mark.parametrize(
    ("used", "waiting", "needed"), [(0, 0, 0), (1, 0, 1), (2, 0, 1), (3, 0, 2), (3, 3, 3)]
)
def test_a_full_connection_needs_another(used, waiting, needed):
    assert needed_connections(used, waiting, 3) == needed


def test_accounts_apart_and_paused_ones_are_left_alone():
    accounts = [
        replace(spec(), pool_id="1", seat_group="g"),
        replace(spec(), pool_id="2", seat_group="g", is_paused=True),
        replace(spec(), pool_id="3", seat_group="other"),
        replace(spec(), pool_id="4"),
        replace(spec(), pool_id="5", seat_group="g", problem="broken"),
    ]
    sharing = SeatSharing()
    same = sharing.apply(accounts, limit_of=lambda _: 3, need_of=lambda each: need(each.pool_id))
    assert same == accounts


def registry(**capabilities):
    made = BrokerRegistry()
    made.register(make_adapter_class(credential_fields=TOKEN_FIELD, **capabilities))
    return made


@virtual
async def test_the_worker_moves_a_connection_to_the_account_that_needs_it():
    """Two accounts with three sockets each at a broker that gives three to their credential."""
    accounts = [replace(spec(), pool_id=one, seat_group="g") for one in ("7", "8")]
    async with open_worker(*accounts, registry=registry(max_connections=3)) as kit:
        await kit.want(*range(3), pool_id="8")
        await asyncio.sleep(5)
        limits = {one: kit.worker.stats(one).max_connections for one in ("7", "8")}
        assert sum(limits.values()) == 3
        outcomes = await kit.want(*range(10, 13), pool_id="8")
        await asyncio.sleep(5)
        outcomes = await kit.want(*range(10, 13), pool_id="8")
        await asyncio.sleep(5)
        outcomes = await kit.want(*range(3), *range(10, 13), pool_id="8")
        assert [outcome.state for outcome in outcomes] == [ACTIVE] * 6
        assert len(kit.broker.open) <= 3
        await kit.want(*range(3), pool_id="7")
        await asyncio.sleep(2)
        assert (await kit.want(1, pool_id="7"))[0].state is ACTIVE
        assert len(kit.broker.open) <= 3
