"""The history of a pool over HTTP: who may have it, and what is in it."""

from __future__ import annotations

import csv
import io
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client
from django.utils import timezone

from openalgo_site.web.status import export, history_rows
from openalgo_site.web.status.history import Span, Step
from pooling.contracts import UsageSample
from pooling.models import BrokerAccount, PoolEvent, PoolUsage
from pooling.store.database import in_database
from pooling.store.history import write_usage
from streaming.models import ApiKey
from tests.integration.site.admin.admin_kit import staff

pytestmark = pytest.mark.django_db(transaction=True)

FIVE_MS = 300_000


def write(account: BrokerAccount, *ended_minutes_ago: int, **changes: Any) -> None:
    now_ms = round(timezone.now().timestamp() * 1000)
    samples = []
    for minutes in ended_minutes_ago:
        started_ms = now_ms - minutes * 60_000 - FIVE_MS
        at_ms = started_ms + 1000
        values: dict[str, Any] = {
            "symbols": 9,
            "connections": 1,
            "clients": 2,
            "ticks_per_second": 12.5,
            "ticks_received": 3000,
            "reconnects": 1,
            "drops": 4,
            "max_connections": 3,
            "symbols_per_connection": 3000,
            "capacity": 9000,
        }
        for name in ("symbols", "connections", "clients", "ticks_per_second"):
            values[f"{name}_at_ms"] = at_ms
        samples.append(
            UsageSample(
                pool_id=account.pool_id,
                started_ms=started_ms,
                ended_ms=started_ms + FIVE_MS,
                **{**values, **changes},
            )
        )
    write_usage(samples)


