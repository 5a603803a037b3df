"""The local exchange as Kite: handshake, limits, modes, packets, heartbeats, instruments."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import time

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from brokers.simulator.violations import key_label
from brokers.simulator.zerodha.encoder import Mode, encode_packet
from brokers.simulator.zerodha.exchange import KiteExchange
from tests.fix_running_time import RunningTime
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, MakeKiteServer
from tests.integration.simulator.kite_client import kite_client, packets_of
from tests.support import eventually

INFY, NIFTY_50 = 408065, 256265


async def refused_status(server: KiteExchange, query: str, path: str = "/") -> int:
    with pytest.raises(InvalidStatus) as refusal:
        async with connect(f"{server.url}{path}?{query}"):
            pass
    return refusal.value.response.status_code


@pytest.mark.parametrize(
    "query",
    [
        "",
        f"api_key={API_KEY}",
        f"api_key={API_KEY}&access_token=",
        f"api_key={API_KEY}&access_token=wrong",
        f"api_key=wrong&access_token={ACCESS_TOKEN}",
    ],
)
async def test_bad_credential_is_refused_with_403(kite_server: KiteExchange, query: str):
    assert await refused_status(kite_server, query) == 403
    assert kite_server.record().refused == {"403": 1}


async def test_without_configured_credential_any_is_taken_but_an_empty_one(
    make_kite_server: MakeKiteServer,
):
    server = await make_kite_server(api_key="", access_token="")
    async with kite_client(server, "anybody", "anything"):
        assert server.record().open == 1
    assert await refused_status(server, "api_key=anybody&access_token=") == 403


async def test_unknown_path_is_refused_with_404(kite_server: KiteExchange):
    query = f"api_key={API_KEY}&access_token={ACCESS_TOKEN}"
    assert await refused_status(kite_server, query, "/ticker") == 404


async def test_fourth_connection_of_a_key_gets_429_until_one_is_closed(
    make_kite_server: MakeKiteServer,
):
    server = await make_kite_server(api_key="", access_token="")
    async with kite_client(server), kite_client(server):
        async with kite_client(server):
            assert await refused_status(server, f"api_key={API_KEY}&access_token=x") == 429
            async with kite_client(server, "another-key"):
                assert server.record().open == 4
        await eventually(lambda: server.record().open == 2)
        async with kite_client(server):
            assert server.record().open == 3
    key = server.record().keys[key_label(API_KEY)]
    assert (key.opened, key.refused, key.peak) == (4, 1, 3)


async def test_racing_handshakes_cannot_exceed_three_connections(kite_server: KiteExchange):
    kite_server.delay(0.2, frames=False)
    url = f"{kite_server.url}/?api_key={API_KEY}&access_token={ACCESS_TOKEN}"
    answers = await asyncio.gather(*(connect(url) for _ in range(6)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, InvalidStatus)]
    assert [error.response.status_code for error in refused] == [429, 429, 429]
    for answer in answers:
        if not isinstance(answer, BaseException):
            await answer.close()


async def test_default_mode_is_quote_and_current_values_come_at_once(
    make_kite_server: MakeKiteServer,
):
    server = await make_kite_server(rate=0)
    async with kite_client(server) as client:
        await client.subscribe([INFY, NIFTY_50])
        packets = await client.packets(2)
    for token, body in packets.items():
        assert body == encode_packet(server.market.quotes[token], Mode.QUOTE)[2:]
    assert {len(body) for body in packets.values()} == {44, 28}


@pytest.mark.parametrize(("mode", "lengths"), [("ltp", (8, 8)), ("full", (184, 32))])
async def test_mode_replaces_the_mode_and_sends_current_values(
    make_kite_server: MakeKiteServer, mode: str, lengths: tuple[int, int]
):
    server = await make_kite_server(rate=0)
    async with kite_client(server) as client:
        await client.subscribe([INFY, NIFTY_50])
        await client.packets(2)
        await client.say("mode", [mode, [INFY, NIFTY_50]])
        packets = await client.packets(2)
    assert (len(packets[INFY]), len(packets[NIFTY_50])) == lengths


async def test_subscribed_instruments_tick_and_unsubscribed_ones_stop(kite_server: KiteExchange):
    tokens = list(kite_server.market.quotes)[:300]
    async with kite_client(kite_server) as client:
        await client.subscribe(tokens)
        first = await client.packets(300)
        changed: set[int] = set()
        async with asyncio.timeout(30):
            while len(changed) < 250:
                later = await client.packets(1)
                changed |= {token for token, body in later.items() if body != first[token]}
        await client.say("unsubscribe", tokens)
        await eventually(lambda: kite_server.record().subscribed == 0)
        # What was under way when the unsubscribe arrived.
        await client.drain(kite_server)
        assert [len(await client.receive()) for _ in range(2)] == [1, 1], "heartbeats alone"
    assert kite_server.record().complaints() == []


async def test_binary_client_messages_are_understood(make_kite_server: MakeKiteServer):
    server = await make_kite_server(rate=0)
    async with kite_client(server) as client:
        await client.connection.send(json.dumps({"a": "subscribe", "v": [INFY]}).encode())
        assert set(await client.packets(1)) == {INFY}


async def test_idle_link_gets_a_one_byte_heartbeat_each_second(
    kite_server: KiteExchange, running_time: RunningTime
):
    started = time.monotonic()
    async with kite_client(kite_server) as client:
        assert len(await client.connection.recv()) == 1
        assert len(await client.connection.recv()) == 1
        assert time.monotonic() - started >= 2
    assert running_time.seconds < 5


async def test_excess_over_the_limit_is_refused_in_text_and_the_link_stays(
    make_kite_server: MakeKiteServer,
):
    server = await make_kite_server(size=3_200, rate=0)
    tokens = list(server.market.quotes)
    async with kite_client(server) as client:
        await client.subscribe(tokens[:2_000])
        await client.subscribe(tokens[2_000:3_100])
        assert await client.text() == {
            "type": "error",
            "data": "Can't subscribe to more than 3000 instruments.",
        }
        (connection,) = server.record().connections
        assert (connection.subscribed, connection.over_limit) == (3_000, 100)
        await client.say("unsubscribe", tokens[:1])
        await client.subscribe([tokens[3_100]])
        async with asyncio.timeout(30):
            while tokens[3_100] not in await client.packets(1):
                pass
    assert server.record().peak_subscribed == 3_000


async def test_bad_manners_are_recorded_and_ignored(make_kite_server: MakeKiteServer):
    server = await make_kite_server(rate=0)
    async with kite_client(server) as client:
        await client.subscribe([INFY, INFY, 999_999_999])
        await client.say("unsubscribe", [NIFTY_50])
        await client.say("mode", ["full", [NIFTY_50]])
        for message in ("{", '{"a":"subscribe"}', '{"a":"mode","v":["best",[1]]}', "[" * 200_000):
            await client.connection.send(message)
        await client.subscribe([NIFTY_50])
        assert set(await client.packets(2)) == {INFY, NIFTY_50}
    record = server.record()
    assert record.total("duplicates") == 1
    assert record.total("unknown") == 1
    assert record.total("not_subscribed") == 2
    assert record.total("malformed") == 4
    assert record.messages == 8
    assert len(record.complaints()) == 4


async def test_two_connections_share_an_instrument(kite_server: KiteExchange):
    async with kite_client(kite_server) as one, kite_client(kite_server) as other:
        await one.subscribe([INFY], "ltp")
        await other.subscribe([INFY], "full")
        await other.packets(1)
        await one.say("unsubscribe", [INFY])
        for _ in range(5):
            assert INFY in await other.packets(1)


async def test_instruments_are_served_as_gzipped_csv(kite_server: KiteExchange):
    async with httpx2.AsyncClient(
        base_url=kite_server.http_url, trust_env=False, timeout=30
    ) as http:
        answer = await http.get("/instruments", headers={"X-Kite-Version": "3"})
        assert answer.headers["Content-Encoding"] == "gzip"
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        bse = list(csv.DictReader(io.StringIO((await http.get("/instruments/BSE")).text)))
        assert (await http.get("/instruments/NYSE")).status_code == 404
    assert len(rows) == 1_000
    assert {row["exchange"] for row in bse} == {"BSE"}
    infy = next(row for row in rows if row["instrument_token"] == str(INFY))
    assert ",".join(infy.values()) == "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE"


async def test_plain_requests_are_answered_without_a_traceback(kite_server: KiteExchange):
    async with httpx2.AsyncClient(
        base_url=kite_server.http_url, trust_env=False, timeout=30
    ) as http:
        assert (await http.get("/health")).json() == {"status": "ok", "connections": 0}
        assert (await http.get("/record")).json()["opened"] == 0
        assert (await http.get("/")).status_code == 404
        assert (await http.get("/control/drop")).status_code == 404


async def test_a_frame_carries_many_packets(make_kite_server: MakeKiteServer):
    server = await make_kite_server(rate=20_000)
    async with kite_client(server) as client:
        await client.subscribe(list(server.market.quotes))
        await client.packets(len(server.market.quotes))  # the current values
        async with asyncio.timeout(30):
            frame = b""
            while len(packets_of(frame)) <= 100:
                received = await client.receive()
                assert isinstance(received, bytes)
                frame = received
