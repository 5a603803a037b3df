"""Bodies at a real server, as the real ``curl`` and worse clients send them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import pytest

from openalgo_site.web.bodies import with_bounded_bodies
from streaming.edge_limits import EdgeLimits, Refusal
from tests.integration.streaming.edge.test_bounded_frames import refused
from tests.integration.streaming.edge.test_bounded_requests import Line, StillClock, measuring_site
from tests.integration.streaming.edge_kit import EdgeServer, MakeEdge, ask
from tests.support import eventually

LIST = b'{"name":"mine","symbols":[' + b'{"exchange":"NSE","symbol":"INFY"},' * 7_000 + b"]}"
CHUNKED = b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK = b"4000\r\n" + bytes(16 * 1024) + b"\r\n"


@pytest.fixture
async def site(make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch) -> EdgeServer:
    """A site that answers with how long a body was, within the bounds of ours."""
    # However busy the machine is: here the farewell ends with what was sent.
    monkeypatch.setattr("openalgo_site.web.bodies._FAREWELL_SECONDS", 60.0)
    edge: EdgeServer
    bounded = with_bounded_bodies(
        measuring_site,
        limits=EdgeLimits(),
        on_refused=lambda: edge.gateway.edge.refused.update([Refusal.BODY_BYTES]),
    )
    edge = await make_edge(http=bounded)
    return edge


async def curl(
    edge: EdgeServer, *arguments: str, path: str = "/api/watchlists", given: bytes = b""
) -> tuple[int, str]:
    """Run curl; returns status and body."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "60",
        "--write-out", " %{http_code}", *arguments, f"http://127.0.0.1:{edge.port}{path}",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, errors = await process.communicate(given)
    assert process.returncode == 0, errors.decode()
    body, _, status = out.decode().rpartition(" ")
    return int(status), body.strip()


async def say_for_ever(line: Line) -> None:
    while True:
        line.say(CHUNK)
        await line.writer.drain()


@pytest.mark.parametrize(
    "options",
    [
        ["--data-binary", "@{list}"],
        ["--data-binary", "@{list}", "--limit-rate", "400k"],
        ["--data-binary", "@{list}", "--header", "Expect: 100-continue"],
        ["--upload-file", "-", "--header", "Transfer-Encoding: chunked"],
        ["--upload-file", "-", "--header", "Transfer-Encoding: chunked", "--limit-rate", "400k"],
        ["--request", "POST", "--form", "list=<{list}"],
        ["--http1.0", "--data-binary", "@{list}"],
    ],
    ids=["plain", "slow", "expect", "from standard input", "slowly from it", "form", "1.0"],
)
async def test_curl_uploads_a_watch_list(
    site: EdgeServer, tmp_path: Path, options: list[str]
) -> None:
    file = tmp_path / "list.json"
    file.write_bytes(LIST)
    arguments = [each.format(list=file) for each in options]
    status, body = await curl(site, *arguments, given=LIST if "-" in options else b"")
    assert status == 200
    assert len(LIST) <= int(body) < len(LIST) + 1000
    assert not refused(site)


@pytest.mark.parametrize(
    ("path", "most"),
    [("/api/preferences", "65,536"), ("/login/", "8,192"), ("/status/", "262,144")],
)
@pytest.mark.parametrize(
    "options",
    [
        ["--data-binary", "@{file}"],
        ["--data-binary", "@{file}", "--header", "Expect: 100-continue"],
        ["--data-binary", "@{file}", "--header", "Expect:"],
        ["--upload-file", "-", "--header", "Expect:"],
        ["--request", "GET", "--data-binary", "@{file}"],
    ],
    ids=["plain", "expect", "without asking", "from standard input", "get"],
)
async def test_curl_is_told_the_bound(
    site: EdgeServer, tmp_path: Path, options: list[str], path: str, most: str
) -> None:
    """The answer is there to be read, though the server does not want the rest of the body."""
    file = tmp_path / "file"
    file.write_bytes(bytes(900_000))
    arguments = [each.format(file=file) for each in options]
    given = bytes(900_000) if "-" in options else b""
    status, body = await curl(site, *arguments, path=path, given=given)
    assert status == 413
    assert f"{most} bytes" in body
    assert refused(site) == {"body_bytes": 1}
    await eventually(lambda: site.gateway.edge.connections == 0)


@pytest.mark.parametrize("head", [CHUNKED, b"Host: x\r\nContent-Length: 655685\r\n\r\n"])
async def test_a_refused_body_ends_without_a_reset(site: EdgeServer, head: bytes) -> None:
    """Some systems throw away what they have not read yet when a reset comes: the answer."""
    line = await Line.open(site)
    body = CHUNK * 40 + b"0\r\n\r\n"
    line.say(b"POST /api/preferences HTTP/1.1\r\n" + head + body)
    assert b"65,536 bytes" in await line.answer()


@pytest.mark.parametrize("method", [b"POST", b"GET"])
async def test_a_chunked_body_without_an_end_is_ended(site: EdgeServer, method: bytes) -> None:
    """Its neighbour hears nothing of it."""
    neighbour = await site.client()
    line = await Line.open(site)
    line.say(method + b" / HTTP/1.1\r\n" + CHUNKED)
    answer = asyncio.create_task(line.reader.readuntil(b"that is taken at /."))
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(say_for_ever(line), 60)
    assert (await answer).startswith(b"HTTP/1.1 413 ")
    await eventually(lambda: site.gateway.edge.connections == 1)
    assert refused(site) == {"body_bytes": 1}
    assert (await ask(neighbour, action="ping"))["type"] == "pong"
    await neighbour.close()
    line.writer.close()


async def test_a_body_that_nobody_wants_is_not_read_for_ever(make_edge: MakeEdge) -> None:
    """The answer is there before the body is: as on the port that speaks WebSocket only."""
    edge = await make_edge()
    line = await Line.open(edge)
    line.say(b"POST / HTTP/1.1\r\n" + CHUNKED)
    await line.reader.readuntil(b"site")
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(say_for_ever(line), 60)
    await eventually(lambda: edge.gateway.edge.connections == 0)
    assert refused(edge) == {"body_bytes": 1}
    line.writer.close()


async def test_a_body_that_nobody_wants_gives_no_time(make_edge: MakeEdge) -> None:
    clock = StillClock()
    edge = await make_edge(clock=clock)
    line = await Line.open(edge)
    line.say(b"POST / HTTP/1.1\r\n" + CHUNKED)
    await line.reader.readuntil(b"site")
    line.say(CHUNK * 40)
    await eventually(lambda: edge.gateway.edge.connections == 1)
    clock.added_seconds = 11
    with contextlib.suppress(ConnectionError):
        await line.answer()
    await eventually(lambda: edge.gateway.edge.connections == 0)


async def test_an_unwanted_body_that_ends_leaves_the_connection_as_it_was(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge()
    line = await Line.open(edge)
    for _ in range(5):
        line.say(b"POST / HTTP/1.1\r\n" + CHUNKED + CHUNK * 20)
        await line.reader.readuntil(b"site")
        line.say(b"0\r\n\r\n")
    line.say(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"200 OK" in await line.answer()
    assert not refused(edge)


def test_what_is_needed_is_here() -> None:
    """Each scenario above has a body between the bounds of the table."""
    limits: Any = EdgeLimits()
    assert limits.api_body_bytes < len(LIST) < limits.form_body_bytes < 900_000
