"""The reader of a bus without keys, next to what else may listen on its port."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

import pytest
import uvloop

from streaming import bus_readers
from streaming.bus_readers import BusStream
from streaming.publisher import SharedZmqPublisher
from streaming.zmtp import GREETING
from tests.support import eventually, free_port


async def end(writer: asyncio.StreamWriter) -> None:
    """Close a connection whose peer may have broken it already."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def test_a_stranger_on_the_port_is_left_and_the_worker_found(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Something else answers first; when it has gone and the worker is there, ticks come."""
    port = free_port()
    visits: list[bytes] = []
    under_way: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.append(1)
        visits.append(await reader.read(64))
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await end(writer)
        under_way.pop()

    stranger = await asyncio.start_server(answer, "127.0.0.1", port)
    heard: list[bytes] = []
    stream = BusStream(host="127.0.0.1", port=port, receive_hwm=100_000, on_batch=heard.extend)
    publisher = SharedZmqPublisher(endpoint=f"tcp://127.0.0.1:{port}", epoch=1)
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

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stream = BusStream(host="127.0.0.1", port=port, receive_hwm=100_000, on_batch=print)
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


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_short_wait_ends_with_the_third_tick(
    loop_factory: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it might last; two are left where they are until then."""
    monkeypatch.setattr(bus_readers, "_SHORT_WAIT_SECONDS", 3600.0)

    async def listen() -> None:
        port = free_port()
        patience = [0.0]
        heard: list[bytes] = []
        reads: list[list[bytes]] = []

        def take(batch: list[bytes]) -> None:
            heard.extend(batch)
            reads.append(batch)

        stream = BusStream(
            host="127.0.0.1",
            port=port,
            receive_hwm=100_000,
            on_batch=take,
            patience=lambda: patience[0],
        )
        publisher = SharedZmqPublisher(endpoint=f"tcp://127.0.0.1:{port}", epoch=1)
        publisher.open()
        stream.open()
        stream.subscribe(b"topic\0")

        def arrived(message: bytes) -> bool:
            publisher._send(message, 1)
            return bool(heard)

        try:
            await eventually(lambda: arrived(b"topic\0?"), message="no subscription")
            publisher._send(b"topic\0#", 1)
            await eventually(lambda: heard[-1] == b"topic\0#")
            patience[0] = 3600.0
            publisher._send(b"topic\0" + b"0", 1)
            await eventually(lambda: heard[-1] == b"topic\0" + b"0")
            reads.clear()
            for number in b"123":
                publisher._send(b"topic\0%c" % number, 1)
                await asyncio.sleep(0.02)
            await eventually(lambda: reads, message="the third did not end the wait")
            assert reads == [[b"topic\0" + b"1", b"topic\0" + b"2", b"topic\0" + b"3"]]
            patience[0] = 0.0
            for number in b"456":
                publisher._send(b"topic\0%c" % number, 1)
            await eventually(lambda: heard[-1] == b"topic\0" + b"6")
            publisher._send(b"topic\0" + b"7", 1)
            await eventually(lambda: heard[-1] == b"topic\0" + b"7", message="it still waits")
        finally:
            stream.close()
            publisher.close()
            await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(listen())


async def test_ticks_that_come_one_by_one_are_read_together_by_whoever_has_patience() -> None:
    """None is lost or out of order, and few reads bring many."""
    port = free_port()
    patience_seconds = 0.1
    reads: list[list[bytes]] = []
    stream = BusStream(
        host="127.0.0.1",
        port=port,
        receive_hwm=100_000,
        on_batch=reads.append,
        patience=lambda: patience_seconds,
    )
    started = time.monotonic()
    publisher = SharedZmqPublisher(endpoint=f"tcp://127.0.0.1:{port}", epoch=1)
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
    stream = BusStream(host="127.0.0.1", port=free_port(), receive_hwm=50, on_batch=print)
    stream.open()
    await asyncio.sleep(0)
    stream.close()
    stream.close()
    stream.open()
    assert stream._running is not None
    with pytest.raises(asyncio.CancelledError):
        await stream._running
