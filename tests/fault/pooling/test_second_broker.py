"""A second broker in every kind of trouble: it costs the clients of the first nobody a tick."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from brokers.pool_service import FeedStatus, Holder, OutcomeState, Want
from brokers.registry import BrokerRegistry
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.clock import SystemClock
from pooling.contracts import AccountSpec, PoolOptions
from pooling.exceptions import ConnectionLostError
from pooling.testing import (
    FakeBroker,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
    make_adapter_class,
)
from pooling.worker.worker import PoolWorker
from tests.fix_running_time import RunningTime
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, MakeKiteServer
from tests.support import eventually
from tests.unit.pooling.kit import ANN, TOKEN_FIELD, key, virtual

FIRST, SECOND = "1", "2"
SYMBOLS = range(5)


class TwoBrokers:
    """A connector that leads each account to its own broker, by the URL's host."""

    def __init__(self) -> None:
        self.brokers = {"first": FakeBroker(), "second": FakeBroker()}
        self.is_gone = False
        self.slow_seconds = 0.0

    async def __call__(self, handshake: Any, **options: Any) -> Any:
        name = handshake.url.partition("://")[2].partition(".")[0]
        if name == "second":
            await asyncio.sleep(self.slow_seconds)
            if self.is_gone:
                raise ConnectionLostError("nobody is there")
        return await self.brokers[name](handshake, **options)


