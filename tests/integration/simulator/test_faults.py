"""Faults as verbs: what a client of the local exchange sees of each, and how it ends."""

from __future__ import annotations

import asyncio
import time

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from brokers.simulator.zerodha.exchange import KiteExchange
from tests.fix_running_time import RunningTime
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, CONTROL_TOKEN, MakeKiteServer
from tests.integration.simulator.kite_client import KiteClient, kite_client
from tests.support import eventually

INFY = 408065


async def refusal(server: KiteExchange, token: str = ACCESS_TOKEN) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{server.url}/?api_key={API_KEY}&access_token={token}"):
            pass
    return refused.value


async def closed_without_frame(client: KiteClient) -> None:
    async with asyncio.timeout(30):
        await client.connection.wait_closed()
    with pytest.raises(ConnectionClosed) as closed:
        await read_to_the_end(client)
    assert closed.value.rcvd is None


async def read_to_the_end(client: KiteClient) -> None:
    while True:
        await client.connection.recv()


async def test_drop_cuts_every_link_without_a_close_frame(kite_server: KiteExchange):
    async with kite_client(kite_server) as one, kite_client(kite_server) as other:
        assert kite_server.drop() == 2
        await closed_without_frame(one)
        await closed_without_frame(other)
    assert kite_server.record().open == 0


async def test_drop_can_choose_one_connection(kite_server: KiteExchange):
    async with kite_client(kite_server) as one, kite_client(kite_server) as other:
        first, _ = kite_server.record().connections
        kite_server.drop(first.id)
        await closed_without_frame(one)
        await other.subscribe([INFY])
        assert INFY in await other.packets(1)
    with pytest.raises(ValueError, match="no open connection"):
        kite_server.drop(999)


async def test_silence_holds_back_everything_even_pongs_until_it_ends(kite_server: KiteExchange):
    async with kite_client(kite_server) as client:
        await client.subscribe([INFY])
        await client.packets(1)
        assert kite_server.go_silent() == 1
        # What left before the silence is read first; then a ping finds no answer.
        await client.drain(kite_server)
        pong = asyncio.ensure_future(await client.connection.ping())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.3):
                await client.connection.recv()
        assert not pong.done()
        kite_server.speak()
        async with asyncio.timeout(30):
            await pong
        assert INFY in await client.packets(1)


