"""``manage.py pool``: what it prints, what it changes, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from pooling.models import (
    BrokerAccount,
    PoolCommand,
    PoolConfig,
    PoolEvent,
    PoolStatus,
    PoolUsage,
    PoolUsageDay,
)
from pooling.store import commands as command_queue
from streaming.models import GatewayStatus
from tests.support import eventually_sync


def pool(*arguments: object) -> str:
    out = io.StringIO()
    call_command("pool", *map(str, arguments), stdout=out)
    return out.getvalue()


def pool_json(*arguments: object) -> Any:
    return json.loads(pool(*arguments, "--json"))


def refused(*arguments: object) -> tuple[int, str]:
    with pytest.raises(CommandError) as caught:
        pool(*arguments)
    return caught.value.returncode, str(caught.value)


def serve(account: BrokerAccount, **values: Any) -> PoolStatus:
    """Write the row of a worker that is there."""
    now = timezone.now()
    connections = [
        {"slot": 1, "state": "live", "since_ms": now.timestamp() * 1000 - 5000, "used": 500,
         "capacity": 1000, "frames_received": 10, "reconnects": 2, "last_tick_age_ms": 300,
         "last_close": "1006"},
    ]  # fmt: skip
    defaults: dict[str, Any] = {
        "owner": "host:1", "state": "live", "since": now, "heartbeat": now + timedelta(minutes=5),
        "connections": 1, "max_connections": 3, "used": 500, "symbols": 500, "capacity": 3000,
        "ticks_per_second": 99.5, "applied_revision": 1, "last_tick": now,
        "stats": {"connections": connections, "ticks_received": 77, "used": 500},
    }  # fmt: skip
    status, _ = PoolStatus.objects.update_or_create(account=account, defaults=defaults | values)
    return status


# Looking


def test_list_shows_state_and_use_and_filters(account: BrokerAccount, user: User) -> None:
    serve(account)
    other = BrokerAccount.objects.create(user=user, broker="binance", enabled=False)
    text = pool("list")
    assert "asha/zerodha/main" in text
    assert "500/3,000" in text
    assert {row["id"]: row["state"] for row in pool_json("list")["pools"]} == {
        account.pk: "live",
        other.pk: "disabled",
    }
    assert [row["id"] for row in pool_json("list", "--broker", "binance")["pools"]] == [other.pk]
    assert pool_json("list", "--state", "stale")["pools"] == []
    assert pool("list", "--user", "nobody") == "No such pool.\n"


def test_a_silent_worker_is_no_worker(account: BrokerAccount) -> None:
    serve(account, heartbeat=timezone.now() - timedelta(seconds=30))
    (row,) = pool_json("list")["pools"]
    assert row["state"] == "no worker"
    assert row["used"] == 0
    assert row["heartbeat_age"] > 29


def test_list_needs_few_queries(
    account: BrokerAccount, django_assert_max_num_queries: Any, user: User
) -> None:
    for number in range(50):
        serve(BrokerAccount.objects.create(user=user, broker="zerodha", label=f"n{number}"))
    with django_assert_max_num_queries(3):
        pool("list")


def test_show_has_connections_limits_events_and_requests(account: BrokerAccount) -> None:
    serve(account)
    PoolEvent.objects.create(account=account, kind="connected", message="connection 1")
    command_queue.submit(account, "rebalance", source="api")
    shown = pool_json("show", "asha/zerodha")
    assert shown["connection_list"][0]["slot"] == 1
    assert shown["limits"]["symbols_per_connection"]["broker"] == 3000
    assert shown["events"][0]["message"] == "connection 1"
    assert shown["requests"][0]["verb"] == "rebalance"
    text = pool("show", account.pk)
    for words in ("live", "500 of 3,000", "connection 1", "rebalance", "host:1"):
        assert words in text


def test_show_of_an_unknown_broker_says_so(account: BrokerAccount) -> None:
    BrokerAccount.objects.filter(pk=account.pk).update(broker="gone")
    assert "gone" in pool("show", account.pk)


def test_stats_of_one_and_of_all(account: BrokerAccount) -> None:
    serve(account)
    now = timezone.now()
    GatewayStatus.objects.create(
        gateway="g", host="host", pid=9, started=now, heartbeat=now + timedelta(minutes=1),
        clients=4, deliveries=10, deliveries_per_second=5,
    )  # fmt: skip
    assert pool_json("stats", account.pk)["stats"]["ticks_received"] == 77
    found = pool_json("stats")
    assert found["totals"]["used"] == 500
    assert found["gateways"][0]["clients"] == 4
    assert "host:9" in pool("stats")
    assert "77" in pool("stats", account.pk)


# Naming


def test_names_that_are_unknown_or_ambiguous_name_the_candidates(
    account: BrokerAccount, user: User
) -> None:
    code, words = refused("show", "asha/zerodah")
    assert code == 2
    assert f"asha/zerodha/main (id {account.pk})" in words
    BrokerAccount.objects.create(user=user, broker="zerodha", label="second/one")
    code, words = refused("pause", "asha/zerodha")
    assert code == 2
    assert "asha/zerodha/main" in words
    assert "asha/zerodha/second/one" in words
    assert pool_json("show", "asha/zerodha/second/one")["label"] == "second/one"
    assert refused("show", 10**30)[0] == 2


@pytest.mark.django_db
def test_without_any_account_it_says_how_to_make_one() -> None:
    code, words = refused("show", "1")
    assert code == 2
    assert "Brokers page" in words


# Limits


def test_set_limit_says_old_new_and_what_is_in_force(account: BrokerAccount) -> None:
    found = pool_json("set-limit", account.pk, "--symbols-per-connection", 250)
    assert found["limits"]["symbols_per_connection"] == {"old": None, "new": 250, "effective": 250}
    assert found["saved"]
    assert found["applied"] is None
    assert PoolConfig.objects.get().symbols_per_connection == 250
    event = PoolEvent.objects.get()
    assert "symbols_per_connection default → 250" in event.message
    assert "command line" in event.message
    again = pool_json("set-limit", account.pk, "--symbols-per-connection", "default")
    assert again["limits"]["symbols_per_connection"]["effective"] == 1000


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--symbols-per-connection", "3001", "Zerodha allows at most 3,000"),
        ("--symbols-per-connection", "0", "greater than or equal to 1"),
        ("--symbols-per-connection", "many", "whole number"),
        ("--max-idle-time", "-1", "greater than or equal to 0"),
        ("--warm-connections", "9", "At most 3"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(
    account: BrokerAccount, option: str, value: str, words: str
) -> None:
    code, sentence = refused("set-limit", account.pk, f"{option}={value}")
    assert code == 2
    assert words in sentence
    assert not PoolConfig.objects.exists()


def test_set_limit_without_a_limit_names_them(account: BrokerAccount) -> None:
    code, words = refused("set-limit", account.pk)
    assert code == 2
    assert "--max-connections" in words


def test_what_would_be_dropped_needs_a_yes(account: BrokerAccount) -> None:
    serve(account)
    lower = ("set-limit", account.pk, "--symbols-per-connection", 100, "--wait", 0)
    found = pool_json(*lower, "--dry-run")
    assert (found["drops"], found["capacity"], found["saved"]) == (200, 300, False)
    code, words = refused(*lower)
    assert code == 2
    assert "200 of 500" in words
    assert not PoolConfig.objects.exists()
    assert pool_json(*lower, "--yes")["saved"]


@pytest.mark.parametrize(("answer", "is_saved"), [("y", True), ("", False)])
def test_a_person_is_asked(
    account: BrokerAccount, monkeypatch: pytest.MonkeyPatch, answer: str, is_saved: bool
) -> None:
    serve(account)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    lower = ("set-limit", account.pk, "--max-connections", 1, "--symbols-per-connection", 1)
    if is_saved:
        pool(*lower, "--wait", 0)
    else:
        assert refused(*lower)[0] == 1
    assert PoolConfig.objects.exists() is is_saved


def test_set_limit_waits_for_the_worker(account: BrokerAccount) -> None:
    serve(account, applied_revision=0)

    def apply() -> None:
        try:
            eventually_sync(
                lambda: PoolConfig.objects.filter(max_connections=2).exists(), timeout=30
            )
            PoolStatus.objects.update(applied_revision=PoolConfig.objects.get().revision)
        finally:
            connection.close()

    worker = threading.Thread(target=apply)
    worker.start()
    found = pool_json("set-limit", account.pk, "--max-connections", 2, "--wait", 30)
    worker.join()
    assert found["applied"] is True


def test_a_worker_that_does_not_follow_is_exit_1(account: BrokerAccount) -> None:
    serve(account, applied_revision=0)
    with pytest.raises(SystemExit) as ended:
        pool("set-limit", account.pk, "--max-connections", 2, "--wait", 0.2)
    assert ended.value.code == 1


def test_the_first_limits_of_a_pool_are_not_in_force_before_its_worker_has_them(
    account: BrokerAccount,
) -> None:
    serve(account, applied_revision=PoolConfig(account=account).to_options().revision)
    with pytest.raises(SystemExit) as ended:
        pool("set-limit", account.pk, "--max-connections", 2, "--wait", 0.2)
    assert ended.value.code == 1


# Requests


def test_pause_and_resume_hold_without_a_worker(account: BrokerAccount) -> None:
    assert "as soon as one starts" in pool("pause", account.pk)
    account.refresh_from_db()
    assert account.paused
    pool("resume", account.pk)
    account.refresh_from_db()
    assert not account.paused


def test_a_reconnect_without_a_worker_is_exit_1(account: BrokerAccount) -> None:
    with pytest.raises(SystemExit) as ended:
        pool("reconnect", account.pk)
    assert ended.value.code == 1


def test_what_the_worker_says_is_what_is_printed(account: BrokerAccount) -> None:
    serve(account)

    def work() -> None:
        try:
            taken = eventually_sync(lambda: command_queue.take("host:1", [account.pk]), timeout=30)
            (command,) = cast("list[PoolCommand]", taken)
            assert command.argument == {"slot": 2}
            command_queue.finish(command.pk, is_done=True, result="Connection 2 is drained.")
        finally:
            connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    found = pool_json("drain", account.pk, "--slot", 2, "--wait", 30)
    worker.join()
    assert found["state"] == "done"
    assert found["result"] == "Connection 2 is drained."
    assert PoolCommand.objects.get().source == "command line"


def test_a_drain_without_a_slot_is_refused(account: BrokerAccount) -> None:
    code, words = refused("drain", account.pk)
    assert code == 1
    assert "slot" in words


# History


@pytest.fixture
def intervals(account: BrokerAccount) -> list[PoolUsage]:
    start = timezone.now() - timedelta(hours=2)
    rows = []
    for number, symbols in enumerate((10, 40, 40)):
        began = start + timedelta(minutes=5 * number)
        times = {f"{name}_at": began for name in ("symbols", "connections", "clients",
                                                  "ticks_per_second")}  # fmt: skip
        rows.append(
            PoolUsage(
                account=account,
                started=began,
                ended=began + timedelta(minutes=5),
                symbols=symbols,
                connections=1,
                clients=2,
                ticks_per_second=7.5,
                ticks_received=100,
                reconnects=1,
                drops=number,
                capacity=3000,
                **times,
            )
        )
    return PoolUsage.objects.bulk_create(rows)


def test_peaks_have_their_times_and_the_first_of_equals_counts(
    account: BrokerAccount, intervals: list[PoolUsage]
) -> None:
    found = pool_json("peaks", account.pk, "--from", "2020-01-01")
    assert found["symbols"]["value"] == 40
    assert found["symbols"]["at"][:19] == intervals[1].started.isoformat()[:19]
    assert (found["intervals"], found["ticks_received"], found["drops"]) == (3, 300, 3)
    assert "3 intervals" in pool("peaks", account.pk, "--from", "2020-01-01")
    assert (
        pool_json("peaks", account.pk, "--to", "2020-01-02", "--from", "2020-01-01")["symbols"]
        is None
    )


def test_peaks_as_csv_have_every_interval(
    account: BrokerAccount, intervals: list[PoolUsage]
) -> None:
    text = pool("peaks", account.pk, "--from", "2020-01-01", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["symbols"] for row in rows] == ["10", "40", "40"]
    assert rows[0]["pool"] == "asha/zerodha/main"
    assert rows[0]["started"].endswith("+05:30")
    assert rows[0]["capacity"] == "3000"
    assert rows[0]["outage_minutes"] == ""
    PoolEvent.objects.create(account=account, kind="feed_stale", at=intervals[0].started)
    text = pool("peaks", account.pk, "--from", "2020-01-01", "--csv")
    rows = list(csv.DictReader(io.StringIO(text)))
    whole = (intervals[0].ended - intervals[0].started).total_seconds() / 60
    assert float(rows[0]["outage_minutes"]) == pytest.approx(whole, abs=0.1)
    names = ("symbols", "connections", "clients", "ticks_per_second")
    times = {f"{name}_at": intervals[0].started for name in names}
    day = timezone.localtime(intervals[0].started).date()
    PoolUsageDay.objects.create(account=account, day=day, **times)
    text = pool("peaks", account.pk, "--from", "2020-01-01", "--csv", "--by-day")
    assert float(next(csv.DictReader(io.StringIO(text)))["outage_minutes"]) > 0


@pytest.mark.parametrize(
    "times",
    [
        ("--from", "yesterday"),
        ("--from", "2026-02-30"),
        ("--from", "2026-02-02", "--to", "2026-02-01"),
    ],
)
def test_times_that_are_none_are_usage_errors(
    account: BrokerAccount, times: tuple[str, ...]
) -> None:
    assert refused("peaks", account.pk, *times)[0] == 2


def test_a_name_is_no_formula(user: User) -> None:
    evil = BrokerAccount.objects.create(user=User.objects.create(username="=cmd"), broker="zerodha")
    now = timezone.now()
    times = {
        f"{name}_at": now for name in ("symbols", "connections", "clients", "ticks_per_second")
    }
    PoolUsage.objects.create(account=evil, started=now, ended=now, symbols=1, **times)
    assert "\n'=cmd" in pool("peaks", evil.pk, "--from", "2020-01-01", "--csv")


def test_prune_deletes_what_is_old(account: BrokerAccount, intervals: list[PoolUsage]) -> None:
    old = timezone.now() - timedelta(days=40)
    PoolUsage.objects.filter(pk=intervals[0].pk).update(started=old)
    PoolEvent.objects.create(account=account, kind="x", message="x", at=old)
    assert pool_json("prune", "--days", 30, "--dry-run")["intervals"] == 1
    assert PoolUsage.objects.count() == 3
    found = pool_json("prune", "--days", 30)
    assert (found["intervals"], found["events"]) == (1, 1)
    assert PoolUsage.objects.count() == 2
    assert refused("prune", "--days", 0)[0] == 2


# Files


def test_export_and_import_are_a_round_trip_without_credentials(
    account: BrokerAccount, cipher: Any, tmp_path: Path
) -> None:
    account.set_credentials({"api_key": "planted-key"}, cipher)
    account.endpoint = "wss://ws.kite.trade/path"
    account.save()
    PoolConfig.objects.create(account=account, symbols_per_connection=123, max_idle_time=9.5)
    file = tmp_path / "accounts.json"
    assert pool_json("export", "--output", file)["accounts"] == 1
    first = file.read_text()
    assert "planted-key" not in first
    assert "sealed1" not in first
    BrokerAccount.objects.all().delete()
    assert pool_json("import", file, "--dry-run")["created"] == ["asha/zerodha/main"]
    assert not BrokerAccount.objects.exists()
    pool("import", file)
    assert pool("export") == first
    found = pool_json("import", file)
    assert found["unchanged"] == ["asha/zerodha/main"]


def test_import_changes_limits_and_keeps_credentials(
    account: BrokerAccount, cipher: Any, tmp_path: Path
) -> None:
    account.set_credentials({"api_key": "planted-key"}, cipher)
    account.save()
    file = tmp_path / "accounts.json"
    content = json.loads(pool("export"))
    content["accounts"][0]["limits"]["max_connections"] = 2
    file.write_text(json.dumps(content))
    assert pool_json("import", file)["changed"] == ["asha/zerodha/main"]
    account = BrokerAccount.objects.get()
    assert account.config.max_connections == 2
    assert account.credentials_in_clear(cipher) == {"api_key": "planted-key"}


def test_an_endpoint_that_carries_a_credential_is_left_out(
    account: BrokerAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    BrokerAccount.objects.update(endpoint="wss://ws.example.com/?access_token=planted-token")
    assert "planted-token" not in pool("export")
    assert "asha/zerodha/main" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"user": "nobody"}, "no user nobody"),
        ({"broker": "unheard"}, "broker: there is no broker unheard; known are angel, "),
        ({"endpoint": "http://x"}, "endpoint: Enter a WebSocket URL"),
        ({"limits": {"max_connections": 99}}, "max_connections: Zerodha allows at most 3"),
        ({"limits": {"max_connections": "3"}}, "accounts[1].limits.max_connections"),
        ({"color": "red"}, "unknown field `color` - at `$.accounts[1]`"),
        ({"credentials": {"api_key": "x"}}, "Credentials are not imported: enter them in the"),
    ],
)
def test_one_bad_entry_and_nothing_is_taken_over(
    account: BrokerAccount, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    file = tmp_path / "accounts.json"
    content = json.loads(pool("export"))
    good = content["accounts"][0] | {"label": "good"}
    content["accounts"] = [good, good | {"label": "bad"} | change]
    file.write_text(json.dumps(content))
    code, sentence = refused("import", file)
    assert code == 1
    assert words in sentence
    assert BrokerAccount.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a file of `pool export`"),
        (b"{", "not a file of `pool export`"),
        (b"[]", "not a file of `pool export`"),
        (b"\xff\xfe", "not a file of `pool export`"),
        (b"[" * 100_000, "not a file of `pool export`"),
        (b'{"format":"other"}', 'begin with "format": "tickpool-accounts"'),
        (b'{"format":"tickpool-accounts","version":2,"new":[]}', "The file is of version 2"),
    ],
    ids=range(7),
)
def test_what_is_no_export_is_refused(
    account: BrokerAccount, tmp_path: Path, content: bytes, words: str
) -> None:
    file = tmp_path / "accounts.json"
    file.write_bytes(content)
    code, sentence = refused("import", file)
    assert code == 1
    assert words in sentence
    assert refused("import", tmp_path / "missing")[0] == 1


# The rest


def test_top_prints_one_frame_and_needs_a_terminal_for_more(account: BrokerAccount) -> None:
    serve(account)
    assert "asha/zerodha/main" in pool("top", "--once")
    assert pool_json("top")["pools"][0]["state"] == "live"
    assert refused("top")[0] == 2
    assert refused("top", "--interval", "0")[0] == 2


def test_an_api_key_as_json(user: User) -> None:
    out = io.StringIO()
    call_command("createapikey", "--user", "asha", "--json", stdout=out)
    assert len(json.loads(out.getvalue())["api_key"]) == 64


@pytest.mark.django_db(transaction=True)
def test_instruments_loaded_as_json_with_progress_elsewhere(tmp_path: Path) -> None:
    master = tmp_path / "master.csv"
    master.write_text(
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange\n"
        "408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"
    )
    out = io.StringIO()
    call_command(
        "loadinstruments", "--broker", "zerodha", "--file", str(master), "--json", stdout=out
    )
    assert json.loads(out.getvalue()) == {
        "broker": "zerodha",
        "instruments": 1,
        "written": 1,
        "expired": 0,
        "renamed": 0,
        "passed_over": [],
    }


def test_a_state_is_said_once_with_a_reason_that_adds_something(
    account: BrokerAccount,
) -> None:
    """Neither ``paused (paused)`` nor a disabled account that is not enabled."""
    BrokerAccount.objects.update(paused=True)
    serve(account, state="closed", reason="paused")
    shown = pool("show", account.pk)
    assert "paused: its connections are closed until somebody resumes it (since " in shown
    assert "paused (paused" not in shown
    BrokerAccount.objects.update(enabled=False)
    assert "disabled: the account is switched off in the admin" in pool("show", account.pk)
