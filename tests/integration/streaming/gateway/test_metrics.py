"""``/metrics``: who may read it, what is in it, and that all of it is documented."""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from brokers.pool_service import (
    ConnectionStats,
    EndpointStats,
    ExclusiveTotals,
    FeedStatus,
    Peak,
    PoolStats,
)
from openalgo_site.config.metrics_key import FILE_NAME, metrics_key
from openalgo_site.processes import siblings as gateway_siblings
from openalgo_site.processes.siblings import Siblings
from openalgo_site.web import metrics as metrics_page
from streaming.edge_limits import Refusal
from streaming.gateway.database_probe import DatabaseProbe
from streaming.gateway.gateway import Gateway
from streaming.gateway.metrics import (
    exposition,
    gateway_metrics,
    merged,
    parsed,
    pool_metrics,
    publisher_metrics,
)
from streaming.gateway.routing import GATEWAY_SCOPE_KEY
from streaming.link.zmq_feed_link import ZmqFeedLink
from streaming.models import ApiKey
from streaming.testing.edge import FakeDirectory
from tests.integration.streaming.bus_kit.ends import Gateway as BusGateway
from tests.integration.streaming.bus_kit.ends import Worker
from tests.integration.streaming.bus_kit.support import instrument, tick
from tests.integration.streaming.clients.test_batches import OFFER
from tests.integration.streaming.edge_kit import INFY, MakeEdge, ask, closing, read
from tests.support import bus_at, eventually, free_port

MONITORING = Path(__file__).resolve().parents[4] / "docs" / "monitoring.md"


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway(
        make_link=lambda: ZmqFeedLink(buses=[bus_at()]),
        directory=FakeDirectory(),
        database=DatabaseProbe(lambda: 2),
    )
    await gateway.open()
    yield gateway
    await gateway.close()


async def get(
    gateway: Gateway | None, *, address: str = "127.0.0.1", user: object = None, **headers: str
) -> HttpResponse:
    request: HttpRequest = RequestFactory().get("/metrics", REMOTE_ADDR=address, headers=headers)
    request.user = user or AnonymousUser()  # type: ignore[assignment]
    if gateway is not None:
        request.scope = {GATEWAY_SCOPE_KEY: gateway}  # type: ignore[attr-defined]
    return await metrics_page.metrics(request)


ENDPOINT = EndpointStats(
    worker=1, name="wss://b.invalid:443", failures=7, times_opened=2, attempts_held=5, connects=30,
    connects_allowed=300, connects_held=4,
)  # fmt: skip
LENT = ExclusiveTotals(
    active=1, idle=2, opening=0, closing=0, waiting=3, messages_sent=10, messages_received=20,
    reconnects=1, reuses=6, exhausted=1,
)  # fmt: skip


def stats(pool_id: str, broker: str = "zerodha", last_tick_ms: int = 5_000) -> PoolStats:
    peak = Peak(0, 0)
    return PoolStats(
        pool_id=pool_id, broker=broker, status=FeedStatus.LIVE, reason="", since_ms=0,
        connections=[ConnectionStats(slot=0, state="live", since_ms=0, used=2, capacity=10)],
        max_connections=3, symbols_per_connection=10, used=2, capacity=30, wanted=2, confirmed=2,
        clients=1, ticks_received=50, ticks_per_second=5.0, frames_malformed=1, ticks_unknown=0,
        reconnects=4, peak_symbols=peak, peak_connections=peak, peak_clients=peak,
        peak_ticks_per_second=peak, circuit="closed", losses={"closed": 3, "silent": 1},
        last_tick_ms=last_tick_ms, endpoint=ENDPOINT, exclusive=LENT,
    )  # fmt: skip


@pytest.fixture
def key(settings: Any) -> str:
    """The key of the metrics, as its file holds it."""
    made = metrics_key()
    assert (settings.DATA_DIR / FILE_NAME).read_text().strip() == made
    assert stat.S_IMODE((settings.DATA_DIR / FILE_NAME).stat().st_mode) == 0o600
    return made


async def test_its_key_opens_it_as_prometheus_sends_it_and_as_api_keys_are_sent(
    gateway: Gateway, key: str
) -> None:
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"authorization": f"bearer  {key}"},
        {"X-API-KEY": key},
        {"X-API-KEY": "an old one", "Authorization": f"Bearer {key}"},
    ):
        answer = await get(gateway, address="192.0.2.1", **headers)
        assert answer.status_code == 200, headers
        assert 'tickpool_clients{gateway="1"} 0.0' in answer.content.decode()


