"""The local exchange as Fyers: credential, limits, channels, acknowledgements, masters."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from brokers.fyers.answers import CustomMessage, Reply
from brokers.fyers.codec import Data, FyersDecoder
from brokers.fyers.requests import encode_ack, encode_auth, encode_mode, encode_topics
from brokers.simulator.fyers.exchange import PATH, FyersExchange
from brokers.types import FeedMode, Tick
from tests.fix_simulator import ACCESS_TOKEN, MakeFyersServer
from tests.support import eventually

INFY, BOOK = "sf|nse_cm|1594", "dp|nse_cm|1594"
SBIN, RELIANCE = "sf|nse_cm|3045", "sf|nse_cm|2885"
NIFTY = "if|nse_cm|Nifty 50"
AUTH, SUBSCRIBE, UNSUBSCRIBE, PAUSE, RESUME, MODE = 1, 4, 5, 7, 8, 12


class FyersClient:
    """Asks in bytes and reads with a decoder; what is not data is kept in ``said``."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.decoder = FyersDecoder()
        for token in (INFY, SBIN, RELIANCE, NIFTY):
            self.decoder.track(token, FeedMode.DEPTH)
        self.frames: list[Data] = []

    async def answer(self) -> Reply | CustomMessage:
        """Receive up to the next frame that is no data, and return it."""
        async with asyncio.timeout(10):
            while True:
                said = self.decoder.decode(await self._frame())
                if isinstance(said, Data):
                    self.frames.append(said)
                elif said is not None:
                    return said

    async def ask(self, message: bytes) -> Reply | CustomMessage:
        await self.connection.send(message)
        return await self.answer()

    async def subscribe(self, topics: Iterable[str], channel: int = 11) -> Reply | CustomMessage:
        return await self.ask(encode_topics(topics, channel))

    async def data(self) -> Data:
        """Receive one data frame."""
        async with asyncio.timeout(10):
            while not self.frames:
                said = self.decoder.decode(await self._frame())
                if isinstance(said, Data):
                    self.frames.append(said)
        return self.frames.pop(0)

    async def ticks(self) -> list[Tick]:
        return (await self.data()).ticks

    async def _frame(self) -> bytes:
        frame = await self.connection.recv()
        assert isinstance(frame, bytes)
        return frame


@asynccontextmanager
async def fyers_client(
    server: FyersExchange, key: str = ACCESS_TOKEN, **options: Any
) -> AsyncIterator[FyersClient]:
    async with connect(
        f"{server.url}{PATH}", compression=None, close_timeout=1, ping_interval=None, **options
    ) as connection:
        client = FyersClient(connection)
        if key:
            await connection.send(encode_auth(key, "test"))
        yield client


async def test_a_credential_is_answered_on_the_open_socket(make_fyers_server: MakeFyersServer):
    server = await make_fyers_server(ack_every=7)
    async with fyers_client(server, "stale") as client:
        assert await client.answer() == Reply(AUTH, "N", 0)
        # It stays open, and what is asked further is refused.
        assert await client.subscribe([INFY]) == Reply(SUBSCRIBE, "N")
        assert await client.ask(encode_auth(ACCESS_TOKEN, "test")) == Reply(AUTH, "K", 7)
        assert await client.subscribe([INFY]) == Reply(SUBSCRIBE, "K")
    assert server.record().refused == {"401": 1}


async def test_the_mode_may_be_asked_for_before_the_answer_to_the_key(
    make_fyers_server: MakeFyersServer,
):
    server = await make_fyers_server()
    async with fyers_client(server) as client:
        assert await client.ask(encode_mode(11, is_lite=False)) == Reply(AUTH, "K", 50)
        assert await client.answer() == Reply(MODE, "K")


async def test_who_sends_a_header_is_never_answered(make_fyers_server: MakeFyersServer):
    server = await make_fyers_server(rate=0)
    headers = {"Authorization": ACCESS_TOKEN}
    async with fyers_client(server, additional_headers=headers) as client:
        await client.connection.send(encode_topics([INFY], 11))
        await eventually(lambda: server.record().messages == 2)
        await (await client.connection.ping())
        assert server.record().frames_sent == 0


async def test_another_path_is_not_there(make_fyers_server: MakeFyersServer):
    server = await make_fyers_server()
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{server.url}/hsm/v1-4/prod"):
            pass
    assert refused.value.response.status_code == 404


async def test_snapshots_come_at_once_and_then_what_has_changed(
    make_fyers_server: MakeFyersServer,
):
    server = await make_fyers_server(rate=0)
    async with fyers_client(server) as client:
        await client.answer()
        assert await client.subscribe([INFY, BOOK, NIFTY]) == Reply(SUBSCRIBE, "K")
        first = await client.ticks()
        assert [(tick.broker_token, tick.mode) for tick in first] == [
            *((INFY, FeedMode.QUOTE), (INFY, FeedMode.DEPTH), (NIFTY, FeedMode.DEPTH)),
        ]
        server.set_rate(5_000)
        await client.ticks()
        server.set_rate(0)
        reply = await client.ask(encode_topics([INFY, BOOK, NIFTY], 11, is_end=True))
        assert reply == Reply(UNSUBSCRIBE, "K")
        latest: dict[str | int, Tick] = {}
        for data in client.frames:
            latest |= {tick.broker_token: tick for tick in data.ticks}
        quotes = {quote.instrument.tradingsymbol: quote for quote in server.market.quotes.values()}
        for token, tick in latest.items():
            symbol = {INFY: "INFY", NIFTY: "NIFTY 50"}[str(token)]
            assert quotes[symbol].low <= (tick.ltp or 0) <= quotes[symbol].high
    await eventually(lambda: server.record().open == 0)
    assert server.record().complaints() == []


