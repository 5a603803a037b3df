"""One bus address, as a gateway sees it: the ticks and beats of a worker, and a way to ask it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import zmq

from brokers.words import one_line
from streaming.exceptions import (
    BusError,
    MalformedMessageError,
    RequestRefusedError,
    WorkerTimeoutError,
)
from streaming.link.readers import BusReader, BusSocket, BusStream, prepare_client
from streaming.ports.link import PublisherCounts
from streaming.wire import control as cm
from streaming.wire.address import BusAddress
from streaming.wire.message import FORMAT_VERSION
from streaming.wire.socket import LoopSocket
from streaming.wire.topics import BEAT_TOPIC
from streaming.wire.versions import PROTOCOL_VERSION, version_trouble

__all__ = ["WorkerPeer"]

logger = logging.getLogger("streaming.link.peer")

# What left of a goodbye when the sockets close; the worker notices silence anyway.
_GOODBYE_LINGER_MS = 300


class WorkerPeer:
    """The sockets to one worker address; which worker lives there may change over time.

    The reader of its bus is there from ``open`` on. The control socket follows the worker: ``meet``
    makes one for each new epoch or port. Belongs to one event loop.

    Args:
        bus: of the worker.
        on_ticks: gets each drained batch of raw bus messages.
        on_notice: gets what the worker says unasked.
        on_answers: called before what the worker says, asked or not, is looked at.
        patience: seconds that a bus of socket files may be left unread after a batch.
    """

    def __init__(
        self,
        *,
        bus: BusAddress,
        gateway_id: str,
        receive_hwm: int,
        monotonic: Callable[[], float],
        on_ticks: Callable[[WorkerPeer, list[bytes]], None],
        on_notice: Callable[[WorkerPeer, cm.ResyncNotice | cm.EventNotice], None],
        on_answers: Callable[[], None],
        patience: Callable[[], float],
    ) -> None:
        self.bus = bus
        self._gateway_id = gateway_id
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None  # from ``open`` on
        self._receive_hwm = receive_hwm
        self._monotonic = monotonic
        self._on_ticks = on_ticks
        self._on_notice = on_notice
        self._on_answers = on_answers
        self._patience = patience
        self._reader: BusReader | None = None  # of the bus, from ``open`` on
        # The control link; None until a beat names its number.
        self._control: LoopSocket[list[bytes]] | None = None
        self._subscribed: set[bytes] = set()  # topics that the reader was told of
        # Requests without an answer, and when each was made.
        self._pending: dict[int, tuple[asyncio.Future[cm.Reply], float]] = {}
        self._next_id = 0  # of requests
        self._control_port = 0  # number of the control link's address, as the last beat has it
        self.alive = False  # it was heard within the time-out
        self.epoch = -1  # of its last beat; -1: none came
        self.beat_number = -1  # of its last beat
        self.bus_format = FORMAT_VERSION  # of its ticks, as its last beat says
        self.version = PROTOCOL_VERSION  # of the bus, as its last beat says
        self.last_heard = 0.0  # in monotonic seconds
        self.malformed = 0  # messages that could not be read
        self.counts = PublisherCounts()  # of its publisher, as its last beat says

    def __repr__(self) -> str:
        state = "alive" if self.alive else "silent"
        return f"<WorkerPeer {self.bus} {state} epoch={self.epoch}>"

    def open(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Connect to the bus and subscribe to the worker's beat."""
        self._context = context
        if self.bus.files is not None:
            self._reader = BusStream(
                files=self.bus.files,
                name=self.bus.ticks_name,
                on_batch=self._on_batch,
                patience=self._patience,
            )
        else:
            self._reader = BusSocket(
                context=context,
                bus=self.bus,
                receive_hwm=self._receive_hwm,
                on_batch=self._on_batch,
            )
        self._reader.open()
        self.subscribe(BEAT_TOPIC)

    def close(self) -> None:
        """Say goodbye and close. Whoever waits gets ``WorkerTimeoutError``. Idempotent."""
        self.post(cm.Bye())
        self.fail_pending()
        if self._control is not None:
            self._control.close(_GOODBYE_LINGER_MS)
            self._control = None
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def subscribe(self, topic: bytes) -> None:
        """Hear ``topic`` on the bus. Idempotent."""
        if self._reader is not None and topic not in self._subscribed:
            self._subscribed.add(topic)
            self._reader.subscribe(topic)

    def unsubscribe(self, topic: bytes) -> None:
        """Hear ``topic`` no longer. Idempotent."""
        if self._reader is not None and topic in self._subscribed:
            self._subscribed.discard(topic)
            self._reader.unsubscribe(topic)

    def meet(self, beat: cm.Beat) -> bool:
        """Take note of a beat; True when it is another worker's, or that of one that was silent.

        A new control socket is then connected and has said hello.
        """
        known = self.alive and (beat.epoch, beat.control_port) == (self.epoch, self._control_port)
        if not known:
            self.fail_pending()
            if self._control is None or beat.control_port != self._control_port:
                self._connect_control(beat.control_port)
        self.alive = True
        self.epoch = beat.epoch
        self.beat_number = beat.number
        self.bus_format = beat.bus_format
        self.version = beat.version
        self.counts = PublisherCounts(beat.published, beat.dropped)
        self.last_heard = self._monotonic()
        return not known

    @property
    def version_trouble(self) -> str:
        """The trouble between the versions of this worker and of this gateway; "": nothing."""
        if not self.alive:
            return ""
        return version_trouble(worker=self.version, gateway=PROTOCOL_VERSION)

    def note_life(self) -> None:
        """Note that the worker was heard: behind a flood of ticks its beats may come late."""
        if self.alive:
            self.last_heard = self._monotonic()

    def lose(self) -> None:
        """Give the worker up until its next beat."""
        self.alive = False
        self.fail_pending()

    def request(self, make: Callable[[int], cm.Request]) -> asyncio.Future[cm.Reply]:
        """Send the request that ``make`` builds from its id; the future gets the reply.

        It fails with ``RequestRefusedError``, or ``WorkerTimeoutError`` when the worker goes away.
        """
        future: asyncio.Future[cm.Reply] = asyncio.get_running_loop().create_future()
        self._next_id += 1
        self._pending[self._next_id] = (future, self._monotonic())
        if not self.post(make(self._next_id)):
            del self._pending[self._next_id]
            future.set_exception(WorkerTimeoutError("the worker takes no requests"))
        return future

    def post(self, message: cm.Request) -> bool:
        """Send something that has no reply; False when it cannot even be queued."""
        if self._control is None:
            return False
        try:
            self._control.send([cm.encode(message)])
        except zmq.ZMQError:
            return False
        return True

    def expire(self, older_than: float) -> None:
        """Fail the requests that were sent before ``older_than`` (monotonic seconds)."""
        for request_id, (future, sent) in list(self._pending.items()):
            if sent < older_than:
                del self._pending[request_id]
                _fail(future)

    def _on_batch(self, batch: list[bytes]) -> None:
        self._on_ticks(self, batch)

    def _connect_control(self, port: int) -> None:
        if self._context is None:
            return
        if self._control is not None:
            self._control.close()
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.ROUTING_ID, self._gateway_id.encode("ascii"))
        socket.setsockopt(zmq.SNDHWM, 20_000)
        socket.setsockopt(zmq.RCVHWM, 20_000)
        try:
            prepare_client(socket, self.bus, self.bus.control(port))
        except (OSError, BusError, zmq.ZMQError) as error:
            # The folder is gone or another's since the beat came; the next beat tries again.
            logger.warning("no way to the worker at %s: %s", self.bus, one_line(error))
            socket.close(0)
            self._control, self._control_port = None, 0
            return
        self._control_port = port
        self._control = LoopSocket(
            socket=socket,
            receive=lambda: socket.recv_multipart(zmq.NOBLOCK),
            on_batch=self._on_control,
            batch_size=200,
        )
        self._control.open()

    def _on_control(self, batch: list[list[bytes]]) -> None:
        self._on_answers()
        for parts in batch:
            try:
                message = cm.decode_from_worker(parts[0] if len(parts) == 1 else b"")
            except MalformedMessageError:
                self.malformed += 1
                continue
            if isinstance(message, cm.ResyncNotice | cm.EventNotice):
                self._on_notice(self, message)
                continue
            future, _sent = self._pending.pop(message.id, (None, 0.0))
            if future is None or future.done():
                continue
            if isinstance(message, cm.ErrorReply):
                future.set_exception(RequestRefusedError(message.code, message.message))
            else:
                future.set_result(message)

    def fail_pending(self) -> None:
        """Give up every request under way: the worker is another one or has dropped them."""
        pending, self._pending = self._pending, {}
        for future, _sent in pending.values():
            _fail(future)


def _fail(future: asyncio.Future[cm.Reply]) -> None:
    if not future.done():
        future.set_exception(WorkerTimeoutError("the worker does not answer"))
        # Whoever asked may be gone; an exception that nobody looks at is no defect here.
        future.exception()
