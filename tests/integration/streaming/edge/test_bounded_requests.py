"""What one connection may send before anybody knows it, at a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from streaming.addresses import parse_networks
from tests.integration.streaming.clients.test_freed import Wire, handshake
from tests.integration.streaming.edge.test_bounded_frames import close_code, refused
from tests.integration.streaming.edge_kit import KEY, EdgeServer, MakeEdge, ask
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 20_000_000  # more than the kernel takes of it


async def measuring_site(scope: Any, receive: Any, send: Any) -> None:
    """Answer with how long the body was; ``/large`` with twenty megabytes."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    body = bytes(LARGE) if scope["path"] == "/large" else b"%d\n" % size
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class StillClock:
    """Seconds that go on when they are told to, however slow the machine is."""

    def __init__(self) -> None:
        self.added_seconds = 0.0

    def __call__(self) -> float:
        return 1000.0 + self.added_seconds


class Line:
    """A TCP connection from an address of the loopback range."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, edge: EdgeServer, address: str = "127.0.0.1") -> Line:
        return cls(*await asyncio.open_connection("127.0.0.1", edge.port, local_addr=(address, 0)))

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> bytes:
        """Read to the end."""
        async with asyncio.timeout(30):
            data = await self.reader.read()
        self.writer.close()
        return data

    async def status(self) -> int:
        return int((await self.answer()).split()[1])


@contextlib.asynccontextmanager
async def silent(edge: EdgeServer, count: int, address: str) -> AsyncIterator[list[Line]]:
    lines = [await Line.open(edge, address) for _ in range(count)]
    try:
        yield lines
    finally:
        for line in lines:
            line.writer.close()


@pytest.fixture
async def site(make_edge: MakeEdge) -> EdgeServer:
    return await make_edge(http=measuring_site)


def too_much() -> Iterator[Any]:
    line = b"X-Header: " + b"x" * 90 + b"\r\n"
    yield pytest.param(GET + line * 500 + b"\r\n", id="many headers")
    yield pytest.param(GET + b"a:b\r\n" * 20_000 + b"\r\n", id="very many small headers")
    yield pytest.param(GET + b"X: " + b"x" * 50_000, id="a header without an end")
    yield pytest.param(GET + b"x" * 50_000, id="a name without an end")
    yield pytest.param(b"GET /" + b"x" * 50_000, id="an address without an end")
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    yield pytest.param(chunked + b"0\r\n" + line * 500, id="trailers")
    yield pytest.param(chunked + b"1;" + b"x" * 50_000, id="the extension of a chunk")
    yield pytest.param(chunked + b"1\r\nx\r\n" * 20_000, id="very many small chunks")


@pytest.mark.parametrize("request_bytes", [*too_much()])
async def test_what_stands_around_a_body_is_bounded(site: EdgeServer, request_bytes: bytes) -> None:
    line = await Line.open(site)
    line.say(request_bytes)
    assert await line.status() == 431
    assert refused(site) == {"header_bytes": 1}


async def test_requests_that_are_not_answered_yet_are_bounded(site: EdgeServer) -> None:
    line = await Line.open(site)
    line.say((GET + b"\r\n") * 5_000)
    with contextlib.suppress(ConnectionError):
        await line.answer()
    assert refused(site) == {"pipelined": 1}


@pytest.mark.parametrize("way", ["refused", "gone"])
async def test_answers_to_a_connection_that_ended_are_no_failures(
    make_edge: MakeEdge, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """Each was a traceback, which whoever sends requests ahead could fill a disk with."""
    going_on = asyncio.Event()

    async def slow_site(scope: Any, receive: Any, send: Any) -> None:
        await going_on.wait()
        await measuring_site(scope, receive, send)

    edge = await make_edge(http=slow_site)
    line = await Line.open(edge)
    line.say((GET + b"\r\n") * (50 if way == "refused" else 5))
    if way == "refused":
        await eventually(lambda: refused(edge) == {"pipelined": 1})
    else:
        await eventually(lambda: edge.gateway.edge.connections == 1)
        line.writer.transport.abort()
    going_on.set()
    await eventually(lambda: edge.gateway.edge.connections == 0)
    other = await Line.open(edge)
    other.say(GET + b"Connection: close\r\n\r\n")
    assert await other.status() == 200
    assert "Traceback" not in caplog.text
    line.writer.close()


ASKED: ContextVar[str] = ContextVar("asked", default="")


async def site_with_a_context(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what the context had from before."""
    before = ASKED.get().encode()
    ASKED.set(scope["path"])
    headers = [(b"content-length", b"%d" % len(before))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": before})


async def test_requests_sent_ahead_share_no_context(make_edge: MakeEdge) -> None:
    """Nor one connection's with another's: what Django keeps there would never end."""
    edge = await make_edge(http=site_with_a_context)
    lines = [await Line.open(edge) for _ in range(3)]
    for line in lines:
        line.say(GET.replace(b"/", b"/one", 1) + b"\r\n" + GET + b"Connection: close\r\n\r\n")
    for line in lines:
        assert b"/one" not in await line.answer()


async def test_a_few_requests_may_be_sent_ahead(site: EdgeServer) -> None:
    line = await Line.open(site)
    line.say((GET + b"\r\n") * 4 + GET + b"Connection: close\r\n\r\n")
    assert (await line.answer()).count(b"HTTP/1.1 200 OK") == 5
    assert not refused(site)


@pytest.mark.parametrize(
    "said",
    [b"", GET[:20], GET, POST + b"Content-Length: 100\r\n\r\nhalf", handshake(1, "/", {})[:-2]],
    ids=["nothing", "half a line", "no end", "half a body", "half a handshake"],
)
async def test_a_request_is_whole_in_time(make_edge: MakeEdge, said: bytes) -> None:
    clock = StillClock()
    edge = await make_edge(http=measuring_site, clock=clock)
    line = await Line.open(edge)
    line.say(said)
    client = await edge.client()
    await eventually(lambda: edge.gateway.edge.connections == 2)
    clock.added_seconds = 11
    assert await line.status() == 408
    assert refused(edge) == {"slow_request": 1}
    assert (await ask(client, action="ping"))["type"] == "pong"
    await client.close()


async def test_a_later_request_has_its_own_time(make_edge: MakeEdge) -> None:
    clock = StillClock()
    edge = await make_edge(http=measuring_site, clock=clock)
    line, late = await Line.open(edge), await Line.open(edge)
    await eventually(lambda: edge.gateway.edge.connections == 2)
    clock.added_seconds = 9
    line.say(GET + b"\r\n")
    await line.reader.readuntil(b"0\n")
    line.say(GET)
    clock.added_seconds = 18
    assert await late.status() == 408
    line.say(b"\r\n")
    await line.reader.readuntil(b"0\n")
    line.writer.close()


@pytest.mark.parametrize("end", [b"Connection: close\r\n", b""], ids=["close", "keep"])
async def test_a_large_page_may_be_read_slowly_but_not_for_ever(
    make_edge: MakeEdge, end: bytes
) -> None:
    clock = StillClock()
    edge = await make_edge(http=measuring_site, clock=clock)
    lines = [await Line.open(edge) for _ in range(2)]
    for line in lines:
        line.say(b"GET /large HTTP/1.1\r\nHost: localhost\r\n" + end + b"\r\n")
        await line.reader.readuntil(b"\r\n\r\n")

    async def look_at_all(later_seconds: float) -> None:
        late = await Line.open(edge)
        late.say(GET)
        before, clock.added_seconds = edge.gateway.edge.connections, later_seconds
        assert await late.status() == 408
        await eventually(lambda: edge.gateway.edge.connections < before)

    await look_at_all(20)
    read = await asyncio.wait_for(lines[0].reader.readexactly(LARGE), 60)
    assert len(read) == LARGE
    await look_at_all(4000)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(lines[1].reader.readexactly(LARGE), 60)
    for line in lines:
        line.writer.close()


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
async def test_a_watch_list_is_uploaded(site: EdgeServer, expect: bytes) -> None:
    line = await Line.open(site)
    body = b"NSE:INFY," * 28_000
    line.say(POST + expect + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
    if expect:
        await line.reader.readuntil(b"100 Continue\r\n\r\n")
    line.say(body)
    assert (await line.answer()).endswith(b"\r\n\r\n%d\n" % len(body))
    assert not refused(site)


async def test_an_upload_in_chunks_of_a_kilobyte_is_one_as_any_other(site: EdgeServer) -> None:
    line = await Line.open(site)
    line.say(POST + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
    line.say((b"400\r\n" + bytes(1024) + b"\r\n") * 2000 + b"0\r\n\r\n")
    assert (await line.answer()).endswith(b"\r\n\r\n2048000\n")
    assert not refused(site)


async def test_little_is_kept_of_a_body_that_nobody_takes_yet(make_edge: MakeEdge) -> None:
    go_on = asyncio.Event()

    async def site(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await measuring_site(scope, receive, send)

    edge = await make_edge(http=site)
    line = await Line.open(edge)
    line.say(POST + b"Content-Length: 300000\r\nConnection: close\r\n\r\n" + bytes(300_000))
    guests: Any = await eventually(lambda: list(edge.gateway.edge.strangers._all))
    (protocol,) = guests
    await eventually(lambda: protocol.flow is not None and protocol.flow.read_paused)
    assert len(protocol.cycle.body) <= 12 * 1024
    go_on.set()
    assert (await line.answer()).endswith(b"300000\n")


async def test_a_body_that_waits_for_us_is_not_late(make_edge: MakeEdge) -> None:
    """An upload waits for its place here, and the time in which it waits is ours."""
    clock, go_on = StillClock(), asyncio.Event()

    async def site(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        await measuring_site(scope, receive, send)

    edge = await make_edge(http=site, clock=clock, request_timeout_seconds=10.0)
    line = await Line.open(edge)
    line.say(POST + b"Content-Length: 300000\r\nConnection: close\r\n\r\n" + bytes(200_000))
    guests: Any = await eventually(lambda: list(edge.gateway.edge.strangers._all))
    (protocol,) = guests
    await eventually(lambda: protocol.flow is not None and protocol.flow.read_paused)
    clock.added_seconds = 1000
    edge.gateway.edge._sweep()
    assert not refused(edge)
    go_on.set()
    # What is there is read; the rest is the client's to send, in the time that it has left.
    await eventually(lambda: edge.gateway.edge.strangers._all[protocol].is_awaited)
    clock.added_seconds = 2000
    assert await line.status() == 408
    assert refused(edge) == {"slow_request": 1}


async def test_silent_connections_of_one_address_are_bounded(make_edge: MakeEdge) -> None:
    clock = StillClock()
    edge = await make_edge(http=measuring_site, clock=clock, max_strangers_per_address=5)
    client = await edge.client()
    async with silent(edge, 12, "127.0.0.2") as crowd, silent(edge, 5, "127.0.0.3") as others:
        clock.added_seconds = 4
        await eventually(lambda: refused(edge) == {"strangers_of_address": 7})
        assert [await line.status() for line in crowd[:7]] == [429] * 7
        for line in [*crowd[7:], *others]:
            line.say(GET + b"Connection: close\r\n\r\n")
            assert await line.status() == 200
        assert (await ask(client, action="ping"))["type"] == "pong"
    await client.close()


async def test_connections_that_were_served_are_closed_without_a_word(make_edge: MakeEdge) -> None:
    """Whoever asks again at that moment would take an answer of ours for that to its request."""
    clock = StillClock()
    edge = await make_edge(http=measuring_site, clock=clock, max_strangers_per_address=2)
    async with silent(edge, 5, "127.0.0.2") as crowd:
        for line in crowd:
            line.say(GET + b"\r\n")
            async with asyncio.timeout(30):
                assert b" 200 " in await line.reader.readuntil(b"\r\n\r\n0\n")
        clock.added_seconds = 4
        await eventually(lambda: refused(edge) == {"strangers_of_address": 3})
        assert [await line.answer() for line in crowd[:3]] == [b""] * 3


async def test_sockets_that_never_authenticate_are_told_why_they_go(make_edge: MakeEdge) -> None:
    clock = StillClock()
    edge = await make_edge(clock=clock, max_strangers_per_address=2, auth_timeout_seconds=600.0)
    wires = [await Wire.open(edge.openalgo_port, "/") for _ in range(3)]
    known = await edge.client()
    clock.added_seconds = 4
    assert await close_code(wires[0]) == 4429
    assert refused(edge) == {"strangers_of_address": 1}
    for wire in wires[1:]:
        wire.ask(action="authenticate", api_key=KEY)
        await wire.until(b'"success"')
        wire.vanish()
    await known.close()
    await eventually(lambda: edge.gateway.edge.connections == 0)
    assert not len(edge.gateway.edge.strangers)


async def test_a_newcomer_takes_the_place_of_one_that_says_nothing(make_edge: MakeEdge) -> None:
    clock = StillClock()
    edge = await make_edge(http=measuring_site, clock=clock, max_strangers=4)
    async with silent(edge, 4, "127.0.0.2"):
        await eventually(lambda: edge.gateway.edge.strangers.is_full)
        too_early = await Line.open(edge)
        assert await too_early.status() == 503
        clock.added_seconds = 4
        line = await Line.open(edge)
        line.say(GET + b"Connection: close\r\n\r\n")
        assert await line.status() == 200
        assert refused(edge) == {"strangers": 2}


async def test_files_are_left_for_what_is_no_connection(make_edge: MakeEdge) -> None:
    edge = await make_edge(http=measuring_site)
    client = await edge.client()
    edge.gateway.edge.max_connections = 3
    async with silent(edge, 2, "127.0.0.2"):
        await eventually(lambda: edge.gateway.edge.connections == 3)
        line = await Line.open(edge)
        assert await line.status() == 503
        assert refused(edge) == {"files": 1}
        assert (await ask(client, action="ping"))["type"] == "pong"
    await eventually(lambda: edge.gateway.edge.connections == 1)
    line = await Line.open(edge)
    line.say(GET + b"Connection: close\r\n\r\n")
    assert await line.status() == 200
    await client.close()


async def test_everybody_behind_a_trusted_proxy_counts_by_their_own_address(
    make_edge: MakeEdge,
) -> None:
    clock = StillClock()
    edge = await make_edge(
        clock=clock, proxies=parse_networks("127.0.0.0/8"), max_strangers_per_address=2,
        auth_timeout_seconds=600.0,
    )  # fmt: skip
    crowd = [
        await Wire.open(edge.openalgo_port, "/", X_Forwarded_For="192.0.2.1") for _ in range(3)
    ]
    others = [
        await Wire.open(edge.openalgo_port, "/", X_Forwarded_For=f"192.0.2.{number}")
        for number in range(2, 8)
    ]
    clock.added_seconds = 4
    assert await close_code(crowd[0]) == 4429
    for wire in [*crowd[1:], *others]:
        wire.ask(action="authenticate", api_key=KEY)
        await wire.until(b'"success"')
        wire.vanish()
    assert refused(edge) == {"strangers_of_address": 1}


async def test_three_hundred_clients_of_one_address_come_back_at_once(
    make_edge: MakeEdge,
) -> None:
    """As after a restart, on one machine, with a slow database: none of them is refused."""
    clock = StillClock()
    edge = await make_edge(clock=clock, max_clients_per_user=1000)
    edge.directory.hold()
    late = await Line.open(edge)
    wires = []
    for _ in range(300):
        wires.append(await Wire.open(edge.openalgo_port, "/"))
        wires[-1].ask(action="authenticate", api_key=KEY)
    await eventually(lambda: edge.directory.lookups == 300, timeout=30)
    clock.added_seconds = 20
    assert await late.status() == 408  # so all of them were looked at
    edge.directory.resume()
    for wire in wires:
        await wire.until(b'"success"')
        wire.vanish()
    assert refused(edge) == {"slow_request": 1}
