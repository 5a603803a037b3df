"""History in the database: intervals, days, records, what a crash leaves, and what goes by age."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from django.utils import timezone

from brokers.pool_service import Peak, Peaks
from pooling.contracts import UsageSample
from pooling.models import (
    BrokerAccount,
    PoolCommand,
    PoolRecord,
    PoolStatus,
    PoolUsage,
    PoolUsageDay,
)
from pooling.store.history import Pruned, prune, read_pasts, write_usage
from tests.integration.site.store.store_kit import stats

INDIA = ZoneInfo("Asia/Kolkata")
FIVE_MINUTES = 300_000
# One day for the whole of a run, which may go on over midnight.
TODAY = timezone.localtime(timezone=INDIA).replace(hour=0, minute=0, second=0, microsecond=0)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def sample(account: BrokerAccount, ended: datetime, **values: Any) -> UsageSample:
    at_ms = ms(ended) - 1000
    fields: dict[str, Any] = {
        "symbols": 1,
        "connections": 1,
        "clients": 1,
        "ticks_per_second": 1.0,
        "ticks_received": 10,
        "reconnects": 1,
        "drops": 2,
        "max_connections": 3,
        "symbols_per_connection": 1000,
        "capacity": 3000,
        **values,
    }
    return UsageSample(
        pool_id=account.pool_id,
        started_ms=ms(ended) - FIVE_MINUTES,
        ended_ms=ms(ended),
        symbols_at_ms=at_ms,
        connections_at_ms=at_ms,
        clients_at_ms=at_ms,
        ticks_per_second_at_ms=at_ms,
        **fields,
    )


def of_today(hour: int, minute: int = 0) -> datetime:
    return TODAY.replace(hour=hour, minute=minute)


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Stop the clock at noon: just after midnight an interval that ends now is of yesterday."""
    now = of_today(12)
    monkeypatch.setattr(timezone, "now", lambda: now)
    return now


def peaks(value: float, at_ms: int) -> Peaks:
    peak = Peak(value, at_ms)
    return Peaks(symbols=peak, connections=peak, clients=peak, ticks_per_second=peak)


def test_an_interval_is_rolled_up_into_its_day_and_the_record(account: BrokerAccount) -> None:
    ten, twelve = of_today(10), of_today(12)
    write_usage([sample(account, ten, symbols=900, drops=5), sample(account, twelve, clients=40)])
    write_usage([sample(account, of_today(13), max_connections=2, capacity=2000)])
    assert PoolUsage.objects.count() == 3
    day = PoolUsageDay.objects.get()
    assert day.day == ten.date()
    assert (day.symbols, day.clients, day.ticks_received, day.reconnects) == (900, 40, 30, 3)
    assert day.drops == 9
    assert day.symbols_at == ten - timedelta(seconds=1)
    assert day.clients_at == twelve - timedelta(seconds=1)
    assert (day.max_connections, day.capacity) == (2, 2000), "the limits in force at the end"
    record = PoolRecord.objects.get()
    assert (record.symbols, record.clients, record.drops) == (900, 40, 5)
    assert record.drops_at == ten


def test_days_begin_at_midnight_of_the_installation(account: BrokerAccount) -> None:
    """23:55 to 24:00 in India is of the old day, whatever day it is in UTC."""
    midnight = of_today(0)
    write_usage([sample(account, midnight, symbols=5), sample(account, of_today(0, 5))])
    days = dict(PoolUsageDay.objects.values_list("day", "symbols"))
    assert days == {midnight.date() - timedelta(days=1): 5, midnight.date(): 1}


def test_an_interval_cut_a_moment_too_early_or_late_stays_in_its_day(
    account: BrokerAccount,
) -> None:
    late = of_today(0) + timedelta(milliseconds=7)
    write_usage([sample(account, late)])
    assert PoolUsageDay.objects.get().day == late.date() - timedelta(days=1)


def test_a_record_falls_only_to_a_higher_one(account: BrokerAccount) -> None:
    write_usage([sample(account, of_today(10), symbols=900)])
    write_usage([sample(account, of_today(11), symbols=900, connections=3)])
    record = PoolRecord.objects.get()
    assert record.symbols_at == of_today(10) - timedelta(seconds=1), "of equal ones the first"
    assert (record.connections, record.connections_at) == (3, of_today(11) - timedelta(seconds=1))


