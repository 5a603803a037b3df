"""What the WebSocket transport makes of a broker's behaviour, on real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest
from websockets.asyncio.server import serve

from brokers.contract import Handshake
from brokers.exceptions import BrokerConfigError, BrokerUnavailableError
from pooling.clock import SystemClock
from pooling.connectors.websocket import UpgradeRefusedError, WebSocketConnector
from pooling.exceptions import ConnectionLostError
from tests.support import eventually, free_port

SECRET = "s3cret"


async def connect(port, *, timeout=30.0, limit=1024, scheme="ws"):
    handshake = Handshake(url=f"{scheme}://127.0.0.1:{port}/?token={SECRET}", headers={"X-A": "b"})
    connector = WebSocketConnector(clock=SystemClock())
    return await connector(handshake, open_timeout_seconds=timeout, max_frame_bytes=limit)


@asynccontextmanager
async def raw_server(answer: bytes):
    ended = asyncio.Event()

    async def talk(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await reader.read()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            ended.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
        await asyncio.wait_for(ended.wait(), 30)
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def websocket_server(handler):
    async with serve(handler, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_refusal_carries_status_body_and_headers_in_title_case():
    answer = b"HTTP/1.1 429 Slow\r\nretry-after: 7\r\nContent-Length: 4\r\n\r\nslow"
    async with raw_server(answer) as port:
        with pytest.raises(UpgradeRefusedError) as caught:
            await connect(port)
    assert (caught.value.status, caught.value.body) == (429, b"slow")
    assert caught.value.headers["Retry-After"] == "7"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Ok\r\n\r\n"])
async def test_an_answer_that_is_none_is_unavailable(answer):
    async with raw_server(answer) as port:
        with pytest.raises(BrokerUnavailableError) as caught:
            await connect(port, timeout=0.3)
    assert SECRET not in str(caught.value)


async def test_nobody_there_is_unavailable():
    with pytest.raises(BrokerUnavailableError, match="cannot be reached"):
        await connect(free_port())


async def test_a_url_that_is_no_websocket_is_a_matter_of_configuration():
    with pytest.raises(BrokerConfigError) as caught:
        await connect(1, scheme="gopher")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.1/", "ws://[", "ws://127.0.0.1:99999/", f"ws://{'a' * 300}.x/", "//", "ws:"],
)
async def test_a_redirect_to_nowhere_is_unavailable_and_no_matter_of_configuration(location):
    answer = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    async with raw_server(answer.encode()) as port:
        with pytest.raises(BrokerUnavailableError) as caught:
            await connect(port)
    assert SECRET not in str(caught.value)


@asynccontextmanager
async def redirecting_server(target):
    """Answer every upgrade with a redirect to what ``target(port)`` says; yields its port."""

    def answer(connection, request):
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = target(connection.local_address[1])
        return response

    async def nobody(connection):
        """Everyone is sent elsewhere before this."""

    async with serve(nobody, "127.0.0.1", 0, process_request=answer) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_redirect_is_followed_and_a_credential_stays_with_its_host():
    heard = []

    async def handler(socket):
        heard.append(socket.request)

    async with (
        websocket_server(handler) as there,
        redirecting_server(lambda _: f"ws://127.0.0.1:{there}/feed?code=1") as here,
    ):
        url = f"ws://127.0.0.1:{here}/"
        handshake = Handshake(url=url, headers={"Authorization": SECRET, "X-A": "b"})
        connector = WebSocketConnector(clock=SystemClock())
        transport = await connector(handshake, open_timeout_seconds=30, max_frame_bytes=1024)
        await eventually(lambda: heard)
        await transport.close()
    assert heard[0].path == "/feed?code=1"
    assert (heard[0].headers.get("X-A"), heard[0].headers.get("Authorization")) == ("b", None)


async def test_no_redirect_leads_to_another_host():
    heard = []

    async def handler(socket):
        heard.append(socket.request)

    async with (
        websocket_server(handler) as there,
        redirecting_server(lambda _: f"ws://broker.invalid:{there}/feed") as here,
    ):
        with pytest.raises(BrokerUnavailableError, match="another host"):
            await connect(here)
    assert heard == []


async def test_redirects_without_end_are_unavailable():
    async with redirecting_server(lambda port: f"ws://127.0.0.1:{port}/") as port:
        with pytest.raises(BrokerUnavailableError):
            await connect(port)


async def test_messages_pass_both_ways_and_closing_is_said():
    heard = []

    async def handler(socket):
        async for message in socket:
            heard.append(message)
            await socket.send(message)
        heard.append(socket.close_code)

    async with websocket_server(handler) as port:
        transport = await connect(port)
        await transport.send("text")
        await transport.send(b"\x01")
        assert [await transport.recv(), await transport.recv()] == ["text", b"\x01"]
        await transport.close()
        await transport.close()
        await eventually(lambda: heard == ["text", b"\x01", 1000])
        with pytest.raises(ConnectionLostError):
            await transport.send("late")
        with pytest.raises(ConnectionLostError):
            await transport.ping()


async def test_a_close_frame_is_told_with_its_code_and_reason():
    async def handler(socket):
        await socket.close(1008, "Too many requests")

    async with websocket_server(handler) as port:
        transport = await connect(port)
        with pytest.raises(ConnectionLostError, match="1008 'Too many requests'") as caught:
            await transport.recv()
        assert caught.value.code == 1008


async def test_a_cut_without_a_close_frame_has_no_code():
    async def handler(socket):
        socket.transport.abort()

    async with websocket_server(handler) as port:
        transport = await connect(port)
        with pytest.raises(ConnectionLostError) as caught:
            await transport.recv()
        assert caught.value.code is None
        await transport.close()


async def test_a_frame_beyond_the_limit_ends_the_connection():
    async def handler(socket):
        await socket.send(b"x" * 2000)
        await socket.wait_closed()

    async with websocket_server(handler) as port:
        transport = await connect(port)
        with pytest.raises(ConnectionLostError):
            await transport.recv()
        await transport.close()


async def test_pings_and_pongs_are_noted_apart():
    """A pong only answers us; a ping is the broker speaking by itself."""

    async def handler(socket):
        await socket.recv()
        await socket.ping()
        await socket.wait_closed()

    async with websocket_server(handler) as port:
        transport = await connect(port)
        opened = transport.heard_at
        await transport.ping()
        await eventually(lambda: transport.pong_at > opened)
        assert transport.heard_at == opened
        await transport.send("now you")
        await eventually(lambda: transport.heard_at > opened)
        transport.abort()
        with pytest.raises(ConnectionLostError):
            await transport.recv()


@pytest.mark.parametrize("date", ["", "Date: Sun, 06 Nov 1994 08:49:07 GMT\r\n"])
async def test_a_refusal_always_has_a_date(date):
    """The broker's own, or when the answer arrived by the clock that was given."""

    class Stopped(SystemClock):
        def time_ms(self):
            return 784_111_777_000

    answer = f"HTTP/1.1 429 Slow\r\n{date}Content-Length: 0\r\n\r\n".encode()
    async with raw_server(answer) as port:
        with pytest.raises(UpgradeRefusedError) as caught:
            await WebSocketConnector(clock=Stopped())(
                Handshake(url=f"ws://127.0.0.1:{port}/"),
                open_timeout_seconds=30.0,
                max_frame_bytes=1024,
            )
    seconds = "07" if date else "37"
    assert caught.value.headers["Date"] == f"Sun, 06 Nov 1994 08:49:{seconds} GMT"
