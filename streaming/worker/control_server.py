"""The worker's end of the control link: gateways ask, the feed service answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import zmq

from brokers.pool_service import FeedEvent, FeedService, FeedStatus, Holder, OutcomeState
from brokers.types import InstrumentKey
from streaming.exceptions import BusError, MalformedMessageError
from streaming.wire import control as cm
from streaming.wire.message import FORMAT_VERSION
from streaming.wire.socket import LoopSocket
from streaming.wire.topics import barrier_topic
from streaming.wire.versions import PROTOCOL_VERSION, version_trouble
from streaming.worker.barriers import SubscriptionWatch
from streaming.worker.lanes import GatewayLanes
from streaming.worker.publisher import SharedZmqPublisher

__all__ = ["ControlServer"]

logger = logging.getLogger("streaming.control")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class ControlServer:
    """Serves gateways on a socket file, or an ephemeral port, that the worker's beat names.

    Requests of one (gateway, pool, client) are answered in their order; different ones do not wait
    for each other. A gateway that says goodbye or stays silent loses its references. Events of the
    service go to every gateway. Everything runs on the loop that ``open`` was called on.

    Args:
        service: what the worker can do.
        publisher: open before this, closed after it; its address and keys are used here, too.
        worker_id: names the worker to people.
        gateway_timeout_seconds: how long a gateway may be silent.
        beat_seconds: how often the worker shows itself; gateways give up after about three.
        barrier_timeout_seconds: how long a subscription may take to come through the bus.
        request_timeout_seconds: how long the service may take for one request.
        max_gateways: further ones are ignored.
        max_queued: requests of one gateway that may wait; further ones are refused as busy.
    """

    def __init__(
        self,
        *,
        service: FeedService,
        publisher: SharedZmqPublisher,
        worker_id: str,
        gateway_timeout_seconds: float = 10.0,
        beat_seconds: float = 1.0,
        barrier_timeout_seconds: float = 2.0,
        request_timeout_seconds: float = 30.0,
        max_gateways: int = 256,
        max_queued: int = 2000,
        now_ms: Callable[[], int] = _wall_ms,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        for seconds in (gateway_timeout_seconds, beat_seconds, barrier_timeout_seconds):
            if seconds <= 0:
                raise ValueError("timings must be positive")
        if max_gateways < 1 or max_queued < 1:
            raise ValueError("max_gateways and max_queued must be at least 1")
        self._service = service
        self._publisher = publisher
        self._worker_id = worker_id
        self._gateway_timeout_seconds = gateway_timeout_seconds
        self._beat_seconds = beat_seconds
        self._barrier_timeout_seconds = barrier_timeout_seconds
        self._request_timeout_seconds = request_timeout_seconds
        self._max_gateways = max_gateways
        self._max_queued = max_queued
        self._now_ms = now_ms
        self._monotonic = monotonic
        self._watch = SubscriptionWatch(publisher=publisher, on_beat_wanted=self._send_beat)
        self._socket: LoopSocket[list[bytes]] | None = None  # between ``open`` and ``close``
        self._port = 0  # number of its address, as beats tell it
        self._beat_number = 0  # of the last beat
        # By id, those that were heard within the time-out.
        self._gateways: dict[str, GatewayLanes] = {}
        # By id, gateways that are being given up.
        self._departures: dict[str, asyncio.Task[None]] = {}
        self._beats: asyncio.Task[None] | None = None  # between ``open`` and ``close``
        self._stop_listening: Callable[[], None] | None = None  # to the feed service
        self.malformed = 0  # messages that could not be read, since the start
        self.events_dropped = 0  # for gateways that do not read, since the start

    def __repr__(self) -> str:
        return (
            f"<ControlServer {self._worker_id!r} port={self._port} gateways={len(self._gateways)}>"
        )

    @property
    def endpoint(self) -> str:
        """The ZeroMQ endpoint of this link, once it is open."""
        return self._publisher.bus.control(self._port)

    @property
    def gateways(self) -> tuple[str, ...]:
        """The gateways that are known now."""
        return tuple(self._gateways)

    @property
    def gaps_reported(self) -> int:
        """Ticks that the present gateways say they have missed."""
        return sum(gateway.gaps for gateway in self._gateways.values())

    async def open(self) -> None:
        """Bind, listen to the service, and show the worker on the bus.

        Raises:
            BusError: the publisher is not open, or no port could be bound.
        """
        self._watch.open()
        socket, bus = self._publisher.context.socket(zmq.ROUTER), self._publisher.bus
        try:
            self._prepare(socket)
            number = bus.control_number(self._publisher.epoch)
            socket.bind(bus.control(number))
        except (zmq.ZMQError, OSError) as error:
            socket.close(0)
            self._watch.close()
            raise BusError(f"cannot bind the control link: {error}") from error
        self._port = number or urlsplit(socket.getsockopt_string(zmq.LAST_ENDPOINT)).port or 0
        self._socket = LoopSocket(
            socket=socket,
            receive=lambda: socket.recv_multipart(zmq.NOBLOCK),
            on_batch=self._on_batch,
            batch_size=200,
        )
        self._socket.open()
        self._stop_listening = self._service.add_listener(self._on_event)
        self._beats = asyncio.create_task(self._run_beats(), name="control-beats")
        logger.info(
            "worker %r serves gateways at %s",
            self._worker_id,
            bus,
            extra={"action": "open"},
        )

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 10_000)
        socket.setsockopt(zmq.RCVHWM, 10_000)
        socket.setsockopt(zmq.MAXMSGSIZE, cm.MAX_REQUEST_BYTES)
        # A full queue or a gone gateway must be an error here, not silence.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # A gateway whose TCP connection broke comes back under the same name.
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
        bus = self._publisher.bus
        if bus.files is None and bus.curve is not None:
            if ":" in bus.host:
                socket.setsockopt(zmq.IPV6, 1)
            bus.curve.protect_server(socket)

    async def wait_failed(self) -> None:
        """Return when ``close`` was called; raise what ended the beats otherwise.

        The worker awaits this beside its other work: without beats every gateway thinks it is gone.
        """
        if self._beats is not None:
            await asyncio.wait({self._beats})
            if not self._beats.cancelled():
                self._beats.result()

    async def close(self) -> None:
        """Tell gateways that prices stop, then stop answering. Idempotent.

        References stay with the service, which closes too.
        """
        if self._stop_listening is not None:
            self._stop_listening()
            self._stop_listening = None
        if self._beats is not None:
            self._beats.cancel()
            await asyncio.wait({self._beats})
            # Beats that failed are why it ends, and would fail again.
            if self._beats.cancelled() and self._socket is not None:
                self._send_beat(farewell="the worker was stopped")
        gateways = list(self._gateways.values())
        self._gateways.clear()
        for gateway in gateways:
            await gateway.cancel()
        for task in list(self._departures.values()):
            task.cancel()
            await asyncio.wait({task})
        self._watch.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    # The worker's sign of life

    async def _run_beats(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._send_beat()
            asleep_since = loop.time()
            await asyncio.sleep(self._beat_seconds)
            # What gateways said while this process itself was held up may not have been read yet.
            late_seconds = loop.time() - asleep_since - self._beat_seconds
            deadline = self._monotonic() - late_seconds - self._gateway_timeout_seconds
            for gateway in list(self._gateways.values()):
                if gateway.last_seen < deadline:
                    logger.warning("gateway %r is silent; its references go", gateway.gateway_id)
                    self._depart(gateway.gateway_id)

    def _send_beat(self, farewell: str = "") -> None:
        """Say how all pools are; with a farewell, the last word, that none can be trusted now."""
        self._beat_number += 1
        now_ms = self._now_ms()
        pools = []
        for pool_id in self._service.pool_ids():
            try:
                stats = self._service.stats(pool_id)
            except KeyError:
                continue
            status, since_ms, reason = stats.status, stats.since_ms, stats.reason
            if farewell and status in (FeedStatus.LIVE, FeedStatus.STALE):
                status, since_ms, reason = FeedStatus.STALE, now_ms, farewell
            pools.append(cm.PoolBeat(pool_id, status, since_ms, reason, stats.life, stats.waiting))
        beat = cm.Beat(
            bus_format=FORMAT_VERSION,
            version=PROTOCOL_VERSION,
            worker_id=self._worker_id,
            epoch=self._publisher.epoch,
            number=self._beat_number,
            control_port=self._port,
            pools=pools,
            sent_ms=now_ms,
            tails=self._publisher.settled_topics(cm.MAX_TAILS),
            published=self._publisher.published,
            dropped=self._publisher.dropped,
        )
        self._publisher.publish_beat(cm.encode(beat))

    # What gateways say

    def _on_batch(self, batch: list[list[bytes]]) -> None:
        for parts in batch:
            try:
                gateway_id = parts[0].decode("ascii")
                if len(parts) != 2 or not 1 <= len(gateway_id) <= 128:
                    raise MalformedMessageError("a request has one part and a named sender")
                request = cm.decode_from_gateway(parts[1])
            except (MalformedMessageError, UnicodeDecodeError):
                self.malformed += 1
                continue
            self._on_request(gateway_id, request)

    def _on_request(self, gateway_id: str, request: cm.Request) -> None:
        if isinstance(request, cm.Bye):
            self._depart(gateway_id)
            return
        gateway = self._gateways.get(gateway_id)
        if isinstance(request, cm.Hello):
            self._compare_versions(gateway_id, request.version)
            gateway = self._arrive(gateway_id, said_hello=True)
        elif gateway is None and isinstance(request, cm.StatsRequest):
            # Of somebody who only looks: who is a gateway says hello.
            self._send(gateway_id, self._answer_now(request))
        elif gateway is None:
            gateway = self._arrive(gateway_id, said_hello=False)
        if gateway is not None:
            self._serve(gateway, request)

    def _serve(self, gateway: GatewayLanes, request: cm.Request) -> None:
        gateway_id = gateway.gateway_id
        gateway.last_seen = self._monotonic()
        match request:
            case cm.Heartbeat(gaps=gaps):
                gateway.gaps = gaps
                if gateway.missed_event and self._send(gateway_id, cm.ResyncNotice()):
                    gateway.missed_event = False
            case cm.StatsRequest() | cm.SnapshotRequest():
                self._send(gateway_id, self._answer_now(request))
            case cm.WantRequest() | cm.ReleaseRequest():
                if not gateway.put(request):
                    self._send(gateway_id, _error(request.id, cm.ErrorCode.BUSY))

    def _compare_versions(self, gateway_id: str, version: int) -> None:
        if trouble := version_trouble(worker=PROTOCOL_VERSION, gateway=version):
            logger.warning("gateway %r: %s", gateway_id, trouble)

    def _arrive(self, gateway_id: str, *, said_hello: bool) -> GatewayLanes | None:
        if gateway_id in self._gateways:
            self._depart(gateway_id)
        if len(self._gateways) >= self._max_gateways:
            logger.warning("gateway %r ignored: there are %s", gateway_id, self._max_gateways)
            return None
        gateway = GatewayLanes(
            gateway_id=gateway_id,
            answer=self._answer,
            max_queued=self._max_queued,
            after=self._departures.get(gateway_id),
        )
        self._gateways[gateway_id] = gateway
        logger.info("gateway %r arrived", gateway_id, extra={"action": "arrive"})
        if not said_hello:
            self._send(gateway_id, cm.ResyncNotice())
        return gateway

    def _depart(self, gateway_id: str) -> None:
        gateway = self._gateways.pop(gateway_id, None)
        if gateway is None:
            return
        before = self._departures.get(gateway_id)
        task = asyncio.create_task(self._release_all(gateway, before), name=f"release-{gateway_id}")
        self._departures[gateway_id] = task
        task.add_done_callback(lambda done: self._on_departed(gateway_id, done))

    async def _release_all(self, gateway: GatewayLanes, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait({before})
        # Requests under way first: a want that lands after the release would be held for ever.
        await gateway.cancel()
        await self._service.release_gateway(gateway.gateway_id)

    def _on_departed(self, gateway_id: str, task: asyncio.Task[None]) -> None:
        if self._departures.get(gateway_id) is task:
            del self._departures[gateway_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("gateway %r: references not released", gateway_id, exc_info=error)

    # What they are answered

    async def _answer(self, gateway_id: str, request: cm.WantRequest | cm.ReleaseRequest) -> None:
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                reply = await self._reply_to(gateway_id, request)
        except TimeoutError:
            reply = _error(request.id, cm.ErrorCode.TIMEOUT)
        except KeyError:
            reply = _error(request.id, cm.ErrorCode.UNKNOWN_POOL)
        except Exception:  # supervision point: one failed request must not end the gateway's lane
            logger.exception("pool %r: a request of %r failed", request.pool_id, gateway_id)
            reply = _error(request.id, cm.ErrorCode.SERVER_ERROR)
        self._send(gateway_id, reply)

    async def _reply_to(
        self, gateway_id: str, request: cm.WantRequest | cm.ReleaseRequest
    ) -> cm.Reply:
        holder = Holder(gateway_id, request.client)
        if isinstance(request, cm.ReleaseRequest):
            await self._service.release(request.pool_id, holder, request.keys)
            return cm.Done(request.id)
        outcomes = await self._service.want(request.pool_id, holder, request.wants)
        # Only a snapshot taken after the path is open joins the stream without a hole.
        barrier = barrier_topic(request.barrier)
        if not await self._watch.wait_subscribed(barrier, self._barrier_timeout_seconds):
            return _error(request.id, cm.ErrorCode.PATH_NOT_OPEN)
        accepted = [one.key for one in outcomes if one.state is not OutcomeState.REFUSED]
        return cm.WantReplyMessage(
            id=request.id,
            outcomes=outcomes,
            snapshots=self._last_messages(request.pool_id, accepted),
        )

    def _answer_now(self, request: cm.StatsRequest | cm.SnapshotRequest) -> cm.Reply:
        try:
            if isinstance(request, cm.StatsRequest):
                return cm.StatsReply(request.id, self._service.stats(request.pool_id))
        except KeyError:
            return _error(request.id, cm.ErrorCode.UNKNOWN_POOL)
        return cm.SnapshotReply(
            id=request.id,
            beat=self._beat_number,
            snapshots=self._last_messages(request.pool_id, request.keys),
        )

    def _last_messages(self, pool_id: str, keys: list[InstrumentKey]) -> list[bytes]:
        found = (self._publisher.last_message(pool_id, key) for key in keys)
        return [message for message in found if message is not None]

    # What they are told

    def _on_event(self, event: FeedEvent) -> None:
        try:
            data = cm.encode(cm.EventNotice(event))
        except MalformedMessageError:
            self.events_dropped += 1
            logger.warning("pool %r: an event cannot be encoded", event.pool_id)
            return
        for gateway in self._gateways.values():
            if not self._send_bytes(gateway.gateway_id, data):
                gateway.missed_event = True
                self.events_dropped += 1

    def _send(self, gateway_id: str, message: cm.Reply | cm.ResyncNotice) -> bool:
        return self._send_bytes(gateway_id, cm.encode(message))

    def _send_bytes(self, gateway_id: str, data: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.send([gateway_id.encode("ascii"), data])
        except zmq.ZMQError:
            # Gone or not reading. A reply lost this way times out over there; an event is marked.
            return False
        return True


_MESSAGES = {
    cm.ErrorCode.UNKNOWN_POOL: "this worker does not own the pool",
    cm.ErrorCode.BUSY: "too many requests are waiting",
    cm.ErrorCode.PATH_NOT_OPEN: "the subscription did not come through the bus",
    cm.ErrorCode.TIMEOUT: "the pool did not answer in time",
    cm.ErrorCode.SERVER_ERROR: "the request failed",
}


def _error(request_id: int, code: cm.ErrorCode) -> cm.ErrorReply:
    return cm.ErrorReply(request_id, code, _MESSAGES[code])