PATHS = ["", "history.json", "history.csv", "history-events.csv"]
PEOPLE = ["owner", "stranger", "staff", "operator", "nobody"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("who", PEOPLE)
async def test_only_the_owner_and_the_permitted_see_a_history(
    who: str, path: str, account: BrokerAccount, async_client: AsyncClient
) -> None:
    """Whether a pool exists is not told to those who may not see it."""
    people = {"owner": account.user}
    if who == "stranger":
        people[who] = await User.objects.acreate(username="stranger")
    elif who in ("staff", "operator"):
        permissions = ["pooling.view_poolstatus"] if who == "operator" else []
        people[who] = await in_database(staff, who, *permissions)
    if who != "nobody":
        await async_client.aforce_login(people[who])
    for account_id in (account.pk, account.pk + 1, 2**70):
        response = await async_client.get(f"/status/{account_id}/{path}")
        if who == "nobody":
            expected = 401 if path else 302
        else:
            may = who in ("owner", "operator") and account_id == account.pk
            expected = 200 if may else 404
        assert response.status_code == expected, account_id


def test_charts_read_points_peaks_and_limits(client: Client, account: BrokerAccount) -> None:
    write(account, 60, 55)
    write(account, 50, symbols=40, symbols_at_ms=1_763_000_000_000)
    client.force_login(account.user)
    answer = client.get(f"/status/{account.pk}/history.json?range=6h").json()
    index = {name: position for position, name in enumerate(answer["columns"])}
    assert [point[index["symbols"]] for point in answer["points"]] == [9, 9, 40]
    assert {point[index["capacity"]] for point in answer["points"]} == {9000}
    assert answer["peaks"]["symbols"] == {"value": 40, "at_ms": 1_763_000_000_000}
    by_day = client.get(f"/status/{account.pk}/history.json?range=6h&step=day").json()
    assert max(point[index["symbols"]] for point in by_day["points"]) == 40


def test_an_api_key_opens_the_points(client: Client, account: BrokerAccount) -> None:
    write(account, 10)
    ApiKey.objects.create_from(account.user, "notebook", "a-key-of-a-notebook")
    url = f"/status/{account.pk}/history.json"
    answer = client.get(url, headers={"X-API-KEY": "a-key-of-a-notebook"})
    assert len(answer.json()["points"]) == 1


@pytest.mark.parametrize("path", ["history.json", "history.csv"])
def test_a_span_that_cannot_be_shown_is_refused_in_words(
    path: str, client: Client, account: BrokerAccount
) -> None:
    client.force_login(account.user)
    response = client.get(f"/status/{account.pk}/{path}?from=yesterday")
    assert response.status_code == 400
    assert b"from is a date or time" in response.content


async def test_an_api_key_opens_the_file(async_client: AsyncClient, account: BrokerAccount) -> None:
    """``curl -o`` would store a redirect to the login as an empty file."""
    await sync_to_async(write)(account, 10)
    await sync_to_async(ApiKey.objects.create_from)(account.user, "sheet", "a-key-of-a-sheet")
    url = f"/status/{account.pk}/history.csv"
    response: Any = await async_client.get(url, headers={"X-API-KEY": "a-key-of-a-sheet"})
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert b"".join([part async for part in response.streaming_content]).count(b"\n") == 2
    refused = await async_client.get(url, headers={"X-API-KEY": "another"})
    assert (refused.status_code, refused.json()["message"]) == (401, "Invalid API key.")
    unnamed = await async_client.get(url, headers={"Accept": "*/*"})
    assert (unnamed.status_code, unnamed.json()["status"]) == (401, "error")
    browser = await async_client.get(url, headers={"Accept": "text/html,*/*"})
    assert browser.status_code == 302


async def lines(client: AsyncClient, url: str) -> list[list[str]]:
    response: Any = await client.get(url)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="tickpool-pool')
    text = b"".join([part async for part in response.streaming_content])
    return list(csv.reader(io.StringIO(text.decode())))


async def test_a_file_has_every_row_in_portions(
    async_client: AsyncClient, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven rows in portions of two: none is lost or doubled, not even of one beginning."""
    for module in (history_rows, export):
        monkeypatch.setattr(module, "PORTION", 2)
    await in_database(write, account, *range(10, 70, 10))
    # Of the second row, so that the portions part the two.
    twin = await PoolUsage.objects.order_by("started")[1:2].aget()
    twin.pk = None
    await twin.asave()
    await async_client.aforce_login(account.user)
    head, *rows = await lines(async_client, f"/status/{account.pk}/history.csv?range=6h")
    assert head == list(export.csv_head(Step.INTERVAL))
    assert len(rows) == 7
    begins = [datetime.fromisoformat(row[1]) for row in rows]
    assert begins == sorted(begins)
    first = dict(zip(head, rows[0], strict=True))
    assert (first["pool"], first["peak_symbols"], first["drops"]) == ("asha/zerodha/main", "9", "4")
    assert (first["capacity"], first["ticks_received"]) == ("9000", "3000")


async def test_a_file_by_day(async_client: AsyncClient, account: BrokerAccount) -> None:
    await in_database(write, account, 10, 5)
    await async_client.aforce_login(account.user)
    _, *rows = await lines(async_client, f"/status/{account.pk}/history.csv?range=90d&step=day")
    assert sum(int(row[10]) for row in rows) == 6000
    assert all(date.fromisoformat(row[1]) for row in rows)


async def test_a_label_cannot_smuggle_a_formula(
    async_client: AsyncClient, account: BrokerAccount
) -> None:
    await User.objects.filter(pk=account.user_id).aupdate(username="=cmd|' /C calc'!A0")
    await in_database(write, account, 10)
    await async_client.aforce_login(await User.objects.aget(pk=account.user_id))
    _, row = await lines(async_client, f"/status/{account.pk}/history.csv")
    assert row[0].startswith("'=cmd")


def test_the_page_shows_records_and_days(client: Client, account: BrokerAccount) -> None:
    client.force_login(account.user)
    assert (
        b"Nothing yet: a worker writes the first ones"
        in client.get(f"/status/{account.pk}/").content
    )
    write(account, 10, symbols=4321)
    page = client.get(f"/status/{account.pk}/").content.decode()
    assert page.count("4,321") >= 2
    assert "Intervals are kept for 90 days" in page


def test_history_of_others_does_not_mix(account: BrokerAccount) -> None:
    other = BrokerAccount.objects.create(user=account.user, broker="binance", label="b")
    write(account, 10)
    write(other, 10, 5)
    now = timezone.now()
    span = Span(now - timedelta(hours=1), now, Step.INTERVAL)
    assert len(list(history_rows.rows_of(account.pk, span))) == 1
    assert len(list(history_rows.rows_of(other.pk, span))) == 2


def changes(account: BrokerAccount, *told: tuple[float, str, str]) -> None:
    """Store changes of state, each so many minutes ago."""
    now = timezone.now()
    PoolEvent.objects.bulk_create(
        PoolEvent(account=account, kind=kind, message=message, at=now - timedelta(minutes=minutes))
        for minutes, kind, message in told
    )


DOWN = (
    (90, "feed_live", ""),
    (60, "feed_stale", "no market data for 25 s"),
    (48, "feed_live", ""),
    (47, "config_applied", "revision 2"),
    (20, "feed_closed", "paused"),
)


def test_charts_read_when_the_feed_was_down_and_what_happened(
    client: Client, account: BrokerAccount
) -> None:
    write(account, 55)
    other = BrokerAccount.objects.create(user=account.user, broker="binance", label="b")
    changes(other, (60, "feed_not_served", "of another pool"))
    changes(account, *DOWN)
    client.force_login(account.user)
    answer = client.get(f"/status/{account.pk}/history.json?range=1h").json()
    assert [state for _, _, state, _ in answer["states"]][-3:] == ["stale", "live", "paused"]
    assert answer["outage_minutes"] == pytest.approx(12, abs=0.2)
    assert answer["columns"][-1] == "outage_minutes"
    longer = client.get(f"/status/{account.pk}/history.json?range=24h").json()
    assert longer["states"][0][2:] == ["live", ""]
    assert longer["states"][1][2:] == ["stale", "no market data for 25 s"]
    assert longer["events_total"] == 5
    assert [kind for _, kind, *_ in longer["events"]] == [kind for _, kind, _ in reversed(DOWN)]
    assert {"feed paused", "feed stale"} <= {word for *_, word in longer["events"]}


@pytest.mark.parametrize("query", ["range=24h", "range=24h&step=day", "range=6h"])
def test_the_states_do_not_depend_on_how_many_events_are_shown(
    query: str, client: Client, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all events are shown, the states are read out of them."""
    write(account, 55)
    changes(account, *DOWN)
    client.force_login(account.user)
    url = f"/status/{account.pk}/history.json?{query}"
    shown = client.get(url).json()
    total = shown["events_total"]
    assert total == len(shown["events"]) == len(DOWN)
    for most in (total, total - 1):
        monkeypatch.setattr(history_rows, "EVENTS_SHOWN", most)
        fewer = client.get(url).json()
        assert (len(fewer["events"]), fewer["events_total"]) == (most, total)
        assert [state[2:] for state in fewer["states"]] == [state[2:] for state in shown["states"]]
        assert fewer["outage_minutes"] == pytest.approx(shown["outage_minutes"], abs=0.2)


async def test_files_tell_minutes_of_outage_and_events(
    async_client: AsyncClient, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (history_rows, export):
        monkeypatch.setattr(module, "PORTION", 2)
    await in_database(write, account, 200, 54, 30)
    await in_database(changes, account, *DOWN)
    await async_client.aforce_login(account.user)
    url = f"/status/{account.pk}/history"
    head, *rows = await lines(async_client, f"{url}.csv?range=6h")
    assert head[-1] == "outage_minutes"
    assert [row[-1] for row in rows] == ["", "5.0", "0.0"]
    _, *days = await lines(async_client, f"{url}.csv?range=7d&step=day")
    assert sum(float(day[-1]) for day in days if day[-1]) == pytest.approx(12, abs=0.2)
    head, *events = await lines(async_client, f"{url}-events.csv?range=6h")
    assert head == ["pool", "at", "kind", "message"]
    assert [event[2:] for event in events] == [[kind, message] for _, kind, message in DOWN]
    assert all(datetime.fromisoformat(event[1]).tzinfo for event in events)


def test_days_tell_minutes_of_outage(client: Client, account: BrokerAccount) -> None:
    write(account, 10)
    client.force_login(account.user)
    page = client.get(f"/status/{account.pk}/").content.decode()
    assert ">\N{EN DASH}</td>" in page
    now = timezone.now()
    began = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    PoolEvent.objects.create(account=account, kind="feed_not_served", at=began - timedelta(days=2))
    PoolEvent.objects.create(account=account, kind="feed_live", at=began + (now - began) / 2)
    page = client.get(f"/status/{account.pk}/").content.decode()
    assert 'class="outage"' in page
