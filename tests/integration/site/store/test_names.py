"""Loads of instruments under a running worker: real database, real sockets, a local exchange."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from brokers.pool_service import (
    FeedEvent,
    Holder,
    OutcomeState,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.registry import default_registry
from brokers.simulator.zerodha.exchange import KiteExchange
from brokers.testing import RecordingSink
from brokers.types import FeedMode, InstrumentKey, InstrumentRow
from pooling.clock import SystemClock
from pooling.instruments.loader import store_instruments
from pooling.models import BrokerAccount
from pooling.store.accounts import DjangoAccountStore
from pooling.worker.worker import PoolWorker
from tests.credential_kit import CredentialCipher
from tests.fix_running_time import RunningTime
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, MakeKiteServer
from tests.support import eventually

RELIANCE = InstrumentKey("NFO", "RELIANCE26DEC1290CE")
INFY = InstrumentKey("NFO", "INFY26DEC1580CE")
SBIN = InstrumentKey("NSE", "SBIN")
ANN, BOB = Holder("g", "ann"), Holder("g", "bob")


@pytest.fixture
async def exchange(make_kite_server: MakeKiteServer) -> KiteExchange:
    return await make_kite_server(rate=2_000)


@pytest.fixture
async def account(user: User, cipher: CredentialCipher, exchange: KiteExchange) -> BrokerAccount:
    """An account whose broker is the local exchange."""
    account = BrokerAccount(user=user, broker="zerodha", endpoint=exchange.url)
    account.set_credentials({"api_key": API_KEY, "access_token": ACCESS_TOKEN}, cipher)
    await account.asave()
    return account


@pytest.fixture
def tokens(exchange: KiteExchange) -> list[str]:
    """Three tokens that the exchange knows."""
    return [str(token) for token in list(exchange.market.quotes)[:3]]


class Watched:
    """A worker on the site's database, what it published and what it told."""

    def __init__(self, data_dir: Path) -> None:
        self.sink = RecordingSink()
        self.events: list[FeedEvent] = []
        self.worker = PoolWorker(
            store=DjangoAccountStore(key_file=data_dir / "credentials.key"),
            registry=default_registry(),
            sink_for=lambda pool_id, broker: self.sink,
            clock=SystemClock(),
            rng=random.Random(1),
            worker_id="w1",
            epoch=1,
        )
        self.worker.add_listener(self.events.append)

    def ended(self) -> dict[InstrumentKey, RefusalCode | None]:
        changes = [event for event in self.events if isinstance(event, SubscriptionChange)]
        outcomes = [outcome for change in changes for outcome in change.outcomes]
        return {o.key: o.code for o in outcomes if o.state is OutcomeState.REFUSED}

    def names(self, since: int) -> set[tuple[InstrumentKey, str]]:
        """Return under which names ticks came out, and by which tokens."""
        late = self.sink.published[since:]
        return {(each.instrument.key, each.instrument.broker_token) for each in late}


@pytest.fixture
async def watched(account: BrokerAccount, data_dir: Path) -> AsyncIterator[Watched]:
    found = Watched(data_dir)
    await found.worker.open()
    yield found
    await found.worker.close()


async def load(*rows: tuple[InstrumentKey, str]) -> None:
    """Load a master: names with the tokens of today."""
    listed = [
        InstrumentRow(*key, token, key.symbol, "", "", "", "1", "0.05", "EQ") for key, token in rows
    ]
    await sync_to_async(store_instruments)("zerodha", listed, is_forced=True)


