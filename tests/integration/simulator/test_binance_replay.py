"""A capture played as Binance: exact bytes, limits, pings."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from brokers.simulator.binance.capture import Capture, parse_capture
from brokers.simulator.binance.exchange import BinanceReplay
from brokers.simulator.binance.session import MAX_STREAMS, RequestRate
from tests.fix_running_time import RunningTime
from tests.support import SHARED_DATA, eventually

BOOK, TRADE = "btcusdt@bookTicker", "ethusdt@aggTrade"


def small_capture(count: int = 40, gap_seconds: float = 0.01) -> Capture:
    lines = [f"wss://x/stream?streams={BOOK}/{TRADE} <-> 0"]
    for number in range(count):
        stream = (BOOK, TRADE)[number % 2]
        payload = f'{{"u":{number}, "s":"X","b":"{number}.50"}}'
        lines.append(f'{100 + number * gap_seconds}: {{"stream":"{stream}", "data":{payload}}}')
    return parse_capture("\n".join(lines).encode())


MakeReplay = Callable[..., Awaitable[BinanceReplay]]


@pytest.fixture
async def make_replay() -> AsyncIterator[MakeReplay]:
    async with AsyncExitStack() as stack:

        async def make(capture: Capture | None = None, **options: Any) -> BinanceReplay:
            defaults: dict[str, Any] = {"speed": 0, "settle_seconds": 0.05}
            replay = BinanceReplay(capture=capture or small_capture(), **(defaults | options))
            return await stack.enter_async_context(replay)

        yield make


async def receive(connection: ClientConnection, count: int) -> list[str]:
    async with asyncio.timeout(60):
        return [str(await connection.recv()) for _ in range(count)]


async def ask(connection: ClientConnection, method: str, *params: Any, id: int = 1) -> Any:
    await connection.send(json.dumps({"method": method, "params": list(params), "id": id}))
    async with asyncio.timeout(30):
        return json.loads(await connection.recv())


def messages(capture: Capture, *streams: str) -> list[str]:
    return [frame.message.decode() for frame in capture.frames if frame.stream in streams]


@pytest.mark.skipif(not SHARED_DATA.exists(), reason="recorded data is not here")
@pytest.mark.parametrize("name", ["capture_BINANCE.ws.1.0", "capture_BINANCE_FUTURES.ws.1.0"])
async def test_every_frame_of_a_real_capture_arrives_once_in_order_with_its_bytes(
    make_replay: MakeReplay, name: str
):
    content = (SHARED_DATA / name).read_bytes()
    raw = [line.partition(b": ")[2].decode() for line in content.splitlines()[1:] if line]
    capture = parse_capture(content)
    replay = await make_replay(capture)
    url = f"{replay.url}/stream?streams={'/'.join(capture.streams)}"
    async with connect(url) as connection:
        assert await receive(connection, len(raw)) == raw
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connection.recv()
    record = replay.record()
    assert sum(record.frames_by_stream.values()) == len(raw)
    assert record.complaints() == []


async def test_streams_subscribed_in_batches_miss_nothing(make_replay: MakeReplay):
    capture = small_capture()
    replay = await make_replay(capture, settle_seconds=1000)
    loop = asyncio.get_running_loop()
    async with connect(f"{replay.url}/stream") as connection:
        assert await ask(connection, "SUBSCRIBE", BOOK) == {"result": None, "id": 1}
        first_settled = loop.time() + 1000
        await ask(connection, "SUBSCRIBE", "nobody@trade")
        replay._turn(first_settled)  # too early for the second one
        assert await ask(connection, "SUBSCRIBE", TRADE, id=2) == {"result": None, "id": 2}
        replay._turn(loop.time() + 1000)
        assert await receive(connection, 40) == messages(capture, BOOK, TRADE)


async def test_each_connection_gets_its_own_streams(make_replay: MakeReplay):
    capture = small_capture()
    replay = await make_replay(capture)
    async with (
        connect(f"{replay.url}/stream?streams={BOOK}") as one,
        connect(f"{replay.url}/stream?streams={TRADE}") as other,
    ):
        assert await receive(one, 20) == messages(capture, BOOK)
        assert await receive(other, 20) == messages(capture, TRADE)
    assert replay.record().frames_by_stream == {BOOK: 20, TRADE: 20}


@pytest.mark.parametrize("path", [f"/ws/{BOOK}", f"/ws/{BOOK.replace('@', '%40')}"])
async def test_raw_streams_carry_the_bare_payload(make_replay: MakeReplay, path: str):
    capture = small_capture()
    replay = await make_replay(capture)
    async with connect(replay.url + path) as connection:
        expected = [frame.payload.decode() for frame in capture.frames if frame.stream == BOOK]
        assert await receive(connection, 20) == expected


async def test_combined_can_be_switched_on_for_a_raw_connection(make_replay: MakeReplay):
    capture = small_capture()
    replay = await make_replay(capture)
    async with connect(f"{replay.url}/ws") as connection:
        assert (await ask(connection, "GET_PROPERTY", "combined"))["result"] is False
        await ask(connection, "SET_PROPERTY", "combined", True)
        await ask(connection, "SUBSCRIBE", BOOK)
        assert await receive(connection, 20) == messages(capture, BOOK)


@pytest.mark.parametrize(("speed", "seconds"), [(1, 0.39), (4, 0.0975)])
async def test_the_pace_is_that_of_the_recording_times_speed(
    make_replay: MakeReplay, running_time: RunningTime, speed: float, seconds: float
):
    replay = await make_replay(speed=speed, settle_seconds=0)
    started = time.monotonic()
    async with connect(f"{replay.url}/stream?streams={BOOK}/{TRADE}") as connection:
        await receive(connection, 40)
        assert seconds <= time.monotonic() - started
    assert running_time.seconds < seconds + 5


async def test_a_loop_starts_again(make_replay: MakeReplay):
    capture = small_capture(count=4)
    replay = await make_replay(capture, speed=1, loop=True)
    async with connect(f"{replay.url}/stream?streams={BOOK}/{TRADE}") as connection:
        assert await receive(connection, 8) == 2 * messages(capture, BOOK, TRADE)


async def test_silence_postpones_and_loses_nothing(make_replay: MakeReplay):
    capture = small_capture()
    replay = await make_replay(capture, speed=1)
    async with connect(f"{replay.url}/stream?streams={BOOK}/{TRADE}") as connection:
        first = await receive(connection, 5)
        replay.go_silent()
        await asyncio.sleep(0.2)
        replay.speak()
        assert first + await receive(connection, 35) == messages(capture, BOOK, TRADE)


@pytest.fixture
def long_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second of the message rate last as long as the test."""
    allows = RequestRate.allows
    monkeypatch.setattr(RequestRate, "allows", lambda rate, now: allows(rate, 0.0))