async def test_a_key_of_the_setting_counts_instead(gateway: Gateway, settings: Any) -> None:
    own = "k" * 24
    settings.ENV = msgspec.structs.replace(settings.ENV, metrics_key=own)
    assert (await get(gateway, **{"X-API-KEY": own})).status_code == 200
    assert not (settings.DATA_DIR / FILE_NAME).exists()


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "192.0.2.1", ""])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-API-KEY": "wrong"},
        {"X-API-KEY": ""},
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer schl\xfcssel"},
        {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
    ],
)
async def test_nobody_else_may_wherever_they_are(
    gateway: Gateway, address: str, headers: dict[str, str]
) -> None:
    """Behind a proxy that adds no header everybody is on this machine."""
    answer = await get(gateway, address=address, **headers)
    assert answer.status_code == 401
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer["Content-Type"] == "text/plain"
    for words in ("Authorization: Bearer", "X-API-KEY", "METRICS_KEY", FILE_NAME):
        assert words in answer.content.decode()


async def test_staff_may_and_other_users_not(gateway: Gateway) -> None:
    for is_staff, status in ((True, 200), (False, 401)):
        user = SimpleNamespace(is_active=True, is_staff=is_staff)
        assert (await get(gateway, address="192.0.2.1", user=user)).status_code == status


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_superuser", [False, True])
async def test_an_api_key_opens_it_for_nobody(gateway: Gateway, is_superuser: bool) -> None:
    owner = await User.objects.acreate(
        username="scraper", is_staff=is_superuser, is_superuser=is_superuser
    )
    _, key = await sync_to_async(ApiKey.objects.issue)(owner, "prometheus")
    for address in ("192.0.2.1", "127.0.0.1"):
        for headers in ({"X-API-KEY": key}, {"Authorization": f"Bearer {key}"}):
            assert (await get(gateway, address=address, **headers)).status_code == 401


async def test_it_says_so_where_no_gateway_runs(key: str) -> None:
    assert (await get(None, **{"X-API-KEY": key})).status_code == 503


async def test_every_metric_is_documented_and_nothing_else(gateway: Gateway, key: str) -> None:
    """Names and labels of the table in docs/monitoring.md, one by one."""
    text = (await get(gateway, **{"X-API-KEY": key})).content.decode()
    text = exposition(
        merged([parsed(text.encode()), pool_metrics([stats("1")], metrics_page.state_label)])
    ).decode()
    found: dict[str, set[str]] = {}
    samples = re.compile(r"^(tickpool_\w+?)(?:_bucket|_sum|_count)?(?:\{(.*)\})? ", re.M)
    for name, labels in samples.findall(text):
        found.setdefault(name, set()).update(re.findall(r"(\w+)=", labels))
    found["tickpool_latency_seconds"].discard("le")
    documented = {
        name: set() if labels == "none" else set(labels.split(", "))
        for name, labels in re.findall(
            r"^\| `(tickpool_\w+)` \| \w+ \| ([^|]+) \|", MONITORING.read_text(), re.M
        )
    }
    assert documented == found


async def test_closed_and_conflated_are_counted_by_reason(make_edge: MakeEdge) -> None:
    """Each close under its own reason, once; a batch's latest-only is none of a slow client."""
    edge = await make_edge(
        auth_failure_close_seconds=0.0, messages_per_second=0.001, message_burst=4,
        messages_refused_before_close=1,
    )  # fmt: skip
    wrong = await edge.connect()
    await ask(wrong, action="authenticate", api_key="wrong")
    assert (await closing(wrong))[0] == 4401
    hasty = await edge.client()
    for _ in range(5):
        await hasty.send("ping")
    assert (await closing(hasty))[0] == 4429
    big = await edge.connect()
    await big.send("x" * 5000)
    assert (await closing(big))[0] == 1009
    batched = await edge.client(url=edge.url + "?interval=1000", subprotocols=OFFER)
    await read(batched)
    await ask(batched, action="subscribe", symbol="INFY", exchange="NSE")
    for _ in range(3):
        edge.link.tick("p1", INFY)
    hub = edge.gateway.current_hub
    assert hub is not None
    expected = {
        "tickpool_clients_closed_total": {
            "slow": "0", "unauthenticated": "1", "rate_limited": "1", "too_big": "0",
            "bad_request": "0", "forbidden": "0",
        },
        "tickpool_edge_refused_total": {
            **{str(reason): "0" for reason in Refusal}, "frame_bytes": "1",
        },
        "tickpool_deliveries_conflated_total": {"slow": "0", "interval": "2"},
        "tickpool_deliveries_dropped_total": {"unsubscribed": "0", "closed": "0"},
    }  # fmt: skip

    def values() -> dict[str, dict[str, str]]:
        text = exposition(gateway_metrics(edge.gateway, hub, "1")).decode()
        return {
            name: dict(re.findall(rf'^{name}{{gateway="1",reason="(\w+)"}} (\d+)', text, re.M))
            for name in expected
        }

    await eventually(lambda: values() == expected, message=f"not {values()}")
    await batched.close()


