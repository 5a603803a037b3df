"""Both ends of the bus as tests drive them: a worker without its pools, and a gateway's link."""

from __future__ import annotations

from brokers.pool_service import Want
from brokers.types import FeedMode, InstrumentKey
from streaming.link.zmq_feed_link import ZmqFeedLink
from streaming.wire.address import BusAddress
from streaming.wire.topics import tick_topic
from streaming.worker.control_server import ControlServer
from streaming.worker.publisher import PoolSink, SharedZmqPublisher
from tests.integration.streaming.bus_kit.fakes import FakeFeedService, RecordingListener
from tests.integration.streaming.bus_kit.support import instrument
from tests.support import AgingClock, bus_at, eventually

__all__ = ["INFY", "INFY_TOPIC", "Gateway", "Worker", "want"]

INFY = instrument("INFY")
INFY_TOPIC = tick_topic("1", INFY.key)


def want(symbol: str = "INFY", mode: FeedMode = FeedMode.QUOTE) -> Want:
    return Want(InstrumentKey("NSE", symbol), mode)


class Worker:
    """A publisher, a control server and a service in memory: all of a worker but its pools."""

    def __init__(
        self,
        port: int,
        *,
        epoch: int = 1,
        pools: tuple[str, ...] = ("1", "2"),
        bus: BusAddress | None = None,
        send_hwm: int = 100_000,
        gateway_timeout_seconds: float = 60.0,
        max_queued: int = 2000,
        barrier_timeout_seconds: float = 30.0,
    ) -> None:
        self.service = FakeFeedService(*pools)
        self.publisher = SharedZmqPublisher(bus=bus or bus_at(port), epoch=epoch, send_hwm=send_hwm)
        self.server = ControlServer(
            service=self.service,
            publisher=self.publisher,
            worker_id=f"worker-{epoch}",
            beat_seconds=0.05,
            gateway_timeout_seconds=gateway_timeout_seconds,
            max_queued=max_queued,
            barrier_timeout_seconds=barrier_timeout_seconds,
        )

    async def open(self) -> Worker:
        self.publisher.open()
        await self.server.open()
        return self

    async def close(self) -> None:
        await self.server.close()
        self.publisher.close()

    def sink(self, pool_id: str = "1") -> PoolSink:
        return self.publisher.for_pool(pool_id, "zerodha")


class Gateway:
    """A link with a listener that remembers.

    It is patient: a machine that stands still for a second says nothing about a worker.
    """

    def __init__(self, port: int, bus: BusAddress | None = None, **options: object) -> None:
        self.listener = RecordingListener()
        self._clock = AgingClock()
        settings = {
            "worker_timeout_seconds": 30.0,
            "request_timeout_seconds": 30.0,
            "monotonic": self._clock,
        } | options
        self.link = ZmqFeedLink(
            buses=[bus or bus_at(port)],
            **settings,  # type: ignore[arg-type]
        )

    async def open(self) -> Gateway:
        await self.link.open(self.listener)
        return self

    async def met(self, pool_id: str = "1") -> Gateway:
        await eventually(lambda: pool_id in self.link.pools(), message="no beat arrived")
        return self

    def age(self, seconds: float) -> None:
        """Let time pass."""
        self._clock.added_seconds += seconds

    async def give_up(self) -> None:
        """Let time pass until the worker, which has ended, counts as gone."""

        def has_given_up() -> bool:
            # Again each time: what the worker had said before it ended may be read only now.
            self._clock.added_seconds += 31.0
            return self.link.workers() == 0

        await eventually(has_given_up, interval=0.05, message="the worker is still there")

    async def close(self) -> None:
        await self.link.close()
