"""Counts of a gateway process in Prometheus's format.

Nothing is counted here: the parts keep plain numbers, and a scrape reads them. Labels have few
values, whatever clients do: gateway process, broker, state, reason, stage; never a user, a symbol
or a key. ``docs/monitoring.md`` documents each name.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from brokers.pool_service import PoolStats
from streaming.edge_limits import Refusal
from streaming.fanout.hub import GatewayHub
from streaming.gateway.gateway import Gateway
from streaming.gateway.notices import Notices, NoticeState
from streaming.link.latency import Latency
from streaming.link.tick_filter import BusCounters
from streaming.monitoring.endpoint_metrics import endpoint_metrics, exclusive_metrics
from streaming.ports.link import FeedLink, FeedOverview, PublisherCounts
from streaming.protocol.vocabulary import CloseCode
from streaming.shares.budget import REFUSED_FOR

__all__ = [
    "exposition",
    "gateway_metrics",
    "merged",
    "parsed",
    "pool_metrics",
    "pool_stats",
    "publisher_metrics",
]

_STATS_AT_ONCE = 50
_CLOSE_REASONS = {
    CloseCode.TOO_SLOW: "slow",
    CloseCode.UNAUTHENTICATED: "unauthenticated",
    CloseCode.FORBIDDEN: "forbidden",
    CloseCode.RATE_LIMITED: "rate_limited",
    CloseCode.TOO_BIG: "too_big",
    CloseCode.BAD_REQUEST: "bad_request",
}


@runtime_checkable
class _BusSeen(Protocol):
    """A link that counts what it sees on the bus."""

    counters: BusCounters
    latency: Latency

    def publishers(self) -> Sequence[PublisherCounts]:
        """Return what each worker last said of its publisher."""


def gateway_metrics(gateway: Gateway, hub: GatewayHub, process: str) -> list[Metric]:
    """Return what this process counts, labelled with its place among the gateway's processes."""
    label = [process]
    kept = hub.outbox_counts
    found = [
        _gauge("tickpool_clients", "Clients connected now.", len(hub.clients), label),
        _gauge("tickpool_tasks", "Asyncio tasks now.", len(asyncio.all_tasks()), label),
        _counter(
            "tickpool_deliveries",
            "Ticks queued for clients; one tick read by two clients counts twice.",
            {(): hub.ticks_delivered},
            label,
        ),
        _counter(
            "tickpool_deliveries_conflated",
            "Deliveries that a later tick of the same line replaced.",
            {("slow",): kept.conflated, ("interval",): hub.batches.conflated},
            label,
            "reason",
        ),
        _counter(
            "tickpool_deliveries_dropped",
            "Deliveries that waited for a client and were no longer due.",
            {("unsubscribed",): kept.unsubscribed, ("closed",): kept.closed},
            label,
            "reason",
        ),
        _counter(
            "tickpool_clients_closed",
            "Clients that the gateway closed for a reason of theirs.",
            {(reason,): hub.clients_closed[code] for code, reason in _CLOSE_REASONS.items()},
            label,
            "reason",
        ),
        _counter(
            "tickpool_requests_refused",
            "Requests and connections refused, by what of the user's or client's was used up.",
            {(reason,): hub.budgets.refused[reason] for reason in REFUSED_FOR},
            label,
            "reason",
        ),
        _counter(
            "tickpool_auth_failures",
            "API keys refused: wrong, ended, or over the limit of their address.",
            {
                ("invalid",): gateway.gate.refused,
                ("limited",): gateway.gate.limited,
                ("ended",): gateway.gate.ended,
            },
            label,
            "reason",
        ),
    ]
    found.append(
        _counter(
            "tickpool_edge_refused",
            "Connections that met a bound of what they may send.",
            {(str(reason),): gateway.edge.refused[reason] for reason in Refusal},
            label,
            "reason",
        )
    )
    if gateway.notices is not None:
        found += _notice_metrics(gateway.notices, label)
    if isinstance(hub.link, FeedOverview):
        workers = hub.link.workers()
        found.append(_gauge("tickpool_workers", "Workers that answer now.", workers, label))
    if isinstance(hub.link, _BusSeen):
        found += _bus_metrics(hub.link, label)
    return found


