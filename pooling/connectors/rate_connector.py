"""Connect rates where sockets are opened: one registry per worker, which is one address."""

from __future__ import annotations

from brokers.contract import ConnectRate, Handshake
from pooling.clock import Clock
from pooling.connectors.circuit_connector import endpoint_of
from pooling.connectors.rate import ConnectRateStats, ConnectWindow
from pooling.connectors.websocket import Connector, Transport
from pooling.exceptions import CircuitOpenError, ConnectRateError

__all__ = ["ConnectRateRegistry", "RatedConnector"]

MAX_WINDOWS = 1024


class ConnectRateRegistry:
    """The connects of a worker, by endpoint and rate. Used on its loop only.

    Args:
        clock: where time is read.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, ConnectRate], ConnectWindow] = {}  # those that count

    def __repr__(self) -> str:
        return f"<ConnectRateRegistry of {len(self._windows)} endpoints>"

    def window(self, url: str, rate: ConnectRate) -> ConnectWindow:
        """Return the window of the URL's endpoint."""
        key = endpoint_of(url), rate
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= MAX_WINDOWS:
                self._windows = {k: w for k, w in self._windows.items() if not w.is_idle}
            window = self._windows[key] = ConnectWindow(endpoint=key[0], rate=rate)
        return window

    def stats_of(self, url: str, rate: ConnectRate | None) -> ConnectRateStats | None:
        """Return the connects to the URL's endpoint; None where nobody counts, or none was made."""
        window = None if rate is None else self._windows.get((endpoint_of(url), rate))
        return None if window is None else window.to_stats(self._clock.monotonic())


class RatedConnector:
    """A ``Connector`` that keeps the broker's rate of connects, all pools of the worker together.

    Args:
        connector: opens the sockets.
        rates: shared by all pools of the worker.
        rate: what the broker declares.
        clock: where time is read.
    """

    def __init__(
        self,
        *,
        connector: Connector,
        rates: ConnectRateRegistry,
        rate: ConnectRate,
        clock: Clock,
    ) -> None:
        self._connector = connector
        self._rates = rates
        self._rate = rate
        self._clock = clock

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> Transport:
        """Open one socket; see ``Connector``. Cancelled or not, it counts: it may have been heard.

        Raises:
            ConnectRateError: the broker takes no more connects now; nothing was tried.
        """
        window = self._rates.window(handshake.url, self._rate)
        wait = window.admit(self._clock.monotonic())
        if wait > 0:
            raise ConnectRateError(
                window.endpoint,
                attempts=self._rate.attempts,
                window_seconds=self._rate.window_seconds,
                retry_after_seconds=wait,
            )
        was_made = True
        try:
            return await self._connector(
                handshake,
                open_timeout_seconds=open_timeout_seconds,
                max_frame_bytes=max_frame_bytes,
            )
        except CircuitOpenError:
            was_made = False
            raise
        finally:
            window.ended(self._clock.monotonic(), was_made=was_made)
