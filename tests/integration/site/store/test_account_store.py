"""The worker's door to the database."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import InterfaceError, OperationalError
from django.db.backends.signals import connection_created
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.pool_service import FeedStatus
from brokers.types import InstrumentKey
from pooling.contracts import AccountStore, UsageSample
from pooling.exceptions import StoreUnavailableError
from pooling.feed_health import CLOSED_REASON, PAUSED_REASON
from pooling.models import (
    BrokerAccount,
    Instrument,
    PoolConfig,
    PoolEvent,
    PoolStatus,
    PoolUsage,
    SearchTier,
)
from pooling.store import accounts as stores
from pooling.store.accounts import DjangoAccountStore
from pooling.worker.refused import RefusedAccount
from tests.credential_kit import CredentialCipher, foreign_sealer
from tests.integration.site.store.store_kit import NOW, stats

DAY_MS = 24 * 3600 * 1000


def sample(pool_id: str, started_ms: int = NOW) -> UsageSample:
    return UsageSample(
        pool_id=pool_id,
        started_ms=started_ms,
        ended_ms=started_ms + 300_000,
        symbols=7,
        connections=2,
        clients=3,
        ticks_per_second=10.0,
        symbols_at_ms=NOW + 1_000,
        connections_at_ms=NOW + 2_000,
        clients_at_ms=NOW + 3_000,
        ticks_per_second_at_ms=NOW + 4_000,
    )


@pytest.fixture
def store(data_dir: Path) -> DjangoAccountStore:
    return DjangoAccountStore(key_file=data_dir / "credentials.key")


async def test_store_satisfies_the_contract(store: DjangoAccountStore) -> None:
    contract: AccountStore = store
    assert contract is store


async def test_accounts_carry_limits_capped_by_the_broker(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    await sync_to_async(PoolConfig.objects.create)(
        account=account,
        symbols_per_connection=5000,
        max_connections=2,
        max_idle_time=60,
        exclusive_heartbeat=0,
    )
    (spec,) = await store.accounts()
    assert (spec.pool_id, spec.broker, spec.endpoint) == (str(account.pk), "zerodha", None)
    assert spec.options.symbols_per_connection == 3000
    assert spec.options.max_connections == 2
    assert spec.options.max_idle_seconds == 60
    assert spec.options.exclusive_heartbeat_seconds == 0
    assert spec.options.exclusive_reconnect_seconds == 60
    assert spec.options.revision == 1


async def test_accounts_leave_out_disabled_ones_and_inactive_users(
    store: DjangoAccountStore, account: BrokerAccount, user: User
) -> None:
    @sync_to_async
    def prepare() -> None:
        BrokerAccount.objects.create(user=user, broker="binance", enabled=False)
        other = User.objects.create_user("left", is_active=False)
        BrokerAccount.objects.create(user=other, broker="zerodha")

    await prepare()
    assert [spec.pool_id for spec in await store.accounts()] == [str(account.pk)]


async def test_an_account_that_cannot_be_served_says_why_and_hides_nobody(
    store: DjangoAccountStore, account: BrokerAccount, user: User
) -> None:
    """Whatever a fixture, an import or the ORM has stored: the others are served."""

    @sync_to_async
    def prepare() -> dict[str, str]:
        def add(word: str, **fields: object) -> BrokerAccount:
            fields = {"broker": "zerodha", "label": word, **fields}
            return BrokerAccount.objects.create(user=user, **fields)

        broken = {
            "gone": add("unknown", broker="gone"),
            "'no_such'": add("setting", broker_settings={"no_such": 1}),
            "must be an object": add("list", broker_settings=["no", "object"]),
            "max_connections must be": add("limits"),
        }
        PoolConfig.objects.create(account=broken["max_connections must be"], max_connections=0)
        add("behind")
        return {text: one.pool_id for text, one in broken.items()}

    broken = await prepare()
    specs = {spec.pool_id: spec for spec in await store.accounts()}
    assert len(specs) == 6
    for text, pool_id in broken.items():
        assert text in specs[pool_id].problem
    assert [spec.label for spec in specs.values() if not spec.problem] == ["main", "behind"]


async def test_what_the_database_cannot_store_costs_its_own_pool_only(
    store: DjangoAccountStore, account: BrokerAccount, user: User
) -> None:
    second = await sync_to_async(BrokerAccount.objects.create)(user=user, broker="binance")
    rows = [stats(account.pool_id, used=2**80), stats(second.pool_id, reason="a\0b")]
    await store.save_status("w", 1, rows)

    @sync_to_async
    def written() -> list[tuple[int, str]]:
        return list(PoolStatus.objects.values_list("account_id", "reason"))

    assert await written() == [(second.pk, "a\N{REPLACEMENT CHARACTER}b")]
    bad = replace(sample(account.pool_id), ticks_received=2**80)
    await store.save_usage([bad, sample(second.pool_id)])
    assert await sync_to_async(PoolUsage.objects.get)() is not None
    await store.record_event(account.pool_id, "lost", "the broker said \0")
    assert "said" in (await sync_to_async(PoolEvent.objects.get)(kind="lost")).message


async def test_only_the_named_accounts_are_served(
    data_dir: Path, account: BrokerAccount, user: User
) -> None:
    second = await sync_to_async(BrokerAccount.objects.create)(user=user, broker="binance")
    store = DjangoAccountStore(key_file=data_dir / "credentials.key", account_ids=[second.pk])
    assert [spec.broker for spec in await store.accounts()] == ["binance"]


async def test_credentials_come_back_in_clear_with_their_version(
    store: DjangoAccountStore, account: BrokerAccount, cipher: CredentialCipher
) -> None:
    account.set_credentials({"api_key": "key-1", "access_token": "token-1"}, cipher)
    await sync_to_async(account.save)()
    read = await store.credentials(account.pool_id)
    assert dict(read.values) == {"api_key": "key-1", "access_token": "token-1"}
    assert read.version == 1
    assert "key-1" not in str(account.credentials.values())


async def test_credentials_of_another_key_file_are_a_configuration_error(
    store: DjangoAccountStore, account: BrokerAccount, cipher: CredentialCipher
) -> None:
    foreign = foreign_sealer()
    account.set_credentials({"api_key": "k"}, foreign)
    await sync_to_async(account.save)()
    with pytest.raises(BrokerConfigError, match="key file"):
        await store.credentials(account.pool_id)


@pytest.fixture
def small_statements() -> Iterator[None]:
    """Make SQLite take no more parameters than the oldest versions do."""

    def limit(connection: Any, **_: Any) -> None:
        if connection.vendor == "sqlite":
            connection.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)

    connection_created.connect(limit)
    yield
    connection_created.disconnect(limit)


@pytest.mark.usefixtures("small_statements")
async def test_resolve_finds_more_keys_than_one_statement_takes(
    store: DjangoAccountStore, instruments: list[Instrument]
) -> None:
    unknown = [InstrumentKey("NSE", f"NONE{number}") for number in range(9000)]
    wanted = [
        *unknown,
        InstrumentKey("NSE", "INFY"),
        InstrumentKey("NFO", "INFY"),
        InstrumentKey("BINANCE", "BTCUSDT"),
    ]
    found = await store.resolve("zerodha", wanted)
    assert {key: value.broker_token for key, value in found.items()} == {
        InstrumentKey("NSE", "INFY"): "408065"
    }


async def test_a_store_says_when_names_changed_and_which_expired(
    store: DjangoAccountStore, instruments: list[Instrument]
) -> None:
    infy, future = InstrumentKey("NSE", "INFY"), InstrumentKey("NFO", "RELIANCE28NOV26FUT")
    assert await store.names_revision("zerodha") == 0
    assert await store.expired("zerodha", [infy, future]) == {}
    assert await store.listed("zerodha", ["408065", "9001", "1"]) == {"408065", "9001"}

    def expire() -> None:
        Instrument.objects.filter(symbol="M&M").update(tier=SearchTier.EXPIRED)
        Instrument.objects.filter(symbol=future.symbol).update(expiry=date(2020, 11, 28))

    await sync_to_async(expire)()
    await store.expire()
    assert await store.names_revision("zerodha") == 1
    assert await store.names_revision("binance") == 0
    left = InstrumentKey("NSE", "M&M")
    assert await store.expired("zerodha", [infy, future, left]) == {
        future: date(2020, 11, 28),
        left: None,
    }
    assert await store.listed("zerodha", ["9001"]) == set()
    assert set(await store.resolve("zerodha", [infy, future])) == {infy}


async def test_status_keeps_one_row_per_pool_and_the_time_a_revision_was_applied(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    read = sync_to_async(lambda: PoolStatus.objects.get(account=account))
    await store.save_status("host:1", 7, [stats(account.pool_id), stats("999999")])
    first = await read()
    await store.save_status("host:1", 7, [stats(account.pool_id, used=13)])
    second = await read()
    await store.save_status("host:1", 7, [stats(account.pool_id, config_revision=2)])
    third = await read()
    assert await sync_to_async(PoolStatus.objects.count)() == 1
    assert (first.used, second.used) == (12, 13)
    assert first.applied == second.applied
    assert third.applied is not None
    assert second.applied is not None
    assert third.applied > second.applied
    assert third.heartbeat > first.heartbeat
    assert third.stats["symbols_per_connection"] == 3000


async def test_usage_keeps_each_peak_with_its_own_time(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    await store.save_usage([sample(account.pool_id), sample("999999")])
    row = await sync_to_async(PoolUsage.objects.get)()
    seconds = [
        (at - row.started).total_seconds()
        for at in (row.symbols_at, row.connections_at, row.clients_at, row.ticks_per_second_at)
    ]
    assert seconds == [1.0, 2.0, 3.0, 4.0]


async def test_usage_older_than_ninety_days_goes(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    kept = sample(account.pool_id, NOW - 89 * DAY_MS)
    await store.save_usage([sample(account.pool_id, NOW - 91 * DAY_MS), kept])
    row = await sync_to_async(PoolUsage.objects.get)()
    assert row.started.timestamp() * 1000 == kept.started_ms


async def test_events_of_a_pool_are_bounded(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    for number in range(12):
        await store.record_event(account.pool_id, "test", f"event {number} " + "x" * 600)
    await store.record_event("999999", "test", "of a pool that is gone")
    assert await sync_to_async(PoolEvent.prune)(account.pk, 5) == 7
    kept = await sync_to_async(lambda: [each.message for each in PoolEvent.objects.all()])()
    assert [message.split(" x")[0] for message in kept] == [f"event {n}" for n in range(11, 6, -1)]


async def states(pk: int) -> list[str]:
    rows = PoolEvent.objects.filter(account=pk, kind__startswith="feed_").order_by("at", "id")
    return [row.kind async for row in rows]


async def test_changes_of_state_are_events(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    """One for each change, at its own time, with its reason; none while a state lasts."""
    pool_id = account.pool_id
    for status, reason, at in [
        (FeedStatus.STALE, "just started", 0),
        (FeedStatus.LIVE, "", 1000),
        (FeedStatus.LIVE, "1 connection is not live", 1000),
        (FeedStatus.AUTH_REQUIRED, "the token ended", 9000),
    ]:
        seen = stats(pool_id, status=status, reason=reason, since_ms=NOW + at)
        await store.save_status("w:1", 1, [seen])
    assert await states(account.pk) == ["feed_stale", "feed_live", "feed_auth_required"]
    last = await PoolEvent.objects.alatest("at")
    assert (last.message, last.at.timestamp() * 1000) == ("the token ended", NOW + 9000)


async def test_a_worker_that_was_killed_leaves_a_gap_that_the_next_one_notes(
    store: DjangoAccountStore, account: BrokerAccount, data_dir: Path
) -> None:
    now_ms = round(time.time() * 1000)
    before = stats(account.pool_id, since_ms=now_ms - 600_000)
    await store.save_status("w:1", 1, [before])
    heard = timezone.now() - timedelta(minutes=3)
    await PoolStatus.objects.aupdate(heartbeat=heard)
    next_store = DjangoAccountStore(key_file=data_dir / "credentials.key")
    await next_store.save_status("w:2", 2, [stats(account.pool_id, since_ms=now_ms)])
    assert await states(account.pk) == ["feed_live", "feed_not_served", "feed_live"]
    gap = await PoolEvent.objects.aget(kind="feed_not_served")
    assert (gap.at, gap.message) == (heard, "worker w:1 was not heard any more")


async def test_a_worker_that_ends_says_so_and_a_pause_is_no_outage(
    store: DjangoAccountStore, account: BrokerAccount, data_dir: Path
) -> None:
    paused = stats(account.pool_id, status=FeedStatus.CLOSED, reason=PAUSED_REASON)
    ended = stats(account.pool_id, status=FeedStatus.CLOSED, reason=CLOSED_REASON)
    for each in (paused, ended):
        await store.save_status("w:1", 1, [each])
    assert await states(account.pk) == ["feed_closed"]
    await store.save_status("w:1", 1, [stats(account.pool_id, since_ms=NOW + 1)])
    await store.save_status("w:1", 1, [msgspec.structs.replace(ended, since_ms=NOW + 2)])
    assert (await states(account.pk))[-1] == "feed_not_served"
    assert (await PoolEvent.objects.alatest("at")).message == "worker w:1 ended"


async def test_an_account_that_cannot_be_opened_says_why_and_not_that_its_worker_ended(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    refused = RefusedAccount(
        spec=await sync_to_async(account.to_spec)(),
        reason="it cannot be opened: its limits make no sense",
        since_ms=NOW,
        life=1,
        is_final=True,
    )
    await store.save_status("w:1", 1, [refused.to_stats()])
    told = await PoolEvent.objects.alatest("at")
    assert (told.kind, told.message) == ("feed_not_served", refused.reason)


async def test_an_account_that_was_switched_off_is_noted_once_the_database_takes_it(
    store: DjangoAccountStore, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.save_status("w:1", 1, [stats(account.pool_id)])
    await BrokerAccount.objects.filter(pk=account.pk).aupdate(enabled=False)

    def locked(events: list[PoolEvent], **_: object) -> None:
        if events:
            raise OperationalError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(PoolEvent.objects, "bulk_create", locked)
        with pytest.raises(StoreUnavailableError):
            await store.save_status("w:1", 1, [])
    for _ in range(2):
        await store.save_status("w:1", 1, [])
    assert await states(account.pk) == ["feed_live", "feed_disabled"]


async def test_an_account_that_is_switched_off_is_no_outage(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    await store.save_status("w:1", 1, [stats(account.pool_id)])
    await BrokerAccount.objects.aupdate(enabled=False)
    await store.save_status("w:1", 1, [])
    await store.save_status("w:1", 1, [])
    assert await states(account.pk) == ["feed_live", "feed_disabled"]


async def test_other_events_do_not_drive_out_when_the_feed_was_down(
    store: DjangoAccountStore, account: BrokerAccount
) -> None:
    await store.save_status("w:1", 1, [stats(account.pool_id)])
    for n in range(4):
        await store.record_event(account.pool_id, "upkeep", f"{n}")
    assert await sync_to_async(PoolEvent.prune)(account.pk, 2) == 2
    assert await states(account.pk) == ["feed_live"]
    assert await PoolEvent.objects.acount() == 3


async def test_a_database_that_fails_is_the_stores_failure(
    store: DjangoAccountStore, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object) -> None:
        raise InterfaceError("connection to server failed: refused\n\tIs it running there?\n")

    calls = (
        store.accounts(),
        store.resolve("zerodha", [InstrumentKey("NSE", "INFY")]),
        store.names_revision("zerodha"),
        store.save_status("w", 1, [stats(account.pool_id)]),
        store.record_event(account.pool_id, "kind", "words"),
    )
    with monkeypatch.context() as away:
        away.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", fail)
        for call in calls:
            with pytest.raises(StoreUnavailableError) as raised:
                await call
            words = "InterfaceError: connection to server failed: refused Is it running there?"
            assert str(raised.value) == words


async def test_who_waits_for_a_name_does_not_wait_for_a_database_that_hangs(
    store: DjangoAccountStore, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = threading.Event()
    monkeypatch.setattr(stores, "LOOK_UP_SECONDS", 0.02)
    monkeypatch.setattr(stores, "_names_revision", lambda broker: answer.wait())
    try:
        with pytest.raises(StoreUnavailableError, match="did not answer within"):
            await store.names_revision("zerodha")
    finally:
        answer.set()