@pytest.mark.usefixtures("long_second")
async def test_six_messages_in_a_second_end_the_connection_with_1008(make_replay: MakeReplay):
    replay = await make_replay()
    async with connect(f"{replay.url}/ws") as connection:
        for number in range(5):
            await ask(connection, "LIST_SUBSCRIPTIONS", id=number)
        with pytest.raises(ConnectionClosed) as closed:
            await ask(connection, "LIST_SUBSCRIPTIONS", id=6)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1008, "Too many requests")
    await eventually(lambda: replay.record().open == 0)
    assert replay.record().complaints() == ["1 message(s) faster than allowed"]


@pytest.mark.usefixtures("long_second")
async def test_pings_count_as_messages(make_replay: MakeReplay):
    replay = await make_replay()
    async with connect(f"{replay.url}/ws", ping_interval=None) as connection:
        for _ in range(6):
            await connection.ping()
        with pytest.raises(ConnectionClosed):
            await connection.recv()


async def test_pings_carry_milliseconds_and_want_an_answer(make_replay: MakeReplay):
    replay = await make_replay(
        ping_interval_seconds=1000, pong_timeout_seconds=1000, clock=lambda: 1_700_000_000.0
    )
    async with connect(f"{replay.url}/ws") as polite:
        reader, writer = await asyncio.open_connection("127.0.0.1", replay.port)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        async with asyncio.timeout(60):
            await reader.readuntil(b"\r\n\r\n")
            due = asyncio.get_running_loop().time() + 1000
            replay._turn(due)
            # Opcode 9 and final: a ping. This client answers none, so the exchange cuts it off.
            assert await reader.readexactly(2 + 13) == b"\x89\x0d1700000000000"
            # The first answer is behind the ping, and the second request behind the pong.
            for _ in range(2):
                await ask(polite, "LIST_SUBSCRIPTIONS")
            replay._turn(due + 1001)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1_000_000)
        writer.close()
        await eventually(lambda: replay.record().open == 1)
        assert (await ask(polite, "LIST_SUBSCRIPTIONS"))["result"] == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/kite", 404),
        ("/", 404),
        (f"/stream?streams={'/'.join(map(str, range(MAX_STREAMS + 1)))}", 400),
        (f"/ws/{'/'.join(map(str, range(MAX_STREAMS + 1)))}", 400),
    ],
    ids=["kite", "root", "combined", "raw"],
)
async def test_wrong_paths_and_too_many_streams_are_refused(
    make_replay: MakeReplay, path: str, status: int
):
    replay = await make_replay()
    with pytest.raises(InvalidStatus) as refused:
        await connect(replay.url + path)
    assert refused.value.response.status_code == status


async def test_unknown_streams_are_accepted_stay_empty_and_are_recorded(make_replay: MakeReplay):
    replay = await make_replay()
    async with connect(f"{replay.url}/stream?streams=nobody@trade/{BOOK}/{BOOK}") as connection:
        await receive(connection, 20)
    record = replay.record()
    assert (record.total("unknown"), record.total("duplicates")) == (1, 1)


async def test_shutdown_notice_and_malformed_frames_can_be_sent(make_replay: MakeReplay):
    replay = await make_replay(clock=lambda: 5.0)
    async with connect(f"{replay.url}/stream") as combined, connect(f"{replay.url}/ws") as raw:
        assert replay.send_shutdown() == 2
        event = {"e": "serverShutdown", "E": 5000}
        assert json.loads(await combined.recv()) == {"stream": "!serverShutdown", "data": event}
        assert json.loads(await raw.recv()) == event
        replay.send_malformed()
        with pytest.raises(json.JSONDecodeError):
            json.loads(await combined.recv())


async def test_exchange_info_is_served(make_replay: MakeReplay):
    replay = await make_replay()
    async with httpx2.AsyncClient(base_url=replay.http_url, trust_env=False, timeout=30) as http:
        info = (await http.get("/api/v3/exchangeInfo")).json()
        assert [item["symbol"] for item in info["symbols"]] == ["BTCUSDT", "ETHUSDT"]
        assert (await http.get("/instruments")).status_code == 404
