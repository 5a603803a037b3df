"""The login desk beside its broker: clocks, verbs over HTTP, the record, and the feed."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from brokers.simulator.exchange import LocalExchange
from brokers.simulator.runner import MARKET_EXCHANGES
from brokers.times.json_web_token import claims_of
from tests.fix_simulator import CONTROL_TOKEN, OPENED_S, make_market
from tests.integration.simulator.login.kit import APP, Client, client_at
from tests.support import eventually

ALL = ("zerodha", "upstox", "fyers", "dhan", "angel")


async def credential(client: Client) -> dict[str, str]:
    """Log in and return what the broker's feed is shown."""
    if client.broker == "angel":
        data = (await client.by_pin()).json()["data"]
        return {"token": data["jwtToken"], "feed_token": data["feedToken"]}
    token = await client.token()
    if client.broker == "fyers":
        return {"token": str(claims_of(token)["hsm_key"]), "whole": token}
    return {"token": token}


async def opens(exchange: LocalExchange, client: Client, given: dict[str, str]) -> bool:
    """Whether a feed takes a credential; sees what the broker says where it does not."""
    user, token = client.desk.people[0].user_id, given["token"]
    headers: dict[str, str] = {}
    path = {
        "zerodha": f"/?api_key={APP.key}&access_token={token}",
        "upstox": "/v3/feed/market-data-feed",
        "fyers": "/hsm/v1-5/prod",
        "dhan": f"/?version=2&token={token}&clientId={user}&authType=2",
        "angel": "/smart-stream",
    }[client.broker]
    if client.broker == "upstox":
        headers = {"Authorization": f"Bearer {token}"}
    if client.broker == "angel":
        headers = {
            "Authorization": f"Bearer {token}",
            "x-api-key": APP.key,
            "x-client-code": user,
            "x-feed-token": given["feed_token"],
        }
    try:
        async with connect(exchange.url + path, additional_headers=headers) as socket:
            if client.broker == "fyers":
                await socket.send(fyers_auth(token))
                return b"K" in await socket.recv(decode=False)
            if client.broker == "dhan":
                await socket.send('{"RequestCode":15,"InstrumentCount":0,"InstrumentList":[]}')
                packet = await socket.recv(decode=False)
                reason = int.from_bytes(packet[8:10], "little")
                assert packet[0] == 50
                assert reason in (814, 809, 807)  # 814: what was asked for is nothing
                return reason == 814
            return True
    except InvalidStatus as refused:
        # Any other status is a fault of its own.
        return refused.response.status_code not in (401, 403)


def fyers_auth(key: str) -> bytes:
    fields = ((1, key.encode()), (2, b"P"), (3, b"\x01"), (4, b"test"))
    body = b"".join(bytes([n]) + len(v).to_bytes(2, "big") + v for n, v in fields)
    return (len(body) + 4).to_bytes(2, "big") + bytes([1, len(fields)]) + body


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize("broker", ALL)
async def test_a_feed_takes_a_login_until_it_ends(broker: str, only: bool):
    options: dict[str, Any] = {"market": make_market(400), "rate": 0}
    async with client_at(broker) as client, MARKET_EXCHANGES[broker](**options) as exchange:
        exchange.take_logins(client.desk.tokens, only=only)
        given = await credential(client)
        assert await opens(exchange, client, given)
        assert await opens(exchange, client, given | {"token": "unknown"}) is not only
        client.desk.advance_clock(86_400)
        # It does not become any other token, which an exchange without a credential takes.
        assert not await opens(exchange, client, given)


@pytest.mark.parametrize("broker", ALL)
async def test_a_feed_that_refuses_everybody_refuses_logins(broker: str):
    options: dict[str, Any] = {"market": make_market(400), "rate": 0}
    async with client_at(broker) as client, MARKET_EXCHANGES[broker](**options) as exchange:
        exchange.take_logins(client.desk.tokens)
        given = await credential(client)
        exchange.expire_token()
        assert not await opens(exchange, client, given)
        exchange.set_token("another")
        assert await opens(exchange, client, given)


async def test_a_feed_wants_every_part_of_a_login():
    options: dict[str, Any] = {"market": make_market(400), "rate": 0}
    async with client_at("angel") as client, MARKET_EXCHANGES["angel"](**options) as exchange:
        exchange.take_logins(client.desk.tokens, only=True)
        given = await credential(client)
        assert not await opens(exchange, client, given | {"feed_token": "x"})
        assert not await opens(exchange, client, given | {"token": given["feed_token"]})
        assert not await opens(exchange, client, given | {"token": "x"})
    async with client_at("fyers") as client, MARKET_EXCHANGES["fyers"](**options) as exchange:
        exchange.take_logins(client.desk.tokens, only=True)
        given = await credential(client)
        assert not await opens(exchange, client, given | {"token": given["whole"]})
        assert (await client.profile(given["token"])).status_code == 401


