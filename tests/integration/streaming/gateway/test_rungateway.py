"""``manage.py rungateway`` as a process: ports, signals, health."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect

from tests.integration.streaming.edge_kit import EdgeServer, closing
from tests.support import eventually, free_port

ROOT = Path(__file__).resolve().parents[4]

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
def ports() -> dict[str, str]:
    return {name: str(free_port()) for name in ("PORT", "OPENALGO_PORT", "ZMQ_PORT")}


@pytest.fixture
async def start(tmp_path: Path, ports: dict[str, str]) -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> asyncio.subprocess.Process:
            return await stack.enter_async_context(
                process(*arguments, env={**os.environ, **ports, "DATA_DIR": str(tmp_path)})
            )

        yield start


@asynccontextmanager
async def process(
    *arguments: str, env: dict[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "manage.py",
        *(arguments or ("rungateway",)),
        cwd=ROOT,
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.communicate()


async def is_up(url: str) -> bool:
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        try:
            return (await http.get(url)).status_code == 200
        except httpx2.HTTPError:
            return False


async def is_refusing(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def test_it_serves_both_ports_and_a_signal_stops_it(
    start: Start, ports: dict[str, str]
) -> None:
    gateway = await start()
    site = f"http://127.0.0.1:{ports['PORT']}"
    await eventually(lambda: is_up(f"{site}/livez"), timeout=90)
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        health = (await http.get(f"{site}/readyz")).json()
    # Nobody has migrated here, and what has no tables lets nobody in.
    assert health["status"] == "unavailable"
    assert health["database"] is False
    assert health["workers"] == 0
    assert health["pools"] == {"live": 0, "total": 0}
    client = await connect(f"ws://127.0.0.1:{ports['OPENALGO_PORT']}/", proxy=None, open_timeout=60)
    gateway.send_signal(signal.SIGTERM)
    assert (await closing(client))[0] == 1012
    async with asyncio.timeout(60):
        _, errors = await gateway.communicate()
    assert gateway.returncode == 0, errors.decode()


async def test_a_second_signal_ends_it_without_a_traceback(
    start: Start, ports: dict[str, str]
) -> None:
    gateway = await start()
    await eventually(lambda: is_up(f"http://127.0.0.1:{ports['PORT']}/livez"), timeout=90)
    # A request that never ends would keep the first signal waiting for its whole grace time.
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ports["PORT"]))
    writer.write(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    )
    async with asyncio.timeout(60):
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")  # it waits for the rest
    gateway.send_signal(signal.SIGINT)
    # Two signals that nobody has taken yet are one.
    await eventually(lambda: is_refusing(int(ports["PORT"])))
    with contextlib.suppress(ProcessLookupError):  # its grace time may be over by now
        gateway.send_signal(signal.SIGINT)
    async with asyncio.timeout(60):
        _, errors = await gateway.communicate()
    writer.close()
    assert gateway.returncode == 0
    assert b"Traceback" not in errors


@pytest.mark.parametrize("variable", ["PORT", "OPENALGO_PORT"])
async def test_a_taken_port_is_one_sentence(
    start: Start, ports: dict[str, str], variable: str
) -> None:
    with socket.create_server(("127.0.0.1", int(ports[variable]))):
        gateway = await start()
        async with asyncio.timeout(90):
            _, errors = await gateway.communicate()
    assert gateway.returncode == 1
    text = errors.decode()
    assert f"port {ports[variable]}" in text
    assert f"set {variable}" in text
    assert "Traceback" not in text


async def test_spoiled_requests_cost_the_log_one_line(
    edge: EdgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
        writer.write(b"\x16\x03\x01 no request\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert len([each for each in caplog.records if each.name == "uvicorn.error"]) <= 1
