"""The brokers' own clients log in at the local exchange, and what they get opens its feed.

With their own sockets, which make the feed's credential of what was granted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from brokers.simulator.angel.encoder import name_of as angel_name
from brokers.simulator.dhan.encoder import name_of as dhan_name
from brokers.simulator.fyers.encoder import TopicKind
from brokers.simulator.fyers.encoder import name_of as fyers_name
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market_exchange import MarketExchange
from brokers.simulator.runner import MARKET_EXCHANGES
from brokers.simulator.upstox.encoder import key_of
from brokers.simulator.zerodha.exchange import KiteExchange
from tests.fix_oracles import RunOracle
from tests.fix_simulator import make_market
from tests.integration.simulator.login.kit import APP, Client, client_at
from tests.support import eventually

pytestmark = pytest.mark.oracle


async def log_in(client: Client, run: RunOracle) -> dict[str, Any]:
    person = client.desk.people[0]
    told: dict[str, Any] = await run(
        "login_live.py",
        client.broker,
        client.desk.url,
        given={
            "key": APP.key,
            "secret": APP.secret,
            "redirect": APP.redirect,
            "user": person.user_id,
            "pin": person.pin,
            "totp": client.desk.totp(person.user_id),
        },
    )
    assert told["owner"] == person.user_id
    return told


def share(exchange: MarketExchange) -> ListedInstrument:
    return next(each for each in exchange.market.instruments() if each.segment is Segment.NSE)


def a_feed(client: Client) -> MarketExchange:
    """The broker's feed, which takes nothing but what was granted at its login."""
    # The client asks for thirty levels, too, which is not everybody's at Upstox.
    options: dict[str, Any] = {"max_keys": 10} if client.broker == "upstox" else {}
    exchange = MARKET_EXCHANGES[client.broker](market=make_market(400), rate=0, **options)
    exchange.take_logins(client.desk.tokens, only=True)
    return exchange


async def test_zerodhas_client_logs_in_and_hears_the_feed(run_oracle: RunOracle):
    async with client_at("zerodha", time.time()) as client, a_feed(client) as exchange:
        told = await log_in(client, run_oracle)
        assert told["again"] == "TokenException: Token is invalid or has expired."
        token, item = told["values"]["access_token"], share(exchange)
        listening = asyncio.create_task(
            run_oracle("kite_live.py", exchange.url, APP.key, token, given=[item.instrument_token])
        )

        def has_heard() -> bool:
            record = exchange.record()
            return listening.done() or (record.ticks_sent >= 3 and not record.subscribed)

        await eventually(has_heard, timeout=100)
        assert isinstance(exchange, KiteExchange)
        exchange.send_order({"order_id": "1"})  # ends it
        report = await listening
        assert report["ticks"]["full"].keys() == {str(item.instrument_token)}
        assert exchange.record().complaints() == []
        client.desk.move_clock_to(6)
        report = await run_oracle("kite_live.py", exchange.url, APP.key, token, given=[1])
        assert "403 - Forbidden" in report["closes"][0][1]


def angel_wishes(item: ListedInstrument) -> Any:
    name = angel_name(item)
    assert name is not None
    return [{"exchangeType": name.exchange_type, "tokens": [name.token]}]


def dhan_wishes(item: ListedInstrument) -> Any:
    name = dhan_name(item)
    assert name is not None
    return {
        "feed": [[1, name.security_id]],  # NSE_EQ
        "closes": 1,
        "interests": 0,
        "20": [],
        "200": [],
    }


def fyers_wishes(item: ListedInstrument) -> Any:
    name = fyers_name(item)
    assert name is not None
    return {"SymbolUpdate": {name.topic(TopicKind.FEED): name.ticker}}


Values = Mapping[str, str]
# What the client's socket is given, what it is to hear, and what it read of a granted login.
SOCKETS: dict[
    str,
    tuple[Callable[[str, str, Values], tuple[str, ...]], Callable[[ListedInstrument], Any], str],
] = {
    "angel": (
        lambda url, user, values: (
            f"{url}/smart-stream",
            f"Bearer {values['access_token']}",
            APP.key,
            user,
            values["feed_token"],
        ),
        angel_wishes,
        "Invalid totp",
    ),
    "upstox": (
        lambda url, user, values: (url, values["access_token"]),
        lambda item: [key_of(item)],
        "UDAPI100057",
    ),
    "dhan": (
        lambda url, user, values: (url, values["access_token"], user),
        dhan_wishes,
        "Invalid or expired tokenId",
    ),
    "fyers": (
        # Its client takes the app in front of the token, and finds the feed's key in it.
        lambda url, user, values: (
            f"{url}/hsm/v1-5/prod",
            f"{APP.key}:{values['access_token']}",
            "full",
        ),
        fyers_wishes,
        "-413",
    ),
}


@pytest.mark.parametrize("broker", SOCKETS)
async def test_the_other_clients_log_in_and_hear_the_feed(
    broker: str, run_broker_oracle: RunOracle
):
    arguments, wishes, again = SOCKETS[broker]
    # Fyers' client looks at the end of its token itself.
    async with client_at(broker, time.time()) as client, a_feed(client) as exchange:
        told = await log_in(client, run_broker_oracle)
        assert again in told["again"]
        user = client.desk.people[0].user_id
        given = arguments(exchange.url, user, told["values"])
        report = await run_broker_oracle(f"{broker}_live.py", *given, given=wishes(share(exchange)))
        assert not report.get("errors")
        assert not report.get("ended")
        assert exchange.record().ticks_sent >= 1
        assert exchange.record().refused == {}