def _notice_metrics(notices: Notices, label: Sequence[str]) -> list[Metric]:
    results = {
        ("received",): notices.received,
        ("refused",): notices.refused,
        ("unsent",): notices.unsent,
    }
    return [
        _gauge(
            "tickpool_notices_live",
            "1 while the channel layer answers, so that notices arrive at once.",
            notices.state is NoticeState.LIVE,
            label,
        ),
        _counter(
            "tickpool_notices",
            "Notices that somebody's rights changed, by what became of them.",
            results,
            label,
            "result",
        ),
    ]


def _bus_metrics(link: _BusSeen, label: Sequence[str]) -> list[Metric]:
    counters = link.counters
    discarded = {
        (reason,): getattr(counters, reason)
        for reason in ("repeats", "old_epochs", "unwanted", "malformed")
    }
    latency = HistogramMetricFamily(
        "tickpool_latency_seconds",
        "Time of sampled ticks on each stage of their way.",
        labels=["gateway", "stage"],
    )
    for stage, histogram in link.latency.stages.items():
        latency.add_metric([*label, stage], histogram.cumulative(), histogram.sum_us / 1e6)
    return [
        _counter(
            "tickpool_ticks_received", "Ticks taken off the bus.", {(): counters.received}, label
        ),
        _counter(
            "tickpool_ticks_missed",
            "Ticks known to be lost on the bus, by gaps in their sequence.",
            {(): counters.gaps},
            label,
        ),
        _counter(
            "tickpool_ticks_healed",
            "Last values fetched to make up for missed ticks.",
            {(): counters.healed},
            label,
        ),
        _counter(
            "tickpool_ticks_discarded",
            "Messages off the bus that were not passed on.",
            discarded,
            label,
            "reason",
        ),
        latency,
    ]


def publisher_metrics(link: FeedLink) -> list[Metric]:
    """Return what the workers say of their publishers, by their place in the setting, from 1."""
    publishers = link.publishers() if isinstance(link, _BusSeen) else []
    published: Counter[tuple[str, ...]] = Counter()
    dropped: Counter[tuple[str, ...]] = Counter()
    for number, counts in enumerate(publishers, 1):
        published[str(number),] = counts.published
        dropped[str(number),] = counts.dropped
    return [
        _counter(
            "tickpool_bus_published", "Ticks that workers gave to the bus.", published, (), "worker"
        ),
        _counter(
            "tickpool_bus_dropped",
            "Ticks that a worker's own socket refused.",
            dropped,
            (),
            "worker",
        ),
    ]


async def pool_stats(link: FeedLink) -> list[PoolStats]:
    """Ask the workers for the statistics of all their pools; those that do not answer are left out.

    Waits as long as the link does for one answer, some pools at a time. Cancelling leaves nothing.
    """
    pools = list(link.pools()) if isinstance(link, FeedOverview) else []
    found: list[PoolStats] = []
    for start in range(0, len(pools), _STATS_AT_ONCE):
        some = pools[start : start + _STATS_AT_ONCE]
        answers = await asyncio.gather(*(link.stats(pool_id) for pool_id in some))
        found += [stats for stats in answers if stats is not None]
    return found


