"""What is told of a pool is the same wherever it is told: room, sockets, and how old a close is."""

from __future__ import annotations

import time
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from brokers.pool_service import ConnectionStats, FeedStatus
from openalgo_site.doctor import processes
from openalgo_site.doctor.findings import Outcome
from pooling.models import BrokerAccount, PoolStatus, PoolUsage
from pooling.operations.describe import accounts_with_status, connections_text, view_of
from pooling.store.accounts import DjangoAccountStore
from tests.integration.site.admin.admin_kit import staff
from tests.integration.site.store.store_kit import stats


def written(account: BrokerAccount, store: Any, *states: str, **changes: Any) -> None:
    """Store a pool's status as its worker would."""
    now_ms = time.time_ns() // 1_000_000
    connections = [
        ConnectionStats(
            slot=slot,
            state=state,
            since_ms=now_ms,
            used=1,
            capacity=9,
            last_close="hung up",
            last_close_ms=now_ms - 180_000,
        )
        for slot, state in enumerate(states, 1)
    ]
    store._save_status("w:1", 1, [stats(account.pool_id, connections=connections, **changes)])
    PoolStatus.objects.update(heartbeat=timezone.now() + timedelta(hours=1))


def shown(*arguments: str) -> str:
    out = StringIO()
    call_command("pool", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def store(data_dir: Any) -> Any:
    return DjangoAccountStore(key_file=data_dir / "credentials.key")


def test_symbols_without_a_place_are_one_word_everywhere(
    account: BrokerAccount, store: Any
) -> None:
    reason = "6 symbols are waiting for room"
    written(account, store, "live", status=FeedStatus.LIVE, waiting=6, reason=reason)
    view = view_of(accounts_with_status().get(), timezone.now())
    assert (view.state, view.reason) == ("waiting for room", reason)
    assert "waiting for room" in shown("list")
    assert "waiting for room" in shown("show", account.pool_id)
    (found,) = [each for each in processes.workers() if each.outcome is Outcome.WARNING]
    assert "waiting for room: 6 symbols" in found.message
    assert "set-limit" in found.mends


def test_a_socket_that_is_not_there_is_no_connection(account: BrokerAccount, store: Any) -> None:
    written(account, store, "backoff", status=FeedStatus.STALE, reason="hung up")
    view = view_of(accounts_with_status().get(), timezone.now())
    assert connections_text(view) == "0 of 3 connected, 1 trying"
    assert "0 of 3 connected, 1 trying" in shown("show", account.pool_id)
    assert "0/3" in shown("list")
    deferred = view_of(accounts_with_status().defer("status__stats").get(), timezone.now())
    assert deferred.trying is None
    assert connections_text(deferred) == "0 of 3 connected"


def test_the_last_close_says_how_long_ago_it_was(account: BrokerAccount, store: Any) -> None:
    """After the recovery it is history, and reads so."""
    written(account, store, "live", status=FeedStatus.LIVE)
    assert "hung up (3 min ago)" in shown("show", account.pool_id)
    client = Client()
    client.force_login(staff("op", "pooling.view_brokeraccount"))
    page = client.get(f"/admin/pooling/brokeraccount/{account.pk}/change/").content.decode()
    assert "hung up, <" in page
    assert "3 min ago" in page


def test_a_refused_credential_is_one_word_everywhere(account: BrokerAccount, store: Any) -> None:
    """Programs and people read the same two words on every surface."""
    written(
        account, store, "auth_required", status=FeedStatus.AUTH_REQUIRED, reason="token expired"
    )
    assert "login needed" in shown("list")
    assert "login needed" in shown("list", "--state", "login needed")
    assert "login needed" in shown("list", "--state", "auth_required")
    said = shown("show", account.pool_id)
    assert "login needed: token expired" in said
    assert "auth_required" not in said
    assert "login needed" in shown("top", "--once")
    client = Client()
    client.force_login(staff("op", "pooling.view_brokeraccount"))
    page = client.get(f"/admin/pooling/brokeraccount/{account.pk}/change/").content.decode()
    assert "login needed" in page
    assert '"login needed"' in shown("list", "--json")


def test_what_there_is_one_of_is_told_so(account: BrokerAccount) -> None:
    now = timezone.now()
    names = ("symbols", "connections", "clients", "ticks_per_second")
    peaks: dict[str, Any] = {f"{name}_at": now for name in names}
    PoolUsage.objects.create(
        account=account, started=now, ended=now, reconnects=1, ticks_received=1, drops=2, **peaks
    )
    said = shown("peaks", account.pool_id)
    assert "1 interval, 1 tick, 1 reconnect, 2 drops" in said
    said = shown("prune", "--days", "1", "--dry-run")
    assert "Older than 1 day: 0 intervals" in said
