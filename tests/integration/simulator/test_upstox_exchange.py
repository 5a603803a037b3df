"""The local exchange as Upstox: redirect and codes, limits, modes, statuses, pings, master."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from brokers.simulator.upstox.encoder import key_of
from brokers.simulator.upstox.exchange import (
    AUTHORIZE_PATH,
    FEED_PATH,
    FEEDER_PATH,
    MASTER_PATH,
    UpstoxExchange,
)
from brokers.types import FeedMode
from brokers.upstox.codec import Frame, decode_frame
from brokers.upstox.symbols import parse_master
from tests.fix_simulator import ACCESS_TOKEN, MakeUpstoxServer
from tests.support import eventually

NIFTY, SENSEX = "NSE_INDEX|Nifty 50", "BSE_INDEX|SENSEX"
GOOD = {"Authorization": f"Bearer {ACCESS_TOKEN}"}


class Client:
    def __init__(self, server: UpstoxExchange, connection: ClientConnection) -> None:
        self.connection = connection
        keys = [key_of(item) for item in server.market.instruments()]
        self._wanted = dict.fromkeys(keys, FeedMode.DEPTH)

    async def ask(self, method: str, mode: str | None, keys: Iterable[str]) -> None:
        data: dict[str, Any] = {"instrumentKeys": list(keys)}
        data |= {} if mode is None else {"mode": mode}
        request = {"guid": "g", "method": method, "data": data}
        await self.connection.send(json.dumps(request).encode())

    async def frame(self) -> Frame:
        async with asyncio.timeout(30):
            frame = await self.connection.recv()
        assert isinstance(frame, bytes)
        return decode_frame(frame, self._wanted)

    async def ticks(self, *keys: str) -> dict[str, FeedMode]:
        """Receive until each key has ticked; the mode of the latest tick of each."""
        seen: dict[str, FeedMode] = {}
        while not set(keys) <= set(seen):
            decoded = await self.frame()
            for tick, levels in zip(decoded.ticks, decoded.levels, strict=True):
                mode = FeedMode.DEPTH if levels else FeedMode.LTP
                seen[str(tick.broker_token)] = mode
        return seen


@asynccontextmanager
async def upstox_client(
    server: UpstoxExchange, headers: dict[str, str] | None = None, path: str = FEED_PATH
) -> AsyncIterator[Client]:
    async with connect(
        f"{server.url}{path}",
        additional_headers=GOOD if headers is None else headers,
        compression=None,
        close_timeout=1,
        max_size=None,
        ping_interval=None,
    ) as connection:
        yield Client(server, connection)


async def refusal(
    server: UpstoxExchange, headers: dict[str, str] | None = None, path: str = FEED_PATH
) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with upstox_client(server, headers, path):
            pass
    return refused.value.response.status_code


@asynccontextmanager
async def http_client(server: UpstoxExchange) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.http_url, trust_env=False, timeout=30) as http:
        yield http


async def test_the_feed_redirects_to_the_feeder_which_says_first_what_markets_do(
    make_upstox_server: MakeUpstoxServer,
):
    server = await make_upstox_server(rate=0)
    async with upstox_client(server) as client:
        assert client.connection.request is not None
        assert urlsplit(client.connection.request.path).path == FEEDER_PATH
        statuses = (await client.frame()).statuses
        await client.ask("sub", "ltpc", [NIFTY, SENSEX])
        assert await client.ticks(NIFTY, SENSEX) == dict.fromkeys((NIFTY, SENSEX), FeedMode.LTP)
    assert set(statuses.values()) == {"NORMAL_OPEN"}
    assert {"NSE_EQ", "NSE_INDEX", "MCX_FO"} <= set(statuses)
    assert server.record().complaints() == []


async def test_an_address_opens_one_connection_and_the_authorize_call_gives_another(
    make_upstox_server: MakeUpstoxServer,
):
    server = await make_upstox_server()
    async with http_client(server) as http:
        answer = (await http.get(AUTHORIZE_PATH, headers=GOOD)).json()
        refused = await http.get(AUTHORIZE_PATH, headers={"Authorization": "Bearer wrong"})
    assert (refused.status_code, refused.json()["status"]) == (401, "error")
    uri = urlsplit(answer["data"]["authorized_redirect_uri"])
    assert set(parse_qs(uri.query)) == {"requestId", "code"}
    path = f"{uri.path}?{uri.query}"
    async with upstox_client(server, {}, path):
        assert await refusal(server, {}, path) == 403
    assert await refusal(server, GOOD, f"{FEEDER_PATH}?code=x") == 403
    assert await refusal(server, GOOD, "/") == 404


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": ACCESS_TOKEN}, {"Authorization": "Bearer wrong"}],
)
async def test_a_bad_credential_is_refused(
    make_upstox_server: MakeUpstoxServer, headers: dict[str, str]
):
    server = await make_upstox_server()
    assert await refusal(server, headers) == 401
    assert server.record().refused == {"401": 1}


async def test_an_expired_token_is_refused_and_open_connections_stay(
    make_upstox_server: MakeUpstoxServer,
):
    server = await make_upstox_server(rate=0)
    async with upstox_client(server) as client:
        server.expire_token()
        assert await refusal(server) == 401
        await client.ask("sub", "full", [NIFTY])
        await client.ticks(NIFTY)
        server.set_token("fresh")
        async with upstox_client(server, {"Authorization": "Bearer fresh"}):
            pass


async def test_the_third_connection_of_a_user_is_refused(make_upstox_server: MakeUpstoxServer):
    server = await make_upstox_server(access_token="")
    async with upstox_client(server), upstox_client(server):
        assert await refusal(server) == 429
        async with upstox_client(server, {"Authorization": "Bearer other"}):
            pass
    await eventually(lambda: server.record().open == 0)
    async with upstox_client(server):
        pass


async def test_a_plus_account_has_five_connections_and_thirty_levels(
    make_upstox_server: MakeUpstoxServer,
):
    server = await make_upstox_server(rate=0, plan="plus")
    quote = next(each for each in server.market.quotes.values() if not each.instrument.is_index)
    key = key_of(quote.instrument)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(upstox_client(server)) for _ in range(5)]
        assert await refusal(server) == 429
        await clients[0].ask("sub", "full_d30", [key])
        while not (decoded := await clients[0].frame()).ticks:
            pass
        assert (decoded.levels, len(decoded.ticks[0].asks or ())) == ([30], 30)


async def test_a_normal_account_gets_no_answer_to_thirty_levels(
    make_upstox_server: MakeUpstoxServer,
):
    server = await make_upstox_server(rate=0)
    async with upstox_client(server) as client:
        await client.ask("sub", "full_d30", [NIFTY])
        await eventually(lambda: server.record().total("over_limit") == 1)
        await client.ask("sub", "full", [NIFTY])
        assert await client.ticks(NIFTY) == {NIFTY: FeedMode.DEPTH}


async def test_a_key_ticks_in_its_mode_until_it_ends(make_upstox_server: MakeUpstoxServer):
    server = await make_upstox_server(rate=1_000)
    share = next(key_of(each) for each in server.market.instruments() if not each.is_index)
    async with upstox_client(server) as client:
        await client.ask("sub", "ltpc", [share])
        assert await client.ticks(share) == {share: FeedMode.LTP}
        await client.ask("change_mode", "full", [share])
        async with asyncio.timeout(30):
            while await client.ticks(share) != {share: FeedMode.DEPTH}:
                pass
        await client.ask("unsub", None, [share])
        await eventually(lambda: server.record().subscribed == 0)
        await client.ask("sub", "ltpc", [NIFTY])
        await client.ticks(NIFTY)
        for _ in range(3):
            assert set(await client.ticks(NIFTY)) == {NIFTY}
    assert server.record().complaints() == []


async def test_a_users_keys_count_over_connections_and_too_many_get_no_answer(
    make_upstox_server: MakeUpstoxServer,
):
    server = await make_upstox_server(rate=0, max_keys=1)
    async with upstox_client(server) as one, upstox_client(server) as other:
        await one.ask("sub", "full", [NIFTY])
        await one.ticks(NIFTY)
        await other.ask("sub", "full", [SENSEX])
        await eventually(lambda: server.record().total("over_limit") == 1)
        await one.ask("unsub", None, [NIFTY])
        await eventually(lambda: server.record().subscribed == 0)
        await other.ask("sub", "full", [SENSEX])
        await other.ticks(SENSEX)


async def test_bad_manners_are_recorded_and_not_answered(make_upstox_server: MakeUpstoxServer):
    server = await make_upstox_server(rate=0)
    async with upstox_client(server) as client:
        await client.connection.send('{"guid":"g","method":"sub","data":{"instrumentKeys":[]}}')
        await client.connection.send(b"{")
        await client.ask("sub", "ltpc", [NIFTY, NIFTY, "NSE_EQ|nobody"])
        await client.ask("unsub", None, [SENSEX])
        await client.ask("sub", "ltpc", [SENSEX])
        await client.ticks(NIFTY, SENSEX)
    record = server.record()
    counted = [record.total(name) for name in ("duplicates", "unknown", "not_subscribed")]
    assert (counted, record.total("malformed")) == ([1, 1, 1], 2)


async def test_a_market_that_closes_is_told_to_everybody(make_upstox_server: MakeUpstoxServer):
    server = await make_upstox_server(rate=0)
    async with upstox_client(server) as client:
        await client.frame()
        assert server.set_market_status("NSE_EQ", "NORMAL_CLOSE") == 1
        assert (await client.frame()).statuses["NSE_EQ"] == "NORMAL_CLOSE"
    for segment, status in (("NSE", "NORMAL_OPEN"), ("NSE_EQ", "open")):
        with pytest.raises(ValueError, match="must be one of"):
            server.set_market_status(segment, status)


async def test_a_link_that_rests_is_pinged(make_upstox_server: MakeUpstoxServer):
    server = await make_upstox_server(rate=0, ping_seconds=0.05)
    pings: list[bytes] = []

    class Watching(ClientConnection):
        def process_event(self, event: Any) -> None:
            if getattr(event, "opcode", None) == 9:
                pings.append(bytes(event.data))
            super().process_event(event)

    async with connect(
        f"{server.url}{FEED_PATH}",
        additional_headers=GOOD,
        create_connection=Watching,
        ping_interval=None,
    ):
        await eventually(lambda: len(pings) >= 2)


async def test_the_master_is_served_and_names_what_ticks(make_upstox_server: MakeUpstoxServer):
    server = await make_upstox_server()
    async with http_client(server) as http:
        master = (await http.get(MASTER_PATH)).content
        assert (await http.get("/instruments")).status_code == 404
    rows = list(parse_master(io.BytesIO(master)))
    assert {row.broker_token for row in rows} == set(map(key_of, server.market.instruments()))
    by_symbol = {(row.exchange, row.symbol): row for row in rows}
    assert len(by_symbol) == len(rows)
    assert by_symbol["NSE_INDEX", "NIFTY"].broker_token == NIFTY
    assert by_symbol["NSE", "INFY"].tick_size == "0.05"