async def test_silence_also_covers_links_opened_later(kite_server: KiteExchange):
    kite_server.go_silent()
    async with kite_client(kite_server) as client:
        await client.subscribe([INFY])
        await eventually(lambda: kite_server.record().subscribed == 1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await client.connection.recv()
        kite_server.speak()
        assert INFY in await client.packets(1)


async def test_silence_of_one_connection_leaves_the_others_alone(kite_server: KiteExchange):
    async with kite_client(kite_server) as one, kite_client(kite_server) as other:
        first, _ = kite_server.record().connections
        kite_server.go_silent(first.id)
        await one.drain(kite_server)
        await one.subscribe([INFY])
        await other.subscribe([INFY])
        assert INFY in await other.packets(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await one.connection.recv()


async def test_refuse_answers_upgrades_with_a_status_until_accept(kite_server: KiteExchange):
    async with kite_client(kite_server) as client:
        kite_server.refuse(429, retry_after=7)
        response = (await refusal(kite_server)).response
        assert (response.status_code, response.headers["Retry-After"]) == (429, "7")
        kite_server.refuse()
        assert (await refusal(kite_server)).response.status_code == 503
        await client.subscribe([INFY])
        assert INFY in await client.packets(1)
    kite_server.accept()
    async with kite_client(kite_server):
        assert kite_server.record().refused == {"429": 1, "503": 1}


async def test_refuse_may_be_for_so_many_upgrades(kite_server: KiteExchange):
    kite_server.refuse(503, times=2)
    for _ in range(2):
        assert (await refusal(kite_server)).response.status_code == 503
    async with kite_client(kite_server):
        assert kite_server.record().refused == {"503": 2}
    with pytest.raises(ValueError, match="times must be at least 1"):
        kite_server.refuse(times=0)


@pytest.mark.parametrize("status", [200, 101, 499, 600])
async def test_refuse_takes_only_http_errors(kite_server: KiteExchange, status: int):
    with pytest.raises(ValueError, match="status must be"):
        kite_server.refuse(status)


async def test_delay_of_handshakes_and_of_frames(
    kite_server: KiteExchange, running_time: RunningTime
):
    kite_server.delay(0.4, frames=False)
    started = time.monotonic()
    async with kite_client(kite_server) as client:
        assert time.monotonic() - started >= 0.4
        kite_server.delay(0.5, handshakes=False)
        started = time.monotonic()
        await client.subscribe([INFY])
        await client.packets(1)
        assert time.monotonic() - started >= 0.5
        assert running_time.seconds < 5
        kite_server.delay(0)
        await client.packets(1)
    with pytest.raises(ValueError, match="seconds must be within"):
        kite_server.delay(31)


async def test_delayed_frames_keep_their_order_when_the_delay_ends(
    make_kite_server: MakeKiteServer,
):
    server = await make_kite_server(rate=0)
    async with kite_client(server) as client:
        server.delay(0.4, handshakes=False)
        server.send_message("first")
        server.delay(0)
        server.send_message("second")
        assert [(await client.text())["data"] for _ in range(2)] == ["first", "second"]


async def test_expired_token_refuses_new_links_and_keeps_open_ones(kite_server: KiteExchange):
    async with kite_client(kite_server) as client:
        kite_server.expire_token()
        assert (await refusal(kite_server)).response.status_code == 403
        await client.subscribe([INFY])
        assert INFY in await client.packets(1)
    kite_server.set_token("tomorrow")
    assert (await refusal(kite_server)).response.status_code == 403
    async with kite_client(kite_server, access_token="tomorrow"):
        assert kite_server.record().refused == {"403": 2}


async def test_text_messages_and_malformed_frames_can_be_sent(make_kite_server: MakeKiteServer):
    server = await make_kite_server(api_key="", access_token="", rate=0)
    async with kite_client(server) as client, kite_client(server, "another") as stranger:
        assert server.send_order({"order_id": "1", "status": "COMPLETE"}, api_key=API_KEY) == 1
        assert server.send_error("no") == 2
        assert server.send_message("hello") == 2
        assert await client.text() == {
            "type": "order",
            "data": {"order_id": "1", "status": "COMPLETE"},
        }
        for one in (client, stranger):
            assert await one.text() == {"type": "error", "data": "no"}
            assert await one.text() == {"type": "message", "data": "hello"}
        assert server.send_malformed() == 2
        while len(frame := await client.connection.recv(decode=False)) == 1:
            pass  # heartbeats
        assert frame == b"\x00\x02\x00\xb8\x00\x06"


async def test_closing_the_exchange_is_quick_whatever_the_fault(
    make_kite_server: MakeKiteServer, running_time: RunningTime, monkeypatch: pytest.MonkeyPatch
):
    server = await make_kite_server()
    delays: list[float] = []
    wait = server._wait

    async def noted_wait(seconds: float) -> None:
        delays.append(seconds)
        await wait(seconds)

    monkeypatch.setattr(server, "_wait", noted_wait)
    async with kite_client(server) as client, kite_client(server):
        await client.subscribe([INFY])
        server.go_silent()
        server.delay(30)
        url = f"{server.url}/?api_key={API_KEY}&access_token={ACCESS_TOKEN}"
        waiting = asyncio.create_task(connect(url).__aenter__())
        await eventually(lambda: 30 in delays, message="no handshake was held up")
        started = running_time.seconds
        await server.close()
        assert running_time.seconds - started < 2
        with pytest.raises(InvalidStatus):
            await waiting


async def test_a_client_that_does_not_read_cannot_grow_the_server(make_kite_server: MakeKiteServer):
    server = await make_kite_server(size=3_000, rate=0)
    tokens = list(server.market.quotes)
    async with kite_client(server, max_queue=1) as client:
        await client.subscribe(tokens, "full")
        async with asyncio.timeout(60):
            while not server.record().total("frames_skipped"):
                await client.say("mode", ["full", tokens])
        assert server.record().open == 1


async def test_verbs_over_http_need_the_control_token(make_kite_server: MakeKiteServer):
    server = await make_kite_server(control_token=CONTROL_TOKEN)
    async with (
        httpx2.AsyncClient(base_url=server.http_url, trust_env=False, timeout=30) as http,
        kite_client(server) as client,
    ):
        assert (await http.get("/control/drop")).status_code == 403
        http.headers["X-Control-Token"] = "wrong"
        assert (await http.get("/control/drop")).status_code == 403
        http.headers["X-Control-Token"] = CONTROL_TOKEN
        answer = await http.get("/control/send_message", params={"text": "hi"})
        assert answer.json() == {"verb": "send_message", "result": 1}
        assert (await client.text())["data"] == "hi"
        assert (await http.get("/control/refuse?status=200")).status_code == 400
        assert (await http.get("/control/open")).status_code == 400
        assert (await http.get("/control/drop")).json()["result"] == 1
        await closed_without_frame(client)
        record = (await http.get("/record")).json()
        assert (record["opened"], record["open"]) == (1, 0)
        await http.get("/control/reset_record")
        assert (await http.get("/record")).json()["opened"] == 0


async def test_open_again_after_close(make_kite_server: MakeKiteServer):
    server = await make_kite_server()
    await server.close()
    with pytest.raises(RuntimeError, match="not open"):
        _ = server.url
    await server.open()
    async with kite_client(server) as client:
        await client.subscribe([INFY])
        assert INFY in await client.packets(1)
