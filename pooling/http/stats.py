"""Statistics of an ``HttpPool``: what it has done and is doing, by endpoint. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from pooling.connectors.circuit import CircuitStats

__all__ = ["EndpointCounts", "EndpointStats", "HttpStats"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStats:
    """One scheme, host and port. Counters run since the pool was opened.

    ``attempts`` were sent, retries included; ``replies`` are those with a complete answer of any
    status. ``reuses`` needed no handshake: an idle connection or a shared HTTP/2 one.
    """

    endpoint: str
    in_flight: int
    waiting: int
    requests: int
    attempts: int
    retries: int
    replies: int
    replies_http2: int
    rate_limited: int
    failures: int
    connections_opened: int
    reuses: int
    bytes_received: int
    circuit: CircuitStats


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpStats:
    """The whole pool: its endpoints, by name."""

    max_connections: int
    max_connections_per_host: int
    endpoints: tuple[EndpointStats, ...]


@dataclass(slots=True)
class EndpointCounts:
    """The counters behind ``EndpointStats``; their pool's loop alone changes them."""

    in_flight: int = 0
    waiting: int = 0
    requests: int = 0
    attempts: int = 0
    retries: int = 0
    replies: int = 0
    replies_http2: int = 0
    rate_limited: int = 0
    failures: int = 0
    connections_opened: int = 0
    bytes_received: int = 0

    def to_stats(self, circuit: CircuitStats) -> EndpointStats:
        """Return the counters as they are now."""
        return EndpointStats(
            endpoint=circuit.endpoint,
            in_flight=self.in_flight,
            waiting=self.waiting,
            requests=self.requests,
            attempts=self.attempts,
            retries=self.retries,
            replies=self.replies,
            replies_http2=self.replies_http2,
            rate_limited=self.rate_limited,
            failures=self.failures,
            connections_opened=self.connections_opened,
            reuses=max(0, self.attempts - self.in_flight - self.connections_opened),
            bytes_received=self.bytes_received,
            circuit=circuit,
        )
