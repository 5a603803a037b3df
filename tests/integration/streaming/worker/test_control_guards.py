"""A worker's control port against whoever reaches it: strangers, malformed requests, floods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import zmq

from brokers.pool_service import (
    OutcomeState,
)
from streaming.wire import control as cm
from streaming.wire.address import BusAddress
from streaming.wire.keys import create_key_file
from streaming.worker.control_server import ControlServer
from tests.integration.streaming.bus_kit.ends import INFY, INFY_TOPIC, Gateway, Worker, want
from tests.integration.streaming.bus_kit.support import tick
from tests.support import eventually


async def test_one_key_protects_bus_and_control(port, stack, tmp_path):
    """With the installation's key everything works; a stranger gets no beat."""
    keys = create_key_file(tmp_path / "bus.key")
    bus = BusAddress(host="127.0.0.1", port=port, curve=keys)
    worker = await Worker(port, bus=bus).open()
    stack.push_async_callback(worker.close)
    friend = await Gateway(port, bus=bus).open()
    stack.push_async_callback(friend.close)
    other = create_key_file(tmp_path / "other.key")
    stranger = await Gateway(port, bus=replace(bus, curve=other)).open()
    stack.push_async_callback(stranger.close)
    await friend.met()
    assert (await friend.link.want("1", "c", [want()])).outcomes[0].state is OutcomeState.ACTIVE
    worker.sink().publish(INFY, tick(1), 1)
    await eventually(lambda: friend.listener.sequences(INFY_TOPIC) == [1])
    assert stranger.link.workers() == 0


class RawGateway:
    """A DEALER that says whatever it likes to a worker's control link."""

    def __init__(self, server: ControlServer, name: bytes) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.ROUTING_ID, name)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(server.endpoint)

    def say(self, *parts: bytes) -> None:
        self._socket.send_multipart(parts)

    async def hear(self) -> Any:
        await eventually(lambda: self._socket.poll(0), message="no answer")
        return cm.decode_from_worker(self._socket.recv())

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()


async def test_malformed_requests_are_counted_and_dropped(worker, gateway, stack):
    """Whatever a local process sends, other gateways are served."""
    raw = RawGateway(worker.server, b"raw")
    stack.callback(raw.close)
    wrong = [
        b"",
        b"\xc1",
        b"\x93" * 5000,
        cm.encode(cm.ErrorReply(1, cm.ErrorCode.BUSY, "")),
        cm.encode(cm.StatsRequest(1, "")),
        cm.encode(cm.WantRequest(1, "1", "c", [want()] * 501, "b")),
        cm.encode(cm.WantRequest(1, "1", "c", [], "a b")),
        cm.encode(cm.WantRequest(-1, "1", "c", [], "b")),
    ]
    for data in wrong:
        raw.say(data)
    raw.say(b"two", b"parts")
    await eventually(lambda: worker.server.malformed == len(wrong) + 1)
    assert (await gateway.link.want("1", "c", [want()])).outcomes[0].state is OutcomeState.ACTIVE
    raw.say(b"x" * (cm.MAX_REQUEST_BYTES + 1))
    assert (await gateway.link.want("1", "c", [want("TCS")])).outcomes


async def test_a_flood_of_requests_is_refused_as_busy(port, stack):
    """What waits is bounded; a stranger's barrier that never comes is an error, not an answer."""
    worker = await Worker(port, max_queued=3, barrier_timeout_seconds=0.05).open()
    stack.push_async_callback(worker.close)
    raw = RawGateway(worker.server, b"raw")
    stack.callback(raw.close)
    worker.service.stall("1")
    raw.say(cm.encode(cm.Hello()))
    raw.say(cm.encode(cm.WantRequest(0, "1", "c", [want()], "never")))
    await eventually(lambda: worker.service.want_calls)
    for number in range(1, 6):
        raw.say(cm.encode(cm.WantRequest(number, "1", "c", [want()], "never")))
    replies = [await raw.hear(), await raw.hear()]
    assert [one.code for one in replies] == [cm.ErrorCode.BUSY] * 2
    raw.say(cm.encode(cm.SnapshotRequest(7, "9", [INFY.key])))
    assert await raw.hear() == cm.SnapshotReply(7, ANY, [])
    raw.say(cm.encode(cm.StatsRequest(8, "9")))
    assert (await raw.hear()).code is cm.ErrorCode.UNKNOWN_POOL
    worker.service.resume()
    late = [await raw.hear() for _ in range(4)]
    assert [one.code for one in late] == [cm.ErrorCode.PATH_NOT_OPEN] * 4
    raw.say(cm.encode(cm.WantRequest(9, "9", "c", [want()], "never")))
    assert (await raw.hear()).code is cm.ErrorCode.UNKNOWN_POOL
