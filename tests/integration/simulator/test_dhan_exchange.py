"""The local exchange as Dhan: credentials, the sixth connection, limits, feeds, pings, master."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import AsyncExitStack

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from brokers.dhan.symbols import parse_master
from brokers.simulator.dhan import encoder
from brokers.simulator.dhan.encoder import DhanName, name_of
from brokers.simulator.dhan.exchange import (
    MASTER_PATH,
    MAX_CONNECTIONS,
    PONG_SECONDS,
    TRUNCATED_FRAME,
    DhanExchange,
)
from brokers.simulator.market import Quote
from tests.fix_simulator import MakeDhanServer
from tests.integration.simulator.dhan_client import dhan_client, feed_url
from tests.support import eventually

INFY, NIFTY_50 = DhanName("NSE_EQ", "1594", 1), DhanName("IDX_I", "13", 0)
TICKER, QUOTE, FULL, DEEP = 15, 17, 21, 23


def quote_of(server: DhanExchange, name: DhanName) -> Quote:
    return next(q for q in server.market.quotes.values() if name_of(q.instrument) == name)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"token": "wrong"}, 809),
        ({"token": ""}, 809),
        ({"clientId": ""}, 810),
        ({"clientId": "2"}, 810),
        ({"authType": "1"}, 808),
        ({"version": "1"}, 808),
    ],
)
@pytest.mark.parametrize("path", ["/", "/twentydepth"])
async def test_a_bad_credential_is_told_on_the_open_connection_which_then_ends(
    make_dhan_server: MakeDhanServer, path: str, query: dict[str, str], reason: int
):
    if path != "/" and "version" in query:
        return  # deep books have no version
    server = await make_dhan_server(client_id="1000000001")
    async with dhan_client(server, path, query) as client:
        assert await client.reason() == reason
        async with asyncio.timeout(30):
            await client.connection.wait_closed()
    assert server.record().refused == {str(reason): 1}
    assert server.record().complaints() == [f"1 upgrade(s) refused with code {reason}"]


async def test_a_bad_credential_may_be_refused_with_http(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server(refuses_with_http=True)
    with pytest.raises(InvalidStatus) as refused:
        async with connect(feed_url(server, token="wrong")):
            pass
    assert refused.value.response.status_code == 401
    async with dhan_client(server):
        pass


async def test_an_expired_token_is_refused_and_open_connections_stay(
    make_dhan_server: MakeDhanServer,
):
    server = await make_dhan_server(rate=0)
    async with dhan_client(server) as client:
        server.expire_token()
        async with dhan_client(server) as late:
            assert await late.reason() == 807
        await client.ask(TICKER, [INFY])
        assert len(await client.packets(2)) == 2
        server.set_token("fresh")
        async with dhan_client(server, query={"token": "fresh"}) as fresh:
            await fresh.ask(TICKER, [INFY])
            await fresh.packets(2)


async def test_a_sixth_connection_ends_the_oldest_one_and_so_does_each_further_one(
    make_dhan_server: MakeDhanServer,
):
    server = await make_dhan_server()
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(dhan_client(server)) for _ in range(MAX_CONNECTIONS)
        ]
        async with dhan_client(server, query={"clientId": "2"}):
            pass
        # Of another feed, and of the same account.
        for path, oldest in (("/", clients[0]), ("/twentydepth", clients[1])):
            await stack.enter_async_context(dhan_client(server, path))
            assert await oldest.reason() == 805
            async with asyncio.timeout(30):
                await oldest.connection.wait_closed()
        await clients[2].ask(TICKER, [INFY])
        await clients[2].packets(2)
    assert server.record().refused == {"805": 2}


async def test_another_path_is_not_found(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server()
    with pytest.raises(InvalidStatus) as refused:
        async with connect(feed_url(server, "/nowhere")):
            pass
    assert refused.value.response.status_code == 404


async def test_subscribing_sends_the_previous_close_and_current_values(
    make_dhan_server: MakeDhanServer,
):
    server = await make_dhan_server(rate=0)
    for code, encode in (
        (TICKER, encoder.encode_ticker),
        (QUOTE, encoder.encode_quote),
        (FULL, encoder.encode_full),
    ):
        async with dhan_client(server) as client:
            await client.ask(code, [INFY, NIFTY_50])
            packets = await client.packets(4)
        for name in (INFY, NIFTY_50):
            quote = quote_of(server, name)
            expected = encode(quote)
            key = (name.number, int(name.security_id))
            assert packets[(expected[0], *key)] == expected
            assert packets[(6, *key)] == encoder.encode_previous_close(quote)
    assert server.record().complaints() == []


async def test_a_quote_of_what_has_open_interest_brings_it_in_a_packet_of_its_own(
    make_dhan_server: MakeDhanServer,
):
    server = await make_dhan_server(rate=0)
    quote = next(q for q in server.market.quotes.values() if q.instrument.has_open_interest)
    name = name_of(quote.instrument)
    assert name is not None
    async with dhan_client(server) as client:
        await client.ask(QUOTE, [name])
        packets = await client.packets(3)
    interest = packets[5, name.number, int(name.security_id)]
    assert interest == encoder.encode_open_interest(quote)


async def test_packets_may_be_stacked_in_one_message(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server(rate=0, packets_per_message=3)
    async with dhan_client(server) as client:
        await client.ask(QUOTE, [INFY, NIFTY_50])
        packets = await client.packets(4)
    # Four packets in messages of three, one of which is no tick each time.
    (connection,) = server.record().connections
    assert (connection.frames_sent, connection.ticks_sent, len(packets)) == (2, 2, 4)


async def test_a_mode_ticks_until_it_is_ended(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server(rate=1_000)
    async with dhan_client(server) as client:
        await client.ask(FULL, [INFY])
        before = (await client.packets(2))[8, 1, 1594]
        while (await client.packets(1)).get((8, 1, 1594), before) == before:
            pass
        await client.ask(FULL + 1, [INFY])
        await eventually(lambda: server.record().subscribed == 0)
    assert server.record().complaints() == []


@pytest.mark.parametrize("ends", [False, True])
async def test_a_request_over_the_limit_is_refused_as_a_whole(
    make_dhan_server: MakeDhanServer, ends: bool
):
    server = await make_dhan_server(rate=0, max_instruments=1, ends_over_limit=ends)
    async with dhan_client(server) as client:
        await client.ask(TICKER, [INFY])
        await client.ask(TICKER, [NIFTY_50])
        assert await client.reason() == 804
        if ends:
            async with asyncio.timeout(30):
                await client.connection.wait_closed()
        else:
            await client.ask(QUOTE, [INFY])
            await client.packets(2)
    (connection,) = server.record().connections
    assert (connection.peak_subscribed, connection.over_limit) == (1, 1)


async def test_bad_manners_are_recorded_and_malformed_ones_answered(
    make_dhan_server: MakeDhanServer,
):
    server = await make_dhan_server(rate=0)
    async with dhan_client(server) as client:
        await client.ask(TICKER, [INFY, INFY, DhanName("NSE_EQ", "1", 1)])
        await client.ask(QUOTE + 1, [INFY])
        for message in ("{", b"\x0c", '{"RequestCode":19}', "[" * 200_000):
            await client.connection.send(message)
            assert await client.reason() == 814
        await client.connection.send('{"RequestCode":12}')
        async with asyncio.timeout(30):
            await client.connection.wait_closed()
    record = server.record()
    counted = [record.total(name) for name in ("duplicates", "unknown", "not_subscribed")]
    assert (counted, record.total("malformed")) == ([1, 1, 1], 4)


@pytest.mark.parametrize(("path", "levels"), [("/twentydepth", 20), ("/twohundreddepth", 200)])
async def test_deep_books_are_both_sides_in_one_message(
    make_dhan_server: MakeDhanServer, path: str, levels: int
):
    server = await make_dhan_server(rate=0)
    async with dhan_client(server, path) as client:
        if levels == 20:
            await client.ask(DEEP, [INFY])
        else:
            request = {"RequestCode": DEEP, "ExchangeSegment": "NSE_EQ", "SecurityId": "1594"}
            await client.connection.send(json.dumps(request))
        packets = await client.packets(2)
    expected = encoder.encode_book(quote_of(server, INFY), levels)
    assert packets[41, 1, 1594] + packets[51, 1, 1594] == expected
    assert server.record().complaints() == []


async def test_deep_books_are_of_nse_and_fifty_or_one(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server(rate=0)
    names = [
        name
        for item in server.market.instruments()
        if (name := name_of(item)) is not None and name.segment == "NSE_EQ"
    ]
    async with dhan_client(server, "/twentydepth") as client:
        await client.ask(DEEP, [*names[:49], NIFTY_50])
        await client.packets(2 * 49)
        await client.ask(DEEP, names[49:51])
        assert await client.reason() == 804
        await client.ask(TICKER, names[:1])
        assert await client.reason() == 814
    record = server.record()
    counted = [record.total(name) for name in ("unknown", "over_limit", "malformed")]
    assert counted == [1, 2, 1]


async def test_who_does_not_answer_pings_is_disconnected(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server(rate=0)
    loop = asyncio.get_running_loop()
    async with dhan_client(server) as silent, dhan_client(server) as answering:
        links = list(server._books)
        now = loop.time()
        before = dict(server._answered)
        server._turn(now + 10)
        # Both have answered that ping; the silent one's answer is then taken back.
        await eventually(lambda: all(server._answered[each] > before[each] for each in links))
        server._answered[links[0]] = now - PONG_SECONDS - 1
        async with asyncio.timeout(30):
            await silent.connection.wait_closed()
        await answering.ask(TICKER, [INFY])
        await answering.packets(2)
    assert (silent.connection.close_code, silent.connection.close_reason) == (1000, "no pong")


async def test_reasons_and_malformed_frames_reach_the_clients(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server(rate=0)
    async with dhan_client(server) as client:
        assert server.send_malformed() == 1
        async with asyncio.timeout(30):
            assert await client.connection.recv() == TRUNCATED_FRAME
        assert server.send_disconnect(800) == 1
        assert await client.reason() == 800
        async with asyncio.timeout(30):
            await client.connection.wait_closed()
    with pytest.raises(ValueError, match="16 bits"):
        server.send_disconnect(2**16)


async def test_the_master_is_served_and_names_what_ticks(make_dhan_server: MakeDhanServer):
    server = await make_dhan_server()
    async with httpx2.AsyncClient(base_url=server.http_url, trust_env=False, timeout=30) as http:
        master = (await http.get(MASTER_PATH)).content
        assert (await http.get("/instruments")).status_code == 404
    rows = list(parse_master(io.BytesIO(master)))
    names = filter(None, map(name_of, server.market.instruments()))
    assert {row.broker_token for row in rows} == {f"{name[0]}:{name[1]}" for name in names}
    by_symbol = {(row.exchange, row.symbol): row for row in rows}
    assert len(by_symbol) == len(rows)
    assert by_symbol["NSE", "INFY"].broker_token == "NSE_EQ:1594"
    assert by_symbol["NSE_INDEX", "NIFTY"].broker_token == "IDX_I:13"
    assert ("BSE_INDEX", "SENSEX") in by_symbol