async def test_a_lite_channel_has_last_prices_and_a_paused_one_nothing(
    make_fyers_server: MakeFyersServer,
):
    server = await make_fyers_server(rate=0)
    async with fyers_client(server) as client:
        await client.answer()
        assert await client.ask(encode_mode(12, is_lite=True)) == Reply(MODE, "K")
        await client.subscribe([INFY], channel=12)
        (snapshot,) = await client.ticks()
        assert snapshot.mode is FeedMode.QUOTE
        server.set_rate(5_000)
        (tick,) = await client.ticks()
        assert (tick.mode, tick.volume) == (FeedMode.LTP, None)
        mask = struct.pack(">Q", 1 << 12)
        pause = b"\0\0" + bytes((PAUSE, 1, 1, 0, 8)) + mask
        assert await client.ask(pause) == Reply(PAUSE, "K")
        client.frames.clear()
        await client.subscribe([SBIN])
        for _ in range(20):
            assert {tick.broker_token for tick in await client.ticks()} <= {SBIN}
        resume = b"\0\0" + bytes((RESUME, 1, 1, 0, 8)) + mask
        assert await client.ask(resume) == Reply(RESUME, "K")
        async with asyncio.timeout(10):
            while INFY not in {tick.broker_token for tick in await client.ticks()}:
                pass


async def test_what_is_not_acknowledged_is_followed_by_nothing(
    make_fyers_server: MakeFyersServer,
):
    server = await make_fyers_server(rate=5_000, ack_every=2)
    async with fyers_client(server) as client:
        assert await client.answer() == Reply(AUTH, "K", 2)
        await client.subscribe([INFY])
        numbers = [(await client.data()).number for _ in range(5)]
        assert numbers == [1, 2, 3, 4, 5]
        # All that was sent has arrived with the answer to a request.
        await client.ask(encode_mode(11, is_lite=False))
        assert client.frames == []
        await client.connection.send(encode_ack(4))
        assert (await client.data()).number == 6
    assert server.acknowledgements == 1


async def test_symbols_beyond_the_limit_of_a_key_are_refused_one_by_one(
    make_fyers_server: MakeFyersServer,
):
    server = await make_fyers_server(rate=0, max_symbols=2)
    limit = CustomMessage(51001, "Symbol limit exceeded", SUBSCRIBE)
    async with fyers_client(server) as one, fyers_client(server) as other:
        await one.answer()
        await other.answer()
        await one.subscribe([INFY, BOOK])
        assert await other.subscribe([INFY, SBIN, RELIANCE]) == limit
        assert await other.answer() == Reply(SUBSCRIBE, "K")
        assert [tick.broker_token for tick in await other.ticks()] == [INFY, SBIN]
        assert await one.subscribe([RELIANCE]) == limit
        assert await one.answer() == Reply(SUBSCRIBE, "N")
    record = server.record()
    assert (record.total("over_limit"), record.peak_subscribed) == (2, 2)


async def test_bad_manners_are_recorded(make_fyers_server: MakeFyersServer):
    server = await make_fyers_server(rate=0)
    async with fyers_client(server) as client:
        await client.answer()
        await client.subscribe([INFY, INFY, "sf|nse_cm|1"])
        await client.ask(encode_topics([SBIN], 11, is_end=True))
        for message in ("text", b"", b"\0\0\x63\0", b"\0\0\x04\x01\x01\xff\xff"):
            await client.connection.send(message)
        await client.connection.send(bytes.fromhex("00010b"))
        await eventually(lambda: server.record().total("malformed") == 4)
    record = server.record()
    counted = [record.total(name) for name in ("duplicates", "unknown", "not_subscribed")]
    assert counted == [1, 1, 1]


async def test_errors_and_malformed_frames_reach_the_clients(make_fyers_server: MakeFyersServer):
    server = await make_fyers_server()
    async with fyers_client(server) as client:
        await client.answer()
        assert server.send_error("sorry") == 1
        assert await client.answer() == CustomMessage(1, "sorry", 0)
        assert server.send_malformed() == 1
        async with asyncio.timeout(10):
            frame = await client.connection.recv()
    assert isinstance(frame, bytes)
    assert frame[2] == 6


async def test_the_masters_are_served(make_fyers_server: MakeFyersServer):
    server = await make_fyers_server()
    async with httpx2.AsyncClient(base_url=server.http_url, trust_env=False) as http:
        for name in ("NSE_CM.csv", "index_hsm_mapping.json"):
            answer = await http.get(f"/sym_details/{name}")
            assert answer.status_code == 200
            assert b"NIFTY50-INDEX" in answer.content
        for path in ("/sym_details/BSE_CD.csv", "/NSE_CM.csv", "/sym_details/"):
            assert (await http.get(path)).status_code == 404


def test_a_negative_number_of_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="ack_every"):
        FyersExchange(market=None, ack_every=-1)  # type: ignore[arg-type]