class TwoKit:
    def __init__(self) -> None:
        self.connector = TwoBrokers()
        self.first, self.second = self.connector.brokers.values()
        registry = BrokerRegistry()
        for name in ("first", "second"):
            made = make_adapter_class(
                name=name, default_endpoint=f"ws://{name}.invalid", credential_fields=TOKEN_FIELD
            )
            registry.register(made)
        accounts = [account(FIRST, "first"), account(SECOND, "second")]
        self.sinks = {FIRST: RecordingSink(), SECOND: RecordingSink()}
        self.worker = PoolWorker(
            store=InMemoryAccountStore(*reversed(accounts)),  # the troubled one comes first
            registry=registry,
            sink_for=lambda pool_id, broker: self.sinks[pool_id],
            clock=VirtualClock(),
            rng=MiddleOfRange(),
            worker_id="w",
            epoch=1,
            connector=self.connector,
        )
        self.ticked = 0

    async def want(self, pool_id: str) -> None:
        await self.worker.want(pool_id, ANN, [Want(key(n), FeedMode.QUOTE) for n in SYMBOLS])

    async def tick(self, seconds: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Let the first broker tick ten times a second; each tick is there a moment later."""
        for _ in range(seconds * 10):
            meanwhile()
            before = len(self.sinks[FIRST].published)
            self.first.tick()
            await asyncio.sleep(0.001)
            assert len(self.sinks[FIRST].published) - before == len(SYMBOLS)
            await asyncio.sleep(0.099)

    def status(self, pool_id: str) -> FeedStatus:
        return self.worker.stats(pool_id).status


def account(pool_id: str, broker: str, endpoint: str | None = None) -> AccountSpec:
    return AccountSpec(
        pool_id=pool_id,
        broker=broker,
        user_id=1,
        label="main",
        options=PoolOptions(symbols_per_connection=100, max_connections=3),
        endpoint=endpoint,
        credentials_version=1,
    )


@asynccontextmanager
async def two_brokers(
    prepare: Callable[[TwoKit], None] = lambda kit: None,
) -> AsyncIterator[TwoKit]:
    kit = TwoKit()
    prepare(kit)
    await kit.worker.open()
    try:
        await kit.want(FIRST)
        await kit.want(SECOND)
        await asyncio.sleep(1)
        yield kit
    finally:
        await kit.worker.close()


def vanish(kit: TwoKit) -> None:
    kit.connector.is_gone = True
    kit.second.drop()


@virtual
async def test_gone_before_the_start() -> None:
    async with two_brokers(vanish) as kit:
        await kit.tick(60)
        assert kit.status(FIRST) is FeedStatus.LIVE
        assert kit.status(SECOND) is FeedStatus.STALE
        kit.connector.is_gone = False
        await kit.tick(60)
        assert kit.status(SECOND) is FeedStatus.LIVE


@virtual
async def test_gone_for_a_minute_and_back() -> None:
    async with two_brokers() as kit:
        assert kit.status(SECOND) is FeedStatus.LIVE
        vanish(kit)
        await kit.tick(60)
        assert (kit.status(FIRST), kit.status(SECOND)) == (FeedStatus.LIVE, FeedStatus.STALE)
        kit.connector.is_gone = False
        await kit.tick(60)
        assert kit.status(SECOND) is FeedStatus.LIVE
        assert kit.second.subscribed.keys() == {str(n) for n in SYMBOLS}


@virtual
async def test_slow_to_connect_and_then_silent() -> None:
    def slow(kit: TwoKit) -> None:
        kit.connector.slow_seconds = 9.0

    async with two_brokers(slow) as kit:
        await kit.tick(30)
        assert kit.status(SECOND) is FeedStatus.LIVE
        kit.second.go_silent()
        await kit.tick(28)
        assert (kit.status(FIRST), kit.status(SECOND)) == (FeedStatus.LIVE, FeedStatus.STALE)


@virtual
async def test_answering_garbage_and_refusing() -> None:
    chance = random.Random(4)

    async with two_brokers() as kit:

        def garble() -> None:
            kit.second.say(chance.randbytes(chance.randrange(1, 400)))
            kit.second.say('{"no": [], "says": "\\u0000", "bye": "x"}')

        await kit.tick(30, garble)
        kit.second.refuse(500)
        kit.second.drop()
        await kit.tick(10)
        kit.second.refuse(429, Retry_After="1")
        await kit.tick(30)
        assert kit.status(FIRST) is FeedStatus.LIVE
        kit.second.accept()
        await kit.tick(120)
        await kit.want(SECOND)
        await kit.tick(10)
        assert kit.status(SECOND) is FeedStatus.LIVE


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer an upgrade with whatever is no answer, in pieces, for as long as it is read."""
    with suppress(OSError):
        for _ in range(200):
            writer.write(b"HTTP/1.1 999 ??\r\n" + random.Random(1).randbytes(60_000))
            await writer.drain()
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("manner", ["garbage", "mute", "nobody"])
async def test_real_sockets_of_the_first_go_on(
    make_kite_server: MakeKiteServer, manner: str, running_time: RunningTime
) -> None:
    """Ticks of a real exchange keep coming while another endpoint answers rubbish or nothing."""
    exchange = await make_kite_server(size=400, rate=500)
    mute = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await mute.wait()

    answer = garbage if manner == "garbage" else say_nothing
    served: set[asyncio.Task[Any]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            served.add(task)
        await answer(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if manner == "nobody":
        server.close()
    registry = BrokerRegistry()
    registry.register(ZerodhaAdapter)
    named = [Instrument(InstrumentKey("NSE", str(n)), str(n)) for n in exchange.market.quotes]
    store = InMemoryAccountStore(
        account(SECOND, "zerodha", f"ws://127.0.0.1:{port}"),
        account(FIRST, "zerodha", exchange.url),
        values={"api_key": API_KEY, "access_token": ACCESS_TOKEN},
        instruments={each.key: each for each in named},
    )
    sinks = {FIRST: RecordingSink(), SECOND: RecordingSink()}
    worker = PoolWorker(
        store=store,
        registry=registry,
        sink_for=lambda pool_id, broker: sinks[pool_id],
        clock=SystemClock(),
        rng=random.Random(1),
        worker_id="w",
        epoch=1,
    )
    await worker.open()
    try:
        wants = [Want(each.key, FeedMode.QUOTE) for each in named[:60]]
        holder = Holder("g", "c")
        await worker.want(SECOND, holder, wants)
        await worker.want(FIRST, holder, wants)
        await eventually(lambda: worker.stats(FIRST).confirmed == len(wants))
        published = sinks[FIRST].published
        before = running_time.seconds
        until, gap = before + 2.0, 0.0
        seen = len(published)
        while (now := running_time.seconds) < until:
            await asyncio.sleep(0.01)
            if len(published) > seen:
                seen, gap, before = len(published), max(gap, now - before), now
        assert gap < 1.0, "each is heard of every few milliseconds"
        assert worker.stats(FIRST).reconnects == 0
        assert not sinks[SECOND].published
        outcomes = await worker.want(SECOND, holder, wants[:1])
        assert outcomes[0].state is OutcomeState.PENDING
    finally:
        mute.set()
        await worker.close()
        server.close()
        if served:
            await asyncio.wait(served)