async def test_a_moved_clock_lets_clients_log_in_by_either_time():
    async with client_at("angel") as client:
        client.desk.move_clock_to(5, 17)
        assert (await client.by_pin()).json()["status"] is True


async def test_a_clock_that_is_off_is_told_and_refuses_codes():
    async with client_at("angel") as client:
        code = client.desk.totp(client.desk.people[0].user_id)
        client.desk.put_clock_off(120)
        answer = await client.by_pin(totp=code)
        assert answer.json()["errorcode"] == "AB1050"
        assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == OPENED_S + 120
        client.desk.put_clock_off(0)
        assert (await client.by_pin(totp=code)).json()["status"] is True


async def test_other_processes_use_the_verbs():
    async with client_at("upstox") as client:

        async def control(verb: str, token: str = CONTROL_TOKEN, **query: str) -> Any:
            headers = {"X-Control-Token": token}
            return await client.send("GET", f"/control/{verb}", params=query, headers=headers)

        user = client.desk.people[0].user_id
        moved = await control("move_clock_to", hour="3", minute="30")
        assert moved.json()["result"].endswith("T03:30:00+05:30")
        totp = (await control("totp", user_id=user)).json()["result"]
        assert totp == client.desk.totp(user)
        await control("meet", fault="busy")
        assert (await client.exchange(await client.code())).status_code == 429
        assert (await control("meet", fault="nonsense")).status_code == 400
        assert (await control("totp", user_id="nobody")).status_code == 400
        assert (await control("drop")).status_code == 400
        assert (await control("end_tokens", token="x")).status_code == 403
        token = (await control("make_analytics_token", user_id=user)).json()["result"]
        assert client.desk.tokens.of(token)
        assert (await control("end_tokens")).json()["result"] == 1
        await control("reset_record")
        record = (await client.send("GET", "/record")).json()
    assert record == {
        "complaints": {},
        "codes_late": 0,
        "codes_replayed": 0,
        "logins_per_minute": 0,
    }


async def test_the_record_tells_what_a_broker_would_hold_against_a_client():
    async with client_at("zerodha") as client:
        code = await client.code()
        client.clock.is_fresh = True
        await client.fill_in()  # with the same code of the second factor
        await client.exchange(code)
        await client.exchange(code)
        await client.send("GET", "/session/token", params={"checksum": "c", "request_token": "r"})
        await client.send("POST", "/session/token", json={"api_key": APP.key})
        record = (await client.send("GET", "/record")).json()
    assert record == {
        "complaints": {
            "TOTP used twice": 1,
            "checksum in a query": 1,
            "request_token in a query": 1,
            "wrong method": 1,
            "wrong content type": 1,
        },
        "codes_late": 0,
        "codes_replayed": 2,
        "logins_per_minute": 2,
    }


@pytest.mark.parametrize("broker", ALL)
async def test_who_does_as_the_documents_say_is_not_complained_of(broker: str):
    async with client_at(broker) as client:
        await client.profile(await client.token())
        assert not client.desk.record


async def test_the_front_page_says_who_may_log_in():
    async with client_at("fyers") as client:
        page = await client.send("GET", "/")
        for each in client.desk.people:
            for shown in (each.user_id, each.pin, each.totp_secret, client.desk.totp(each.user_id)):
                assert shown in page.text
    assert APP.key in page.text


async def test_it_closes_while_clients_say_nothing_or_hang():
    async with client_at("fyers") as client:
        host, _, port = client.desk.url.removeprefix("http://").partition(":")
        _, silent = await asyncio.open_connection(host, int(port))
        client.desk.meet("hang")
        hanging = asyncio.create_task(client.exchange("x"))
        await eventually(lambda: bool(client.desk.codes.replayed))  # it has arrived
        async with asyncio.timeout(5):  # a client may be silent for ten
            await client.desk.close()
        with pytest.raises(httpx2.TransportError):
            await hanging
        silent.close()


async def test_what_is_no_request_is_answered_or_left():
    async with client_at("fyers") as client:
        url = client.desk.url.removeprefix("http://")
        host, _, port = url.partition(":")
        for sent in (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", b"nonsense\r\n\r\n"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(sent)
            async with asyncio.timeout(20):
                answer = await reader.read()
            assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
            writer.close()
        assert (await client.send("GET", "/health")).json() == {"status": "ok"}