async def test_a_token_of_an_expired_contract_that_another_one_has_now(
    account: BrokerAccount,
    watched: Watched,
    running_time: RunningTime,
    exchange: KiteExchange,
    tokens: list[str],
) -> None:
    worker, pool_id = watched.worker, account.pool_id
    was, of_infy, of_sbin = tokens
    await load((RELIANCE, was), (INFY, of_infy), (SBIN, of_sbin))
    await worker.want(pool_id, ANN, [Want(key, FeedMode.QUOTE) for key in (RELIANCE, SBIN)])
    await eventually(lambda: {(RELIANCE, was), (SBIN, of_sbin)} <= watched.names(0))

    await load((INFY, was), (SBIN, of_sbin))
    loaded = running_time.seconds
    await eventually(lambda: RELIANCE in watched.ended(), timeout=30)
    assert running_time.seconds - loaded < 5
    told = len(watched.sink.published)
    assert watched.ended() == {RELIANCE: RefusalCode.SYMBOL_NOT_FOUND}
    assert RELIANCE in watched.sink.forgotten

    refused, taken = await worker.want(
        pool_id, BOB, [Want(key, FeedMode.QUOTE) for key in (RELIANCE, INFY)]
    )
    assert (refused.state, refused.code) == (OutcomeState.REFUSED, RefusalCode.SYMBOL_NOT_FOUND)
    assert refused.message.startswith(f"the broker does not list {RELIANCE} any more")
    assert taken.state is not OutcomeState.REFUSED
    await eventually(lambda: (INFY, was) in watched.names(told))
    await worker.release(pool_id, ANN, None)
    await eventually(lambda: worker.stats(pool_id).symbols == 1, timeout=30)
    let_go = len(watched.sink.published)
    await eventually(lambda: len(watched.sink.published) > let_go + 5)
    assert watched.names(told) == {(INFY, was), (SBIN, of_sbin)}
    assert watched.names(let_go) == {(INFY, was)}
    assert exchange.record().complaints() == []


async def test_names_that_exchange_their_tokens_while_everybody_watches(
    account: BrokerAccount, watched: Watched, exchange: KiteExchange, tokens: list[str]
) -> None:
    worker, pool_id = watched.worker, account.pool_id
    one, other, of_sbin = tokens
    keys = (RELIANCE, INFY, SBIN)
    await load(*zip(keys, (one, other, of_sbin), strict=True))
    await worker.want(pool_id, ANN, [Want(key, FeedMode.DEPTH) for key in keys])
    await eventually(lambda: len(watched.names(0)) == 3)
    await load(*zip(keys, (other, one, of_sbin), strict=True))
    await eventually(lambda: (RELIANCE, other) in watched.names(0), timeout=30)
    since = len(watched.sink.published)
    await eventually(lambda: len(watched.names(since)) == 3)
    assert watched.names(since) == {(RELIANCE, other), (INFY, one), (SBIN, of_sbin)}
    assert watched.ended() == {}
    await eventually(lambda: worker.stats(pool_id).confirmed == 3)
    assert exchange.record().complaints() == []


async def test_a_contract_ends_as_its_exchange_closes_without_any_load(
    account: BrokerAccount,
    watched: Watched,
    monkeypatch: pytest.MonkeyPatch,
    tokens: list[str],
) -> None:
    worker, pool_id = watched.worker, account.pool_id
    tomorrow = (timezone.now() + timedelta(days=1)).date()
    row = InstrumentRow(
        *RELIANCE, tokens[0], "", "", tomorrow.isoformat(), "1290", "1", "0.05", "CE"
    )
    await sync_to_async(store_instruments)("zerodha", [row])
    await worker.want(pool_id, ANN, [Want(RELIANCE, FeedMode.LTP)])
    await eventually(lambda: (RELIANCE, tokens[0]) in watched.names(0))
    real = timezone.now
    monkeypatch.setattr("pooling.store.accounts.timezone.now", lambda: real() + timedelta(days=2))
    await eventually(lambda: RELIANCE in watched.ended(), timeout=30)
    assert watched.ended() == {RELIANCE: RefusalCode.SYMBOL_EXPIRED}
    await asyncio.sleep(0)
    (outcome,) = await worker.want(pool_id, BOB, [Want(RELIANCE, FeedMode.LTP)])
    assert outcome.code is RefusalCode.SYMBOL_EXPIRED
