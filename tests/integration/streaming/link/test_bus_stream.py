"""The reader of a bus without keys, next to what else may listen on its port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

import pytest
import uvloop

from streaming.link import readers as bus_readers
from streaming.link.readers import BusStream
from streaming.wire.address import BusAddress
from streaming.wire.socket_files import SocketFiles
from streaming.wire.zmtp import GREETING
from streaming.worker.publisher import SharedZmqPublisher
from tests.support import bus_at, eventually


def files_of(bus: BusAddress) -> SocketFiles:
    assert bus.files is not None
    bus.files.prepare()
    return bus.files


def path_of(bus: BusAddress) -> str:
    return files_of(bus).path(bus.ticks_name)


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection whose peer may have broken it already."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_a_stranger_on_the_port_is_left_and_the_worker_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Something else answers first; when it has gone and the worker is there, ticks come."""
    bus = bus_at()
    visits: list[bytes] = []
    under_way: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.append(1)
        visits.append(await reader.read(64))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await end(writer)
        under_way.pop()

    stranger = await asyncio.start_unix_server(answer, path_of(bus))
    heard: list[bytes] = []
    stream = BusStream(files=files_of(bus), name=bus.ticks_name, on_batch=heard.extend)
    publisher = SharedZmqPublisher(bus=bus, epoch=1)
    with caplog.at_level(logging.WARNING, "streaming.bus"):
        stream.open()
        stream.subscribe(b"topic\0")
        try:
            await eventually(lambda: len(visits) >= 2, message="it did not try again")
            assert "does not speak ZeroMQ" in caplog.text
            stranger.close()
            await stranger.wait_closed()
            await eventually(lambda: not under_way)
            publisher.open()

            def arrived() -> bool:
                publisher.publish_beat(b"of no interest")
                publisher._send(b"topic\0large" + bytes(100_000), 1)
                return bool(heard)

            await eventually(arrived, message="the worker was not found")
            assert set(heard) == {b"topic\0large" + bytes(100_000)}
            stream.unsubscribe(b"topic\0")
            stream.subscribe(b"other\0")
            heard.clear()

            def moved() -> bool:
                publisher._send(b"other\0", 1)
                return b"other\0" in heard

            await eventually(moved, message="a later subscription did not come through")
        finally:
            stream.close()
            publisher.close()
            stranger.close()


async def test_a_handshake_in_pieces() -> None:
    """What was subscribed before goes out once the publisher has said that it is one."""
    asked: list[bytes] = []
    done, ended = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GREETING)
        await reader.readexactly(len(GREETING) + 27)  # and its READY
        writer.write(b"\x04\x1a\x05READY\x0bSocket-Type\0\0\0\x04XPUB")
        asked.append(await reader.readexactly(10))
        done.set()
        await reader.read()
        await end(writer)
        ended.set()

    bus = bus_at()
    server = await asyncio.start_unix_server(answer, path_of(bus))
    stream = BusStream(files=files_of(bus), name=bus.ticks_name, on_batch=print)
    stream.open()
    stream.subscribe(b"b\0")
    stream.subscribe(b"a\0")
    try:
        await asyncio.wait_for(done.wait(), 20)
        assert asked == [b"\0\x03\x01a\0\0\x03\x01b\0"]
    finally:
        stream.close()
        await asyncio.wait_for(ended.wait(), 20)
        server.close()
        await server.wait_closed()


class HeldWait:
    """A short wait that lasts until it is told to end."""

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.end = on_end
        self.begun: list[float] = []
        self.is_closed = False
        made.append(self)

    def begin(self, seconds: float) -> None:
        self.begun.append(seconds)

    def close(self) -> None:
        self.is_closed = True


made: list[HeldWait] = []


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_nothing_is_read_while_a_short_wait_lasts(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile stays where it is, and is there when the wait is over."""
    monkeypatch.setattr(bus_readers, "ShortWait", HeldWait)
    made.clear()

    async def listen() -> None:
        bus = bus_at()
        patience = [0.0]
        heard: list[bytes] = []
        stream = BusStream(
            files=files_of(bus),
            name=bus.ticks_name,
            on_batch=heard.extend,
            patience=lambda: patience[0],
        )
        publisher = SharedZmqPublisher(bus=bus, epoch=1)
        publisher.open()
        stream.open()
        stream.subscribe(b"topic\0")

        def arrived() -> bool:
            publisher._send(b"topic\0?", 1)
            return bool(heard)

        try:
            await eventually(arrived, message="no subscription")
            publisher._send(b"topic\0#", 1)
            await eventually(lambda: heard[-1] == b"topic\0#")
            assert not made
            patience[0] = 0.002
            publisher._send(b"topic\0" + b"0", 1)
            await eventually(lambda: heard[-1] == b"topic\0" + b"0")
            heard.clear()
            (wait,) = made
            assert len(wait.begun) == 1
            assert 0 < wait.begun[0] <= 0.002
            for number in b"123":
                publisher._send(b"topic\0%c" % number, 1)
            await asyncio.sleep(0.1)
            assert not heard
            patience[0] = 0.0
            wait.end()
            await eventually(lambda: heard == [b"topic\0%c" % number for number in b"123"])
            publisher._send(b"topic\0" + b"4", 1)
            await eventually(lambda: heard[-1] == b"topic\0" + b"4", message="it still waits")
        finally:
            stream.close()
            publisher.close()
            await asyncio.sleep(0)
        assert wait.is_closed

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(listen())


async def test_ticks_that_come_one_by_one_are_read_together_by_whoever_has_patience() -> None:
    """None is lost or out of order, and few reads bring many."""
    bus = bus_at()
    patience_seconds = 0.1
    reads: list[list[bytes]] = []
    stream = BusStream(
        files=files_of(bus),
        name=bus.ticks_name,
        on_batch=reads.append,
        patience=lambda: patience_seconds,
    )
    started = time.monotonic()
    publisher = SharedZmqPublisher(bus=bus, epoch=1)
    publisher.open()
    stream.open()
    stream.subscribe(b"topic\0")
    try:

        def arrived() -> bool:
            publisher._send(b"topic\0", 1)
            return bool(reads)

        await eventually(arrived, message="the subscription did not come through")
        sent = [b"topic\0%d" % number for number in range(200)]
        for message in sent:
            publisher._send(message, 1)
            await asyncio.sleep(0.001)
        await eventually(lambda: reads[-1][-1] == sent[-1], message="the last did not arrive")
        heard = [message for read in reads for message in read if message != b"topic\0"]
        assert heard == sent
        assert (len(reads) - 1) * patience_seconds <= time.monotonic() - started
    finally:
        stream.close()
        publisher.close()


async def test_closed_before_it_found_anybody() -> None:
    """Nothing is left behind, and it stays closed."""
    stream = BusStream(files=files_of(bus_at()), name="1.ticks", on_batch=print)
    stream.open()
    await asyncio.sleep(0)
    stream.close()
    stream.close()
    stream.open()
    assert stream._running is not None
    with pytest.raises(asyncio.CancelledError):
        await stream._running
