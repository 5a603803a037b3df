"""Settings of an account saved in the database, on a worker with real sockets to an exchange."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone

from brokers.pool_service import Holder, Want
from brokers.registry import default_registry
from brokers.simulator.dhan.encoder import name_of
from brokers.simulator.dhan.exchange import DhanExchange
from brokers.testing import RecordingSink
from brokers.types import FeedMode, InstrumentKey
from pooling.clock import SystemClock
from pooling.models import BrokerAccount, Instrument, PoolEvent
from pooling.store.accounts import DjangoAccountStore
from pooling.worker.worker import PoolWorker
from tests.credential_kit import CredentialCipher
from tests.fix_running_time import RunningTime
from tests.fix_simulator import ACCESS_TOKEN, MakeDhanServer
from tests.support import eventually

KEY = InstrumentKey("NSE", "INFY")


@pytest.fixture
async def exchange(make_dhan_server: MakeDhanServer) -> DhanExchange:
    return await make_dhan_server(rate=5_000)


@pytest.fixture
async def account(user: User, cipher: CredentialCipher, exchange: DhanExchange) -> BrokerAccount:
    """An account whose broker is the local exchange."""
    account = BrokerAccount(user=user, broker="dhan", endpoint=exchange.url)
    values = {"client_id": "1000000001", "access_token": ACCESS_TOKEN}
    account.set_credentials(values, cipher)
    await account.asave()
    listed = (quote.instrument for quote in exchange.market.quotes.values())
    name = next(name for item in listed if (name := name_of(item)) and name.segment == "NSE_EQ")
    await Instrument.objects.acreate(
        broker="dhan",
        exchange=KEY.exchange,
        symbol=KEY.symbol,
        broker_token=f"{name.segment}:{name.security_id}",
        broker_symbol=KEY.symbol,
        loaded=timezone.now(),
    )
    return account


class Watched:
    """A worker on the site's database and what it published."""

    def __init__(self, data_dir: Path) -> None:
        self.sink = RecordingSink()
        self.worker = PoolWorker(
            store=DjangoAccountStore(key_file=data_dir / "credentials.key"),
            registry=default_registry(),
            sink_for=lambda pool_id, broker: self.sink,
            clock=SystemClock(),
            rng=random.Random(1),
            worker_id="w1",
            epoch=1,
        )

    def has_trade_times(self, *, is_known: bool) -> bool:
        """Whether the newest ticks have the time of a trade, or none of them has."""
        newest = self.sink.ticks[-3:]
        return len(newest) == 3 and all((tick.ltt_ms is not None) is is_known for tick in newest)


@pytest.fixture
async def watched(account: BrokerAccount, data_dir: Path) -> AsyncIterator[Watched]:
    found = Watched(data_dir)
    await found.worker.open()
    yield found
    await found.worker.close()


async def test_a_saved_setting_is_in_force_within_five_seconds(
    account: BrokerAccount, watched: Watched, running_time: RunningTime, exchange: DhanExchange
) -> None:
    worker, pool_id = watched.worker, account.pool_id
    await worker.want(pool_id, Holder("g", "ann"), [Want(KEY, FeedMode.QUOTE)])
    await eventually(lambda: watched.has_trade_times(is_known=True))

    account.broker_settings = {"trade_time_offset_seconds": 0}
    await sync_to_async(account.full_clean)()
    await account.asave()
    saved = running_time.seconds
    # The exchange counts Indian time as UTC; taken for Unix time, a trade has yet to happen.
    await eventually(lambda: watched.has_trade_times(is_known=False), timeout=30)
    assert running_time.seconds - saved < 5
    stats = worker.stats(pool_id)
    assert (stats.wanted, stats.clients, len(stats.connections)) == (1, 1, 1)
    assert exchange.record().complaints() == []

    async def notes() -> list[str]:
        kinds = PoolEvent.objects.filter(account=account, kind="settings_applied")
        return [message async for message in kinds.values_list("message", flat=True)]

    assert await eventually(notes) == ["settings: trade_time_offset_seconds=0"]
