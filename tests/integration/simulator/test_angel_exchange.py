"""The local exchange as Angel One: handshake, limits, pairs, heartbeat, errors, master."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from brokers.angel.symbols import parse_master
from brokers.simulator.angel.encoder import AngelMode, AngelName, encode_tick, name_of
from brokers.simulator.angel.exchange import (
    MASTER_PATH,
    MAX_CONNECTIONS,
    PATH,
    PING_SECONDS,
    AngelExchange,
)
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, MakeAngelServer
from tests.integration.simulator.angel_client import (
    SUBSCRIBE,
    UNSUBSCRIBE,
    AngelClient,
    angel_client,
    good_headers,
)
from tests.support import eventually

INFY, NIFTY_50 = AngelName(1, "1594"), AngelName(1, "99926000")
LTP, QUOTE, SNAP, DEPTH_20 = 1, 2, 3, 4


async def refusal(
    server: AngelExchange, headers: dict[str, str], path: str = PATH
) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{server.url}{path}", additional_headers=headers):
            pass
    response = refused.value.response
    return response.status_code, response.headers.get("x-error-message", "")


@pytest.mark.parametrize(
    ("header", "value", "part"),
    [
        ("Authorization", "wrong", "Auth token"),
        ("Authorization", "", "Auth token"),
        ("x-client-code", "", "Client Code"),
        ("x-api-key", "wrong", "API Key"),
        ("x-feed-token", "", "Feed Token"),
    ],
)
async def test_a_refusal_names_the_part_that_is_wrong(
    make_angel_server: MakeAngelServer, header: str, value: str, part: str
):
    server = await make_angel_server()
    answer = await refusal(server, good_headers() | {header: value})
    assert answer == (401, f"Invalid Header - Invalid {part}")
    assert server.record().refused == {"401": 1}


async def test_the_jwt_is_taken_with_and_without_its_scheme_and_by_a_browser(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server(client_code="C123", feed_token="feed")
    async with angel_client(server, good_headers() | {"Authorization": f"Bearer {ACCESS_TOKEN}"}):
        pass
    query = f"clientCode=C123&feedToken=feed&apiKey={API_KEY}"
    async with connect(f"{server.url}{PATH}?{query}") as browser:
        await browser.send("ping")
        assert await browser.recv() == "pong"
    status, _ = await refusal(server, {}, f"{PATH}?{query.replace('feedToken=feed', '')}")
    assert status == 401


async def test_an_expired_token_is_refused_and_open_connections_stay(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server()
    async with angel_client(server) as client:
        server.expire_token()
        assert (await refusal(server, good_headers()))[0] == 401
        await client.connection.send("ping")
        assert await client.text() == "pong"
        server.set_token("fresh")
        async with angel_client(server, good_headers() | {"Authorization": "fresh"}):
            pass


async def test_the_fourth_connection_of_a_client_is_refused_with_429(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server()
    async with angel_client(server), angel_client(server), angel_client(server):
        assert MAX_CONNECTIONS == 3
        assert (await refusal(server, good_headers()))[0] == 429
        async with angel_client(server, good_headers() | {"x-client-code": "C124"}):
            pass
    await eventually(lambda: server.record().open == 0)
    async with angel_client(server):
        pass


async def test_another_path_is_not_found(make_angel_server: MakeAngelServer):
    server = await make_angel_server()
    assert (await refusal(server, good_headers(), "/"))[0] == 404


@pytest.mark.parametrize("mode", list(AngelMode))
async def test_subscribing_sends_current_values(
    make_angel_server: MakeAngelServer, mode: AngelMode
):
    server = await make_angel_server(rate=0)
    async with angel_client(server) as client:
        await client.ask(SUBSCRIBE, mode, [INFY, NIFTY_50])
        frames = await client.frames(2)
    quotes = {name_of(quote.instrument): quote for quote in server.market.quotes.values()}
    expected = [
        encode_tick(quotes[name], mode, sequence)
        for sequence, name in enumerate([INFY, NIFTY_50], 1)
    ]
    assert [frames[INFY, mode], frames[NIFTY_50, mode]] == expected


async def test_books_of_20_levels_may_have_ended(make_angel_server: MakeAngelServer):
    server = await make_angel_server(rate=0, has_depth_20=False)
    async with angel_client(server) as client:
        await client.ask(SUBSCRIBE, DEPTH_20, [INFY], "x1")
        answer = json.loads(await client.text())
        assert (answer["errorCode"], answer["correlationID"]) == ("E1001", "x1")
        await client.ask(SUBSCRIBE, SNAP, [INFY])
        assert set(await client.frames(1)) == {(INFY, SNAP)}


async def test_each_mode_of_a_token_ticks_for_itself_and_ends_for_itself(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server(rate=1_000)
    async with angel_client(server) as client:
        for mode in (LTP, QUOTE, SNAP):
            await client.ask(SUBSCRIBE, mode, [INFY])
        assert set(await client.frames(3)) == {(INFY, LTP), (INFY, QUOTE), (INFY, SNAP)}
        assert server.record().subscribed == 3
        await client.ask(UNSUBSCRIBE, LTP, [INFY])
        await client.ask(UNSUBSCRIBE, QUOTE, [INFY])
        await eventually(lambda: server.record().subscribed == 1)
        await drained(client)
        for _ in range(3):
            assert set(await client.frames(1)) == {(INFY, SNAP)}
    assert server.record().complaints() == []


async def drained(client: AngelClient) -> None:
    """Read up to the answer to a ping: whatever was under way has arrived then."""
    await client.connection.send("ping")
    assert await client.text() == "pong"


async def test_a_request_over_the_limit_is_refused_as_a_whole_and_the_link_stays(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server(rate=0, max_pairs=2)
    async with angel_client(server) as client:
        await client.ask(SUBSCRIBE, LTP, [INFY])
        await client.ask(SUBSCRIBE, QUOTE, [INFY, NIFTY_50], "second0001")
        assert json.loads(await client.text()) == {
            "correlationID": "second0001",
            "errorCode": "E1002",
            "errorMessage": "Invalid Request. Subscription Limit Exceeded",
        }
        await client.ask(SUBSCRIBE, QUOTE, [NIFTY_50])
        assert set(await client.frames(1)) == {(NIFTY_50, QUOTE)}
    (connection,) = server.record().connections
    assert (connection.peak_subscribed, connection.over_limit) == (2, 2)


async def test_bad_manners_are_recorded_and_malformed_ones_answered(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server(rate=0)
    async with angel_client(server) as client:
        await client.ask(SUBSCRIBE, LTP, [INFY, INFY, AngelName(1, "1")])
        await client.ask(UNSUBSCRIBE, SNAP, [INFY])
        bad = ("{", '{"correlationID":"x1","action":7}', "[" * 200_000)
        for message in bad:
            await client.connection.send(message)
        answers = [json.loads(await client.text()) for _ in bad]
    assert {answer["errorCode"] for answer in answers} == {"E1001"}
    assert [answer["correlationID"] for answer in answers] == ["", "x1", ""]
    record = server.record()
    counted = [record.total(name) for name in ("duplicates", "unknown", "not_subscribed")]
    assert (counted, record.total("malformed")) == ([1, 1, 1], 3)


async def test_a_client_that_does_not_ping_is_disconnected_and_one_that_does_is_not(
    make_angel_server: MakeAngelServer,
):
    server = await make_angel_server()
    loop = asyncio.get_running_loop()
    async with (
        angel_client(server) as silent,
        angel_client(server) as texting,
        angel_client(server) as framing,
    ):
        before = loop.time()
        await texting.connection.send("ping")
        assert await texting.text() == "pong"
        await (await framing.connection.ping())
        # Thirty seconds after the connects, and less than that after the pings.
        server._turn(before + PING_SECONDS)
        async with asyncio.timeout(30):
            await silent.connection.wait_closed()
        await eventually(lambda: server.record().open == 2)
        await texting.connection.send("ping")
        assert await texting.text() == "pong"
        await (await framing.connection.ping())
    assert (silent.connection.close_code, silent.connection.close_reason) == (1000, "no heartbeat")


async def test_errors_and_malformed_frames_reach_the_clients(make_angel_server: MakeAngelServer):
    server = await make_angel_server()
    async with angel_client(server) as client:
        assert server.send_error("sorry") == 1
        assert json.loads(await client.text())["errorMessage"] == "sorry"
        assert server.send_malformed() == 1
        async with asyncio.timeout(30):
            assert await client.connection.recv() == b"\x03\x0128"


async def test_the_master_is_served_and_names_what_ticks(make_angel_server: MakeAngelServer):
    server = await make_angel_server()
    async with httpx2.AsyncClient(base_url=server.http_url, trust_env=False, timeout=30) as http:
        master = (await http.get(MASTER_PATH)).content
        assert (await http.get("/instruments")).status_code == 404
    rows = list(parse_master(master))
    names = filter(None, map(name_of, server.market.instruments()))
    assert {row.broker_token for row in rows} == {f"{name[0]}:{name[1]}" for name in names}
    by_symbol = {(row.exchange, row.symbol): row for row in rows}
    assert len(by_symbol) == len(rows)
    assert by_symbol["NSE", "INFY"].broker_token == "1:1594"
    assert by_symbol["NSE_INDEX", "NIFTY"].broker_token == "1:99926000"