async def test_what_workers_published_is_told_by_their_beat() -> None:
    """A worker has no port of its own for a scrape; a gateway tells its numbers."""
    port = free_port()
    worker = await Worker(port).open()
    listening = BusGateway(port)
    await listening.open()
    await listening.met()
    worker.sink().publish(instrument("S"), tick(1), 1)
    worker.publisher.dropped = 3
    lines = [
        'tickpool_bus_published_total{worker="1"} 1.0',
        'tickpool_bus_dropped_total{worker="1"} 3.0',
    ]

    def told() -> bool:
        text = exposition(publisher_metrics(listening.link)).decode()
        return all(line in text for line in lines)

    await eventually(told)
    await listening.close()
    await worker.close()


def test_pools_are_summed_up_by_broker() -> None:
    """However many there are, the labels stay few and name nobody."""
    pools = [stats(str(number)) for number in range(50)] + [stats("x", "binance")]
    lines = exposition(pool_metrics(pools, metrics_page.state_label)).decode().splitlines()
    assert 'tickpool_pool_ticks_total{broker="zerodha"} 2500.0' in lines
    assert 'tickpool_pools{broker="binance",state="live"} 1.0' in lines
    assert len([line for line in lines if line.startswith("tickpool_pools{")]) == 2
    assert 'tickpool_pool_connection_losses_total{broker="zerodha",reason="closed"} 150.0' in lines
    assert 'tickpool_pool_circuits{broker="zerodha",state="closed"} 50.0' in lines


def test_an_endpoint_of_many_pools_counts_once_a_worker() -> None:
    """Its pools share its circuit, and each of them tells of it."""
    other = msgspec.structs.replace(ENDPOINT, worker=2, connects=90)
    pools = [stats(str(number)) for number in range(50)]
    pools.append(msgspec.structs.replace(stats("x"), endpoint=other))
    lines = exposition(pool_metrics(pools, metrics_page.state_label)).decode().splitlines()
    held = "tickpool_endpoint_attempts_held_total"
    assert {
        'tickpool_endpoint_failures_total{broker="zerodha"} 14.0',
        'tickpool_endpoint_circuit_opened_total{broker="zerodha"} 4.0',
        f'{held}{{broker="zerodha",reason="circuit"}} 10.0',
        f'{held}{{broker="zerodha",reason="connect_rate"}} 8.0',
        'tickpool_endpoint_connects{broker="zerodha"} 90.0',
        'tickpool_endpoint_connects_limit{broker="zerodha"} 300.0',
    } <= set(lines)


def test_lent_connections_are_summed_up_where_any_were_lent() -> None:
    never = msgspec.structs.replace(stats("2"), exclusive=None)
    lines = (
        exposition(pool_metrics([stats("1"), never, stats("3")], metrics_page.state_label))
        .decode()
        .splitlines()
    )
    assert {
        'tickpool_exclusive_connections{broker="zerodha",state="idle"} 4.0',
        'tickpool_exclusive_waiting{broker="zerodha"} 6.0',
        'tickpool_exclusive_messages_sent_total{broker="zerodha"} 20.0',
        'tickpool_exclusive_exhausted_total{broker="zerodha"} 2.0',
    } <= set(lines)


def test_the_oldest_last_tick_of_those_that_expect_ticks_counts() -> None:
    pools = [
        stats("1", last_tick_ms=9_000),
        stats("2", last_tick_ms=7_000),
        msgspec.structs.replace(stats("3", last_tick_ms=1_000), used=0),
    ]
    lines = exposition(pool_metrics(pools, metrics_page.state_label)).decode().splitlines()
    assert 'tickpool_pool_last_tick_timestamp_seconds{broker="zerodha"} 7.0' in lines


async def test_siblings_read_each_others_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is gone without a word is left out."""
    monkeypatch.setattr(gateway_siblings, "ASK_SECONDS", 60.0)
    first, second, dead = (Siblings(folder=tmp_path, number=number) for number in (1, 2, 3))
    first.open(lambda: b"first")
    second.open(lambda: b"second")
    dead.open(lambda: b"dead")
    dead.close()
    assert await first.ask() == [b"second"]
    assert await second.ask() == [b"first"]
    successor = Siblings(folder=tmp_path, number=2)
    successor.open(lambda: b"successor")
    assert await first.ask() == [b"successor"]
    first.close()
    second.close()
    successor.close()
    assert await Siblings().ask() == []
