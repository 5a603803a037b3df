"""Looks at connected clients that notices ask for, on a loop on which waiting takes no time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from pooling.testing import VirtualTimeLoop
from streaming.clients.client import Client
from streaming.clients.look_pacing import LookPacing
from streaming.edge_limits import EdgeLimits
from streaming.fanout.hub import GatewayHub
from streaming.ports.directory import Principal
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import CloseCode
from streaming.testing.edge import FakeDirectory, FakeFeedLink, make_principal

LEAST = 0.2  # seconds between two looks that notices asked for


class SlowDirectory(FakeDirectory):
    """One whose every look takes a while; knows when each began."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.began: list[float] = []

    async def refresh(self, principals: Sequence[Principal]) -> Sequence[Principal | None]:
        self.began.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self._seconds)
        return await super().refresh(principals)


class Ears:
    """A transport that remembers when it was closed."""

    def __init__(self) -> None:
        self.closed_at: float | None = None

    async def send(self, payloads: Sequence[str]) -> None:
        """Take everything."""

    async def close(self, code: int, reason: str) -> None:
        assert code == CloseCode.UNAUTHENTICATED
        self.closed_at = asyncio.get_running_loop().time()

    def abort(self, code: int, reason: str) -> None:
        raise AssertionError((code, reason))


@asynccontextmanager
async def hub_of(directory: FakeDirectory) -> AsyncIterator[GatewayHub]:
    loop = asyncio.get_running_loop()
    hub = GatewayHub(link=FakeFeedLink(), directory=directory, limits=EdgeLimits(), clock=loop.time)
    await hub.open()
    try:
        yield hub
    finally:
        await hub.close()


def enter(hub: GatewayHub, principal: Principal) -> Ears:
    ears = Ears()
    client = Client(client_id=hub.next_client_id(), address="a", socket=ears, limits=hub.limits)
    client.session.move(SessionState.AUTHENTICATING)
    client.session.admit(principal)
    hub.enter(client)
    return ears


async def flood(hub: GatewayHub, users: Sequence[int], seconds: float) -> None:
    """Let a notice come each millisecond."""
    for _ in range(round(seconds * 1000)):
        hub.principals_changed(users)
        await asyncio.sleep(0.001)


def in_no_time(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(run())


@pytest.mark.parametrize(("look_seconds", "most"), [(0.001, 50), (0.05, 41), (0.2, 11)])
def test_a_flood_of_notices_leaves_most_of_the_time_to_clients(
    look_seconds: float, most: int
) -> None:
    """At most a fifth of it goes to looks, and at most five of them begin in a second."""

    async def scenario() -> None:
        directory = SlowDirectory(look_seconds)
        async with hub_of(directory) as hub:
            enter(hub, directory.add_key("k", make_principal(1)))
            await flood(hub, [1], seconds=10.0)
        assert 5 <= len(directory.began) <= most

    in_no_time(scenario)


def test_one_notice_acts_at_once_and_those_of_a_pause_are_one_look() -> None:
    async def scenario() -> None:
        directory = SlowDirectory(0.01)
        async with hub_of(directory) as hub:
            enter(hub, directory.add_key("k", make_principal(1)))
            await asyncio.sleep(2.05)
            assert directory.began == [pytest.approx(2.0)], "the regular look"
            hub.principals_changed([1])
            await asyncio.sleep(0.02)
            assert directory.began[1:] == [pytest.approx(2.05)], "no pause after a regular one"
            await flood(hub, [1], seconds=0.1)
            assert len(directory.began) == 2
            await asyncio.sleep(1.0)
            assert directory.began[2:] == [pytest.approx(2.06 + LEAST)]

    in_no_time(scenario)


@pytest.mark.parametrize("look_seconds", [0.001, 0.05, 1.0])
def test_a_revoked_key_is_closed_in_time_within_a_flood(look_seconds: float) -> None:
    """However long a look takes: the regular one is never put off."""

    async def scenario() -> None:
        directory = SlowDirectory(look_seconds)
        async with hub_of(directory) as hub:
            revoked = enter(hub, directory.add_key("k", make_principal(1)))
            other = enter(hub, directory.add_key("l", make_principal(2)))
            await flood(hub, [1, 2], seconds=5.3)
            directory.revoke("k")
            await flood(hub, [1, 2], seconds=5.0)
            assert revoked.closed_at is not None
            assert other.closed_at is None

    in_no_time(scenario)


def test_notices_of_nobody_here_cost_no_look_and_hold_up_none() -> None:
    async def scenario() -> None:
        directory = SlowDirectory(0.01)
        async with hub_of(directory) as hub:
            enter(hub, directory.add_key("k", make_principal(1)))
            await flood(hub, [7, 8], seconds=1.9)
            assert directory.began == []
            hub.principals_changed([1])
            await asyncio.sleep(0.001)
            assert directory.began == [pytest.approx(1.9)]
            await flood(hub, [7, 8], seconds=6.0)
            assert len(directory.began) == 3, "those of every two seconds go on"

    in_no_time(scenario)


def test_what_a_pause_is() -> None:
    pacing = LookPacing()
    assert pacing.pause_seconds(10.0) == 0.0
    pacing.looked(began=10.0, ended=10.001)
    assert pacing.pause_seconds(10.001) == pytest.approx(LEAST)
    assert pacing.pause_seconds(10.2) == pytest.approx(0.001)
    assert pacing.pause_seconds(11.0) == 0.0
    pacing.looked(began=11.0, ended=11.3)
    assert pacing.pause_seconds(11.3) == pytest.approx(1.2)
    pacing.passed_over(began=13.0, ended=13.002)
    assert pacing.pause_seconds(13.002) == pytest.approx(0.008)


class Stalled(Ears):
    """A transport that takes nothing."""

    async def send(self, payloads: Sequence[str]) -> None:
        await asyncio.Event().wait()

    def abort(self, code: int, reason: str) -> None:
        self.closed_at = asyncio.get_running_loop().time()


def test_nothing_is_kept_of_the_last_client_that_was_too_slow() -> None:
    """A name of the loop that sweeps kept its unread answers, and all that it held."""

    async def scenario() -> None:
        directory = FakeDirectory()
        async with hub_of(directory) as hub:
            sender = Stalled()
            client = Client(client_id="1", address="a", socket=sender, limits=hub.limits)
            client.session.move(SessionState.AUTHENTICATING)
            client.session.admit(directory.add_key("k", make_principal(1)))
            hub.enter(client)
            client.send("an answer")
            await asyncio.sleep(0.1)
            client.send("another one, which waits behind it")
            await asyncio.sleep(hub.limits.stall_seconds + 2.0)
            assert sender.closed_at is not None
            hub.leave(client)
            session = weakref.ref(client.session)
            del client
            await asyncio.sleep(0.1)
            gc.collect()
            assert session() is None

    in_no_time(scenario)
