"""Circuits where sockets are opened: one registry per worker, one circuit per broker endpoint."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from brokers.contract import Handshake
from brokers.endpoints.addresses import netloc
from brokers.exceptions import BrokerUnavailableError
from brokers.words import one_line
from pooling.clock import Clock
from pooling.connectors.circuit import (
    FIRST_SERVER_ERROR,
    CircuitBreaker,
    CircuitPolicy,
    CircuitState,
    CircuitStats,
)
from pooling.connectors.websocket import Connector, Transport, UpgradeRefusedError
from pooling.retry_waits import Randomness

__all__ = ["CircuitConnector", "CircuitRegistry", "endpoint_of"]

logger = logging.getLogger("pooling")

MAX_CIRCUITS = 1024
_PORTS = {"ws": 80, "wss": 443, "http": 80, "https": 443}


def endpoint_of(url: str) -> str:
    """Return scheme, host and port of a URL: what is down together, and nothing that is secret."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return "an endpoint that is not a URL"
    return f"{parts.scheme}://{netloc(parts.hostname or '', port)}"


class CircuitRegistry:
    """The circuits of a worker, made as endpoints are first met. Used on its loop only.

    Args:
        clock: where time is read.
        rng: spreads the intervals.
        policy: the same for every endpoint.
    """

    def __init__(
        self, *, clock: Clock, rng: Randomness, policy: CircuitPolicy | None = None
    ) -> None:
        self._clock = clock
        self._rng = rng
        self._policy = policy or CircuitPolicy()
        self._circuits: dict[str, CircuitBreaker] = {}  # by endpoint

    def __repr__(self) -> str:
        return f"<CircuitRegistry of {len(self._circuits)} endpoints>"

    def circuit(self, url: str) -> CircuitBreaker:
        """Return the circuit of the URL's endpoint."""
        endpoint = endpoint_of(url)
        circuit = self._circuits.get(endpoint)
        if circuit is None:
            if len(self._circuits) >= MAX_CIRCUITS:
                self._forget_idle()
            circuit = CircuitBreaker(endpoint=endpoint, policy=self._policy, rng=self._rng)
            self._circuits[endpoint] = circuit
        return circuit

    def stats_of(self, url: str) -> CircuitStats | None:
        """Return the URL's circuit as it is now; None for an endpoint that was never tried."""
        circuit = self._circuits.get(endpoint_of(url))
        return None if circuit is None else circuit.to_stats(self._clock.monotonic())

    def _forget_idle(self) -> None:
        for name in [name for name, circuit in self._circuits.items() if circuit.is_idle]:
            del self._circuits[name]


class CircuitConnector:
    """A ``Connector`` that asks the endpoint's circuit before it lets another one open a socket.

    Args:
        connector: opens the sockets.
        circuits: shared by all pools of the worker.
        clock: where time is read.
    """

    def __init__(self, *, connector: Connector, circuits: CircuitRegistry, clock: Clock) -> None:
        self._connector = connector
        self._circuits = circuits
        self._clock = clock

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> Transport:
        """Open one socket; see ``Connector``.

        Raises:
            CircuitOpenError: the endpoint is known to be down; nothing was tried.
        """
        circuit = self._circuits.circuit(handshake.url)
        attempt = circuit.admit(self._clock.monotonic())
        before = circuit.state
        failure: BrokerUnavailableError | None = None
        is_up: bool | None = None
        try:
            transport = await self._connector(
                handshake,
                open_timeout_seconds=open_timeout_seconds,
                max_frame_bytes=max_frame_bytes,
            )
            is_up = True
        except UpgradeRefusedError as error:
            is_up, failure = error.status < FIRST_SERVER_ERROR, error
            raise
        except BrokerUnavailableError as error:
            is_up, failure = False, error
            raise
        finally:
            # Whatever else ended it, a cancellation above all, says nothing about the endpoint.
            circuit.report(attempt, is_up, self._clock.monotonic())
            self._log(circuit, before, failure)
        return transport

    def _log(
        self, circuit: CircuitBreaker, before: CircuitState, failure: BrokerUnavailableError | None
    ) -> None:
        if circuit.state is before:
            return
        if circuit.state is CircuitState.OPEN:
            wait = circuit.to_stats(self._clock.monotonic()).retry_in_seconds or 0.0
            logger.warning(
                "endpoint %s is down, next try in %.1f s: %s",
                circuit.endpoint,
                wait,
                one_line(failure),
            )
        elif circuit.state is CircuitState.CLOSED:
            logger.info("endpoint %s answers again", circuit.endpoint)