def pool_metrics(pools: Sequence[PoolStats], state_of: Callable[[PoolStats], str]) -> list[Metric]:
    """Return what the workers say of their pools, summed up by broker and state.

    Args:
        pools: those that answered.
        state_of: how the state of one is called; one of few words.
    """
    states: Counter[tuple[str, str]] = Counter()
    connections: Counter[tuple[str, str]] = Counter()
    sums: dict[str, Counter[tuple[str, ...]]] = {
        name: Counter()
        for name in (
            "used", "capacity", "waiting", "ticks_received", "frames_malformed", "ticks_unknown",
            "reconnects",
        )
    }  # fmt: skip
    circuits: Counter[tuple[str, str]] = Counter()
    losses: Counter[tuple[str, ...]] = Counter()
    last_ticks: dict[tuple[str, ...], float] = {}
    for stats in pools:
        if stats.circuit:
            circuits[stats.broker, stats.circuit] += 1
        for reason, count in stats.losses.items():
            losses[stats.broker, reason] += count
        if stats.used and stats.last_tick_ms is not None:
            at = stats.last_tick_ms / 1000
            last_ticks[stats.broker,] = min(at, last_ticks.get((stats.broker,), at))
        states[stats.broker, state_of(stats)] += 1
        for connection in stats.connections:
            connections[stats.broker, connection.state] += 1
        for name, counter in sums.items():
            counter[stats.broker,] += getattr(stats, name)
    return [
        _gauge_of("tickpool_pools", "Pools by their state.", states, "state"),
        _gauge_of("tickpool_pool_connections", "Broker connections.", connections, "state"),
        _gauge_of("tickpool_pool_symbols", "Upstream subscriptions in use.", sums["used"]),
        _gauge_of("tickpool_pool_symbols_capacity", "Subscriptions possible.", sums["capacity"]),
        _gauge_of("tickpool_pool_symbols_waiting", "Symbols without a place.", sums["waiting"]),
        _gauge_of(
            "tickpool_pool_circuits", "Pools by the circuit of their endpoint.", circuits, "state"
        ),
        _gauge_of(
            "tickpool_pool_last_tick_timestamp_seconds",
            "When the pool that has waited longest for a tick had its last one, Unix time.",
            last_ticks,
        ),
        _counter(
            "tickpool_pool_connection_losses", "Ends of broker sockets and of attempts.", losses,
            (), "broker", "reason",
        ),
        _counter(
            "tickpool_pool_ticks", "Ticks received from brokers.", sums["ticks_received"], (),
            "broker",
        ),
        _counter(
            "tickpool_pool_ticks_unknown", "Ticks of instruments that nobody asked for.",
            sums["ticks_unknown"], (), "broker",
        ),
        _counter(
            "tickpool_pool_frames_malformed", "Broker frames that could not be decoded.",
            sums["frames_malformed"], (), "broker",
        ),
        _counter(
            "tickpool_pool_reconnects", "Broker connections opened again.", sums["reconnects"], (),
            "broker",
        ),
        *endpoint_metrics(pools),
        *exclusive_metrics(pools),
    ]  # fmt: skip


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Return metrics as the text that Prometheus reads."""
    return generate_latest(_Collected(metrics))


def parsed(text: bytes) -> list[Metric]:
    """Return the metrics of another process's ``exposition``.

    Raises:
        ValueError: it is not in the format.
    """
    return list(text_string_to_metric_families(text.decode()))


def merged(parts: Iterable[Iterable[Metric]]) -> list[Metric]:
    """Join the metrics of several processes: one family a name, with the samples of all."""
    families: dict[str, Metric] = {}
    for part in parts:
        for metric in part:
            known = families.setdefault(metric.name, metric)
            if known is not metric:
                known.samples.extend(metric.samples)
    return list(families.values())


class _Collected:
    """Metrics that are collected already, as the exposition wants them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _gauge(name: str, text: str, value: float, label: Sequence[str]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["gateway"])
    family.add_metric(label, value)
    return family


def _gauge_of(
    name: str,
    text: str,
    values: Mapping[tuple[str, str], float] | Mapping[tuple[str, ...], float],
    *labels: str,
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["broker", *labels])
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(
    name: str,
    text: str,
    values: dict[tuple[()], int] | dict[tuple[str], int] | Counter[tuple[str, ...]],
    prefix: Sequence[str],
    *labels: str,
) -> Metric:
    names = ["gateway", *labels] if prefix else list(labels)
    family = CounterMetricFamily(name, text, labels=names)
    for key, value in values.items():
        family.add_metric([*prefix, *key], value)
    return family