def test_a_new_worker_finds_what_earlier_ones_left(account: BrokerAccount, noon: datetime) -> None:
    write_usage([sample(account, noon, symbols=900)])
    past = read_pasts([account.pool_id, "999999"])
    assert past.keys() == {account.pool_id}
    found = past[account.pool_id]
    assert found.today is not None
    assert found.all_time is not None
    assert found.all_time.symbols == Peak(900, ms(noon) - 1000)


def test_a_crash_loses_nothing_that_the_status_row_had(
    account: BrokerAccount, noon: datetime
) -> None:
    """The worker ended before it saved the interval in which the peak was."""
    write_usage([sample(account, noon, symbols=900)])
    crashed = msgspec.structs.replace(
        stats(account.pool_id),
        today=peaks(5000, ms(noon)),
        all_time=peaks(5000, ms(noon)),
        last_tick_ms=ms(noon),
    )
    PoolStatus.objects.create(
        account=account,
        owner="w",
        state="live",
        since=noon,
        heartbeat=noon,
        stats=msgspec.to_builtins(crashed),
    )
    found = read_pasts([account.pool_id])[account.pool_id]
    assert found.today is not None
    assert found.today.symbols.value == 5000
    assert found.last_tick_ms == ms(noon)
    assert PoolRecord.objects.get().symbols == 5000
    assert PoolUsageDay.objects.get().symbols == 5000


def test_what_a_status_row_says_of_yesterday_is_not_todays(account: BrokerAccount) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    old = msgspec.structs.replace(
        stats(account.pool_id),
        today=peaks(7, ms(yesterday)),
        all_time=peaks(7, ms(yesterday)),
        reconnects_today=4,
    )
    PoolStatus.objects.create(
        account=account,
        owner="w",
        state="live",
        since=yesterday,
        heartbeat=yesterday,
        stats=msgspec.to_builtins(old),
    )
    found = read_pasts([account.pool_id])[account.pool_id]
    assert found.today is None
    assert not found.reconnects_today
    assert found.all_time == peaks(7, ms(yesterday))


def test_a_status_row_of_another_version_does_no_harm(account: BrokerAccount) -> None:
    now = timezone.now()
    PoolStatus.objects.create(
        account=account, owner="w", state="live", since=now, heartbeat=now, stats={"x": 1}
    )
    past = read_pasts([account.pool_id])[account.pool_id]
    assert (past.today, past.all_time) == (None, None)


def test_samples_of_a_thousand_pools_take_few_statements(
    account: BrokerAccount, django_assert_max_num_queries: Any
) -> None:
    accounts = BrokerAccount.objects.bulk_create(
        BrokerAccount(user=account.user, broker="zerodha", label=str(number))
        for number in range(1000)
    )
    for hour in (10, 11):
        samples = [sample(each, of_today(hour)) for each in accounts]
        with django_assert_max_num_queries(200):
            write_usage(samples)
    assert PoolUsageDay.objects.filter(ticks_received=20).count() == 1000
    with django_assert_max_num_queries(20):
        assert len(read_pasts([each.pool_id for each in accounts])) == 1000


def test_old_rows_go_and_days_and_records_stay(account: BrokerAccount, settings: Any) -> None:
    settings.ENV = msgspec.structs.replace(settings.ENV, usage_kept_days=30)
    now = timezone.now()
    write_usage([sample(account, now - timedelta(days=age)) for age in (0, 29, 31, 100)])
    for age in (1, 400):
        PoolCommand.objects.create(
            account=account,
            verb="rebalance",
            source="api",
            state="done",
            requested=now - timedelta(days=age),
        )
    assert prune() == Pruned(usage=2, commands=1)
    assert prune(usage_kept=timedelta(days=1)) == Pruned(usage=1, commands=0)
    assert PoolUsageDay.objects.count() == 4
    assert PoolRecord.objects.count() == 1


@pytest.mark.parametrize("most", [1, None])
def test_pruning_stops_when_it_is_told_to(
    account: BrokerAccount, monkeypatch: pytest.MonkeyPatch, most: int | None
) -> None:
    monkeypatch.setattr("pooling.store.history.ROWS_PER_DELETE", 2)
    old = timezone.now() - timedelta(days=200)
    write_usage([sample(account, old - timedelta(hours=hour)) for hour in range(7)])
    assert prune(most=most).usage == (2 if most else 7)


def test_an_account_that_was_deleted_meanwhile_costs_the_others_nothing(
    account: BrokerAccount,
) -> None:
    gone = replace(sample(account, of_today(9)), pool_id="999999")
    write_usage([gone, sample(account, of_today(9))])
    assert PoolUsage.objects.count() == PoolUsageDay.objects.count() == 1
