"""Words of workers on brokers' endpoints and of lent connections, in Prometheus's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from brokers.pool_service import PoolStats

__all__ = ["endpoint_metrics", "exclusive_metrics"]

_EXCLUSIVE_COUNTERS = {
    "messages_sent": "Messages sent by holders of exclusive connections.",
    "messages_received": "Messages received for holders of exclusive connections.",
    "reconnects": "Exclusive connections opened again while they were held.",
    "reuses": "Exclusive connections lent again without a handshake.",
    "exhausted": "Callers that got no exclusive connection in time.",
}


def endpoint_metrics(pools: Sequence[PoolStats]) -> list[Metric]:
    """Return the circuits and the rates of connects, each endpoint of a worker counted once.

    Its pools share one circuit, and all of them tell of it. Of the connects that count now the
    fullest endpoint's are told: it is the first that has to wait.
    """
    endpoints = {
        (pool.broker, pool.endpoint.worker, pool.endpoint.name): pool.endpoint
        for pool in pools
        if pool.endpoint is not None
    }
    failures: Counter[tuple[str, ...]] = Counter()
    opened: Counter[tuple[str, ...]] = Counter()
    held: Counter[tuple[str, ...]] = Counter()
    connects: dict[tuple[str, ...], int] = {}
    limits: dict[tuple[str, ...], int] = {}
    for (broker, _, _), endpoint in endpoints.items():
        failures[broker,] += endpoint.failures
        opened[broker,] += endpoint.times_opened
        held[broker, "circuit"] += endpoint.attempts_held
        if endpoint.connects_allowed:
            held[broker, "connect_rate"] += endpoint.connects_held
            connects[broker,] = max(endpoint.connects, connects.get((broker,), 0))
            limits[broker,] = endpoint.connects_allowed
    return [
        _counter("tickpool_endpoint_failures", "Endpoints that could not be reached.", failures),
        _counter("tickpool_endpoint_circuit_opened", "Circuits that opened.", opened),
        _counter(
            "tickpool_endpoint_attempts_held",
            "Attempts held back without opening a socket.",
            held,
            "reason",
        ),
        _gauge(
            "tickpool_endpoint_connects",
            "Connects that count against the broker's rate now, at the fullest endpoint.",
            connects,
        ),
        _gauge(
            "tickpool_endpoint_connects_limit", "Connects that the broker's rate allows.", limits
        ),
    ]


def exclusive_metrics(pools: Iterable[PoolStats]) -> list[Metric]:
    """Return the connections lent by ``acquire``, of all pools that ever lent one."""
    states: Counter[tuple[str, ...]] = Counter()
    waiting: Counter[tuple[str, ...]] = Counter()
    counts: dict[str, Counter[tuple[str, ...]]] = {name: Counter() for name in _EXCLUSIVE_COUNTERS}
    for pool in pools:
        if (exclusive := pool.exclusive) is None:
            continue
        for state in ("active", "idle", "opening", "closing"):
            states[pool.broker, state] += getattr(exclusive, state)
        waiting[pool.broker,] += exclusive.waiting
        for name, counter in counts.items():
            counter[pool.broker,] += getattr(exclusive, name)
    return [
        _gauge("tickpool_exclusive_connections", "Exclusive connections.", states, "state"),
        _gauge("tickpool_exclusive_waiting", "Callers waiting for a connection.", waiting),
        *(
            _counter(f"tickpool_exclusive_{name}", text, counts[name])
            for name, text in _EXCLUSIVE_COUNTERS.items()
        ),
    ]


def _gauge(name: str, text: str, values: Mapping[tuple[str, ...], int], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["broker", *labels])
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _counter(name: str, text: str, values: Mapping[tuple[str, ...], int], *labels: str) -> Metric:
    family = CounterMetricFamily(name, text, labels=["broker", *labels])
    for key, value in values.items():
        family.add_metric(key, value)
    return family
