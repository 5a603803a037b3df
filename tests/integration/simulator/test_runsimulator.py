"""``manage.py runsimulator`` as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.support import free_port

ROOT = Path(__file__).resolve().parents[3]
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start the command with arguments and environment; what still runs afterwards is killed."""
    async with AsyncExitStack() as stack:

        async def start_one(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "manage.py"),
                "runsimulator",
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={
                    **os.environ,
                    "DATA_DIR": str(tmp_path),
                    "PYTHONUNBUFFERED": "",
                    "SIMULATOR_LOGIN_PORT": str(free_port()),
                    **environment,
                },
            )
            stack.push_async_callback(end, process)
            return process

        yield start_one


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def first_line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(90):
        return (await process.stdout.readline()).decode().strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_says_where_it_listens_serves_and_stops_at_a_signal(
    start: Start, number: signal.Signals
):
    port = free_port()
    process = await start("--rate", "500", SIMULATOR_PORT=str(port), SIMULATOR_API_KEY="k")
    url = f"ws://127.0.0.1:{port}"
    assert await first_line(process) == f"The local exchange listens on {url}"
    async with connect(f"{url}/?api_key=k&access_token=t") as connection:
        await connection.send('{"a":"subscribe","v":[408065]}')
        while len(frame := await connection.recv(decode=False)) == 1:
            pass  # heartbeats
        assert int.from_bytes(frame[4:8], "big") == 408065
        process.send_signal(number)
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_a_taken_port_is_one_sentence_and_exit_1(start: Start):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        process = await start("--port", str(port))
        async with asyncio.timeout(90):
            out, errors = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    sentence = f"Port {port} is already taken; free it or set SIMULATOR_PORT to another one."
    assert errors.decode() == f"CommandError: {sentence}\n"


async def test_it_replays_a_capture(start: Start, tmp_path: Path):
    stream, payload = "btcusdt@bookTicker", '{"u":1,"s":"BTCUSDT","b":"1","B":"2","a":"3","A":"4"}'
    message = f'{{"stream":"{stream}","data":{payload}}}'
    file = tmp_path / "capture"
    file.write_text(f"wss://x/stream?streams={stream} <-> 1\n1.5: {message}\n")
    port = free_port()
    process = await start("--port", str(port), "--replay", str(file), "--speed", "0")
    await first_line(process)
    async with connect(f"ws://127.0.0.1:{port}/stream?streams={stream}") as connection:
        assert await connection.recv() == message
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        info = (await http.get(f"http://127.0.0.1:{port}/api/v3/exchangeInfo")).json()
    assert json.dumps(info).count("BTCUSDT") == 1


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        (None, (), "cannot be read: No such file or directory"),
        ("nonsense", (), "cannot be replayed: the capture holds no frames"),
        ("x\n1: {}", (), "cannot be replayed: line 2 of the capture"),
        ('x\n1: {"stream":"s","data":1}', ("--speed", "-1"), "speed must not be negative"),
    ],
)
async def test_what_cannot_be_replayed_is_one_sentence_and_exit_1(
    start: Start, tmp_path: Path, content: str | None, arguments: tuple[str, ...], sentence: str
):
    file = tmp_path / "capture"
    if content is not None:
        file.write_text(content)
    process = await start("--port", str(free_port()), "--replay", str(file), *arguments)
    async with asyncio.timeout(90):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert sentence in errors.decode()
    assert errors.decode().count("\n") == 1


async def test_it_speaks_as_another_broker(start: Start):
    port = free_port()
    process = await start("--broker", "angel", "--port", str(port))
    await first_line(process)
    headers = dict.fromkeys(("Authorization", "x-api-key", "x-client-code", "x-feed-token"), "t")
    url = f"ws://127.0.0.1:{port}/smart-stream"
    async with connect(url, additional_headers=headers) as connection:
        await connection.send("ping")
        assert await connection.recv() == "pong"


async def test_its_logins_are_beside_it_and_the_only_ones_if_asked(start: Start):
    port, login_port = free_port(), free_port()
    process = await start(
        *("--port", str(port), "--login-port", str(login_port), "--only-logins"),
        *("--login-redirect", "https://pool.example"),
        SIMULATOR_CONTROL_TOKEN="c",
    )
    await first_line(process)
    url = f"http://127.0.0.1:{login_port}"
    assert await first_line(process) == f"Logins are at {url}, which says who may"
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        assert "https://pool.example/brokers/zerodha/callback/" in (await http.get(url)).text
        moved = await http.get(
            f"{url}/control/advance_clock",
            params={"seconds": "1"},
            headers={"X-Control-Token": "c"},
        )
        assert moved.status_code == 200
    with pytest.raises(InvalidStatus):
        async with connect(f"ws://127.0.0.1:{port}/?api_key=k&access_token=t"):
            pass
