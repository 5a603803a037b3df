"""The comparison of the two ways to read a bus: each gateway reads it in its own."""

from __future__ import annotations

import pytest
import zmq

from benchmarks.bus_reader import FileSocket
from streaming.link import peer
from streaming.link.peer import WorkerPeer
from streaming.wire.topics import BEAT_TOPIC
from streaming.worker.publisher import SharedZmqPublisher
from tests.support import bus_at, eventually


async def test_a_peer_hears_a_worker_through_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the benchmark's settings put in its place, by the name that they put it under."""
    monkeypatch.setattr(peer, "BusStream", FileSocket)
    bus = bus_at()
    publisher = SharedZmqPublisher(bus=bus, epoch=1)
    publisher.open()
    heard: list[bytes] = []
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    worker = WorkerPeer(
        bus=bus,
        gateway_id="g",
        receive_hwm=100,
        monotonic=lambda: 0.0,
        on_ticks=lambda _, batch: heard.extend(batch),
        on_notice=lambda _, notice: None,
        on_answers=lambda: None,
        patience=lambda: 0.0,
    )
    try:
        worker.open(context)
        assert isinstance(worker._reader, FileSocket)

        def arrived() -> bool:
            publisher.publish_beat(b"?")
            return bool(heard)

        await eventually(arrived, message="nothing was heard")
        assert set(heard) == {BEAT_TOPIC + b"?"}
    finally:
        worker.close()
        publisher.close()
        context.term()
