"""Bus and control link under broken messages: both ends refuse or read each, and nothing else.

What is said comes to the product's own ends, as their sockets hand it over; the worker's pools are
in memory.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

from brokers.pool_service import (
    FeedChange,
    FeedStatus,
    Outcome,
    OutcomeState,
    SubscriptionChange,
    Want,
)
from brokers.types import FeedMode, InstrumentKey
from streaming.exceptions import MalformedMessageError
from streaming.ports.link import TickMessage
from streaming.wire import control as cm
from streaming.wire.topics import BEAT_TOPIC, tick_topic
from streaming.wire.zmtp import GREETING, ZmtpSubscriber
from tests.fuzz.mutations import mutants
from tests.integration.streaming.bus_kit.ends import Gateway, Worker
from tests.integration.streaming.bus_kit.fakes import FakeFeedService
from tests.support import free_port, pack_message

__all__ = ["BUS_TARGETS"]

_KEY = InstrumentKey("NSE", "INFY")
_WANT = Want(_KEY, FeedMode.QUOTE)
_TICK = pack_message(TickMessage(tick_topic("1", _KEY), 2, 7, 1, 1, b'{"ltp":1}', 0))
_BEAT = cm.Beat(
    worker_id="w",
    epoch=7,
    number=1,
    control_port=9,
    pools=[cm.PoolBeat("1", FeedStatus.LIVE, 1, "", 1, 0)],
    sent_ms=1,
    tails=[(tick_topic("1", _KEY), 1)],
)
_REQUESTS = (
    cm.Hello(),
    cm.Heartbeat(3),
    cm.Bye(),
    cm.WantRequest(1, "1", "c", [_WANT], "b"),
    cm.ReleaseRequest(2, "1", "c", [_KEY]),
    cm.ReleaseRequest(3, "1", "c", None),
    cm.StatsRequest(4, "1"),
    cm.SnapshotRequest(5, "1", [_KEY]),
)
_OUTCOME = Outcome(_KEY, OutcomeState.ACTIVE, FeedMode.QUOTE)
_REPLIES = (
    cm.Done(1),
    cm.WantReplyMessage(2, [_OUTCOME], [_TICK]),
    cm.StatsReply(3, FakeFeedService("1").stats("1")),
    cm.SnapshotReply(4, 1, [_TICK]),
    cm.ErrorReply(5, cm.ErrorCode.BUSY, "busy"),
    cm.ResyncNotice(),
    cm.EventNotice(FeedChange("1", FeedStatus.STALE, 1, "why", None)),
    cm.EventNotice(SubscriptionChange("1", [_OUTCOME])),
)
_READY = b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04XPUB"
_BATCH = 50

Fuzz = Callable[[random.Random, int], Awaitable[int]]


class _Tracebacks(logging.Handler):
    """Keeps the first record that has one."""

    def __init__(self) -> None:
        super().__init__()
        self.first: logging.LogRecord | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and self.first is None:
            self.first = record


@contextmanager
def _no_traceback() -> Iterator[None]:
    """Fail where anything below is logged with a traceback, or ends in the loop's handler."""
    seen = _Tracebacks()
    roots = [logging.getLogger(name) for name in ("streaming", "asyncio")]
    for each in roots:
        each.addHandler(seen)
    try:
        yield
    finally:
        for each in roots:
            each.removeHandler(seen)
    if seen.first is not None and seen.first.exc_info is not None:
        error = seen.first.exc_info[1]
        raise AssertionError(seen.first.getMessage()) from error


def _batches(seeds: list[bytes], rng: random.Random, count: int) -> Iterator[list[bytes]]:
    made = (
        each if isinstance(each, bytes) else each.encode() for each in mutants(seeds, rng, count)
    )
    while batch := list(islice(made, _BATCH)):
        yield batch


async def _wire(rng: random.Random, count: int) -> int:
    """What a gateway reads off a socket, from the greeting on."""
    whole = GREETING + _READY + bytes((0, len(_TICK))) + _TICK
    refused = 0
    for (data,) in ([each] for each in mutants([whole, whole[:64], _READY], rng, count)):
        assert isinstance(data, bytes)
        peer = ZmtpSubscriber(max_bytes=1 << 20)
        cut = rng.randrange(len(data) + 1)
        try:
            if rng.random() < 0.5:
                peer.receive(GREETING + _READY)
            peer.receive(data[:cut])
            peer.receive(data[cut:])
        except MalformedMessageError:
            refused += 1
    return refused


async def _bus(rng: random.Random, count: int) -> int:
    """Ticks and beats, at a gateway."""
    gateway = await Gateway(free_port()).open()
    link = gateway.link
    try:
        beats = [BEAT_TOPIC + cm.encode(_BEAT), BEAT_TOPIC + cm.encode(_BEAT)]
        for batch in _batches([_TICK, *beats], rng, count):
            link._on_ticks(link._peers[0], batch)
            gateway.listener.ticks.clear()
            gateway.listener.events.clear()
            gateway.listener.order.clear()
            await asyncio.sleep(0)
        return link.counters.malformed
    finally:
        await gateway.close()


async def _requests(rng: random.Random, count: int) -> int:
    """What gateways say, at a worker."""
    worker = await Worker(free_port(), barrier_timeout_seconds=0.001).open()
    try:
        names = [*([b"one", b"two"] * 10), b"\xff", b""]
        for batch in _batches([cm.encode(each) for each in _REQUESTS], rng, count):
            worker.server._on_batch([[rng.choice(names), each] for each in batch])
            worker.service.want_calls.clear()
            await asyncio.sleep(0)
        return worker.server.malformed
    finally:
        await worker.close()


async def _replies(rng: random.Random, count: int) -> int:
    """What a worker says, at a gateway that has asked."""
    gateway = await Gateway(free_port()).open()
    link = gateway.link
    peer = link._peers[0]
    peer.meet(_BEAT)
    link._wants.own(peer, "1", 1)
    wanting = asyncio.create_task(link.want("1", "c", [_WANT]))
    try:
        for batch in _batches([cm.encode(each) for each in _REPLIES], rng, count):
            peer._on_control([[each] for each in batch])
            gateway.listener.events.clear()
            gateway.listener.order.clear()
            await asyncio.sleep(0)
        return peer.malformed
    finally:
        wanting.cancel()
        await asyncio.wait({wanting})
        await gateway.close()


def _checked(run: Fuzz) -> Callable[[random.Random, int], int]:
    def fuzz(rng: random.Random, count: int) -> int:
        with _no_traceback():
            return asyncio.run(run(rng, count))  # type: ignore[arg-type]

    return fuzz


BUS_TARGETS: Mapping[str, Callable[[random.Random, int], int]] = {
    "bus_wire": _checked(_wire),
    "bus": _checked(_bus),
    "control_requests": _checked(_requests),
    "control_replies": _checked(_replies),
}
