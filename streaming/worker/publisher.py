"""The worker's one publisher: every tick of every pool of the process leaves through it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable

import zmq

from brokers.types import FeedMode, Instrument, InstrumentKey, Tick, TickSink
from streaming.exceptions import BusError
from streaming.ports.link import TickMessage
from streaming.wire.address import BusAddress
from streaming.wire.keys import CurveGate
from streaming.wire.message import FORMAT_VERSION, HEADER, unpack_message
from streaming.wire.tick_json import InstrumentFrames
from streaming.wire.topics import BEAT_TOPIC, tick_topic
from streaming.worker.binding import BusBinding

__all__ = ["PoolSink", "SharedZmqPublisher"]

_NOBLOCK = int(zmq.NOBLOCK)
# A publisher that nobody watches still has to empty its socket's queue of subscriptions.
_SENDS_BETWEEN_READS = 4096
_MAX_SUBSCRIPTION_BYTES = 1024
_HANDSHAKE_MS = 5000  # until somebody on the port has proved itself
# One tick in so many of each topic says when it was published; a power of two.
_TICKS_PER_TIMED = 64
_TIMED_MASK = _TICKS_PER_TIMED - 1
_MAX_AFTER_US = 2**32 - 1
_time_ns = time.time_ns
_pack_header = HEADER.pack


class _Topic:
    """One instrument of one pool's sink: its topic, its encoder, its count and its last message.

    Everything is guarded by the publisher's lock, except ``frames``, which is made by whoever
    finds none.
    """

    __slots__ = ("frames", "is_open", "last", "name", "noted", "sequence", "settled")

    def __init__(self, name: bytes, frames: InstrumentFrames, sequence: int, *, is_open: bool):
        self.name = name  # its bytes on the bus
        self.frames: InstrumentFrames | None = frames  # None: forgotten until the next tick
        self.sequence = sequence  # of the last message
        self.last: bytes | None = None  # the last message; None: there is none to be shown
        self.noted = sequence  # the count at the last beat
        self.settled = True  # whether gateways were told that the count stood still
        self.is_open = is_open  # False: its sink is closed, nothing leaves any more


class SharedZmqPublisher:
    """Publishes the ticks of all pools of one process on one XPUB socket.

    Every method may be called from any thread. A message that a slow gateway's full queue
    (``send_hwm`` messages) cannot take is dropped for that gateway only, which sees the gap in the
    topic's sequence; other gateways and the caller notice nothing.

    Args:
        bus: where it is, and how subscribers prove themselves.
        epoch: larger than that of any earlier publisher of the same pools; gateways drop messages
            of lower epochs.
        send_hwm: messages queued per gateway before they are dropped.

    Raises:
        ValueError: a number cannot be used.
    """

    def __init__(self, *, bus: BusAddress, epoch: int, send_hwm: int = 100_000) -> None:
        if not 0 <= epoch < 2**64:
            raise ValueError("epoch must fit 64 bits")
        if send_hwm < 1:
            raise ValueError("send_hwm must be at least 1: 0 would mean no bound at all")
        self.bus = bus
        self.epoch = epoch
        self._send_hwm = send_hwm
        self._binding = BusBinding(bus)
        # Orders the counts of a topic with the messages that carry them, and guards the socket and
        # everything below. ZeroMQ queues a message, so nobody waits for the network under it.
        self._lock = threading.Lock()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None  # from ``open`` on
        self._gate: CurveGate | None = None  # from ``open`` on, of a bus with keys
        self._socket: zmq.Socket[bytes] | None = None  # between ``open`` and ``close``
        self._send: Callable[[bytes, int], object] = _send_to_nobody  # the socket's, while open
        self._closed = False  # it cannot be opened again
        self._sinks: dict[str, PoolSink] = {}  # by pool: the open one, or the last that was
        self._sends_until_read = _SENDS_BETWEEN_READS  # counts down to a look at the notices
        self._is_watched = False  # somebody else reads the notices
        self.published = 0  # ticks since the start
        self.dropped = 0  # messages since the start that the socket refused

    def __repr__(self) -> str:
        return (
            f"<SharedZmqPublisher {self.bus} epoch={self.epoch} pools={len(self._sinks)} "
            f"published={self.published} dropped={self.dropped}>"
        )

    @property
    def context(self) -> zmq.Context[zmq.Socket[bytes]]:
        """The ZeroMQ context; server sockets made in it are behind the same key check.

        Raises:
            BusError: the publisher is not open.
        """
        if self._context is None:
            raise BusError("the publisher is not open")
        return self._context

    def open(self) -> None:
        """Bind. Idempotent.

        Raises:
            BusAddressInUseError: another worker has the socket files, or anybody the port where
                there are none.
            BusConfigurationError: the folder of the socket files cannot be used.
            BusError: the address cannot be bound, or the publisher was closed.
        """
        with self._lock:
            if self._socket is not None:
                return
            if self._closed:
                raise BusError("a closed publisher cannot be opened again")
            self._binding.take()
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            curve = self.bus.curve
            gate = None if curve is None else CurveGate(context=context, keys=curve)
            try:
                if gate is not None:
                    gate.open()
                socket = context.socket(zmq.XPUB)
                self._prepare(socket)
                self._binding.bind(socket)
            except BaseException:
                if gate is not None:
                    gate.close()
                context.destroy(0)
                self._binding.give_back()
                raise
            # The Python-level send checks arguments that are never used here; going below it
            # takes 0.3 instead of 1.5 microseconds a message.
            self._send = super(zmq.Socket, socket).send
            self._context, self._gate, self._socket = context, gate, socket

    def _prepare(self, socket: zmq.Socket[bytes]) -> None:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, self._send_hwm)
        socket.setsockopt(zmq.RCVHWM, 100_000)
        socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
        socket.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        # Verbose: a second gateway's subscription to the beat must be seen, too.
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)

    def close(self) -> None:
        """Stop, after whoever watches; ticks published afterwards go nowhere. Idempotent."""
        with self._lock:
            self._closed = True
            socket, self._socket = self._socket, None
            self._send = _send_to_nobody
        if socket is not None and self._context is not None:
            socket.close(0)
            if self._gate is not None:
                self._gate.close()
            # Also closes what others left open in it, where term() would wait for ever.
            self._context.destroy(0)
        # Last: until here the files were in use, and a successor would have lost its own.
        self._binding.give_back()

    def for_pool(self, pool_id: str, broker: str) -> PoolSink:
        """Return the sink of one pool: the open one, or the successor of a closed one.

        A successor may be another broker's. It knows no last value, and its counts go on.

        Raises:
            ValueError: the pool has an open sink of another broker.
            TopicError: the pool id cannot be part of a topic.
        """
        tick_topic(pool_id, InstrumentKey("-", "-"))
        with self._lock:
            sink = self._sinks.get(pool_id)
            if sink is None or not sink.is_open:
                counts = {} if sink is None else sink.counts
                sink = self._sinks[pool_id] = PoolSink(
                    publisher=self, pool_id=pool_id, broker=broker, counts=counts
                )
        if sink.broker != broker:
            raise ValueError(f"pool {pool_id!r} publishes for {sink.broker!r}, not {broker!r}")
        return sink

    def send(self, topic: _Topic, mode: FeedMode, ts_received_us: int, body: bytes) -> None:
        """Count, keep and send one tick of a sink's topic; never blocks."""
        with self._lock:
            if not topic.is_open:
                return
            sequence = topic.sequence = topic.sequence + 1
            # The first tick of a topic is timed, too.
            after_us = _after_us(ts_received_us) if sequence & _TIMED_MASK == 1 else 0
            topic.last = message = (
                topic.name
                + _pack_header(
                    FORMAT_VERSION, mode, 0, self.epoch, sequence, ts_received_us, after_us
                )
                + body
            )
            self.published += 1
            # ``_send_locked`` without the call, which would cost every tick 0.1 microseconds.
            try:
                self._send(message, _NOBLOCK)
            except zmq.ZMQError:
                self.dropped += 1
                return
            self._sends_until_read -= 1
            if self._sends_until_read <= 0:
                self._empty_locked()

    def add_topic(self, sink: PoolSink, key: InstrumentKey) -> _Topic:
        """Return the topic of an instrument of a sink; of a closed one, a topic that takes nothing.

        Raises:
            TopicError: the instrument's names cannot be a topic.
        """
        name = tick_topic(sink.pool_id, key)
        frames = InstrumentFrames(broker=sink.broker, key=key)
        with self._lock:
            if not sink.is_open:
                return _Topic(name, frames, 0, is_open=False)
            topic = sink.topics.get(key)
            if topic is None:
                count = sink.counts.pop(key, 0)
                topic = sink.topics[key] = _Topic(name, frames, count, is_open=True)
            return topic

    def forget(self, sink: PoolSink, keys: Iterable[InstrumentKey] | None) -> None:
        """Drop the last values and encoders of a sink's ``keys`` (None: all)."""
        with self._lock:
            for key in sink.topics if keys is None else keys:
                topic = sink.topics.get(key)
                if topic is not None:
                    topic.last = topic.frames = None

    def end(self, sink: PoolSink) -> None:
        """Take nothing more of a sink, and keep its counts for its successor. Idempotent."""
        with self._lock:
            sink.is_open = False
            for key, topic in sink.topics.items():
                topic.is_open = False
                sink.counts[key] = topic.sequence
            sink.topics.clear()

    def last_message(self, pool_id: str, key: InstrumentKey) -> bytes | None:
        """Return the instrument's last bus message, or None if there is none to be shown."""
        sink = self._sinks.get(pool_id)
        topic = None if sink is None else sink.topics.get(key)
        return None if topic is None else topic.last

    def snapshot(self, pool_id: str, key: InstrumentKey) -> TickMessage | None:
        """Return the instrument's last message taken apart, or None if there is none."""
        message = self.last_message(pool_id, key)
        return None if message is None else unpack_message(message)

    def settled_topics(self, limit: int) -> list[tuple[bytes, int]]:
        """Return up to ``limit`` topics that fell silent since the last call, with their counts.

        Called before each beat. No later tick shows the loss of a burst's last one; a gateway that
        knows the count finds it. What is over the limit comes at the next call.
        """
        found: list[tuple[bytes, int]] = []
        for sink in list(self._sinks.values()):
            with self._lock:
                topics = list(sink.topics.values())
            for topic in topics:
                # Counted under the lock with its sending, so a count read here is on its way.
                if topic.sequence != topic.noted:
                    topic.noted = topic.sequence
                    topic.settled = False
                elif not topic.settled and len(found) < limit:
                    topic.settled = True
                    if topic.last is not None:
                        found.append((topic.name, topic.noted))
        return found

    def publish_beat(self, body: bytes) -> None:
        """Send a worker's beat to all gateways."""
        with self._lock:
            self._send_locked(BEAT_TOPIC + body)
            if self._socket is not None:
                self._binding.look(self._socket)

    def _send_locked(self, message: bytes) -> None:
        try:
            self._send(message, _NOBLOCK)
        except zmq.ZMQError:
            self.dropped += 1
            return
        self._sends_until_read -= 1
        if self._sends_until_read <= 0:
            self._empty_locked()

    def _empty_locked(self) -> None:
        """Empty the queue of notices when nobody else does."""
        self._sends_until_read = _SENDS_BETWEEN_READS
        if not self._is_watched:
            self._read_locked(_SENDS_BETWEEN_READS)

    # Subscription notices, for the one who watches them

    def fileno(self) -> int:
        """Return the descriptor that becomes readable, edge triggered, when notices arrive.

        Raises:
            BusError: the publisher is not open.
        """
        if self._socket is None:
            raise BusError("the publisher is not open")
        self._is_watched = True
        return self._socket.fileno()

    def read_notices(self, limit: int) -> list[bytes]:
        """Take up to ``limit`` notices: 1 (subscribed) or 0 (unsubscribed), then the topic."""
        with self._lock:
            return self._read_locked(limit)

    def _read_locked(self, limit: int) -> list[bytes]:
        notices: list[bytes] = []
        if self._socket is not None:
            # Collected one by one: what was read before the socket ran dry must not be lost.
            with contextlib.suppress(zmq.ZMQError):
                for _ in range(limit):
                    notices.append(self._socket.recv(_NOBLOCK))  # noqa: PERF401
        return notices


class PoolSink(TickSink):
    """The sink of one pool: what is published here can only get that pool's topics.

    Made by ``SharedZmqPublisher.for_pool``, and used up once it is closed. Every method may be
    called from any thread.
    """

    def __init__(
        self,
        *,
        publisher: SharedZmqPublisher,
        pool_id: str,
        broker: str,
        counts: dict[InstrumentKey, int],
    ) -> None:
        self.pool_id = pool_id
        self.broker = broker
        self._publisher = publisher
        # The publisher changes what follows, under its lock.
        self.topics: dict[InstrumentKey, _Topic] = {}  # of instruments that have had a tick
        # Where the counts of the others stood. They outlive the sink, so that a topic's sequence
        # never goes back within an epoch: gateways would take what comes next for repeats.
        self.counts = counts
        self.is_open = True  # until it is closed

    def __repr__(self) -> str:
        return f"<PoolSink {self.pool_id!r} broker={self.broker} instruments={len(self.topics)}>"

    def publish(self, instrument: Instrument, tick: Tick, ts_received_us: int) -> None:
        """Encode, count, keep and send one tick; never blocks.

        Raises:
            TopicError: the instrument's names cannot be a topic (once per instrument, at first).
        """
        topic = self.topics.get(instrument.key)
        if topic is None:
            if not self.is_open:
                return
            topic = self._publisher.add_topic(self, instrument.key)
        frames = topic.frames or self._frames_again(topic, instrument.key)
        self._publisher.send(topic, tick.mode, ts_received_us, frames.encode(tick))

    def forget(self, keys: Iterable[InstrumentKey] | None) -> None:
        """Drop the last values and encoders of ``keys`` (None: all); the topics' counts go on."""
        self._publisher.forget(self, keys)

    def close(self) -> None:
        """Drop every last value and what is published from now on. Idempotent."""
        self._publisher.end(self)

    def _frames_again(self, topic: _Topic, key: InstrumentKey) -> InstrumentFrames:
        frames = topic.frames = InstrumentFrames(broker=self.broker, key=key)
        return frames


def _after_us(received_us: int) -> int:
    """Return the microseconds since ``received_us``; 0, not measured, when a clock was set."""
    after_us = _time_ns() // 1000 - received_us
    return max(after_us, 1) if 0 <= after_us <= _MAX_AFTER_US else 0


def _send_to_nobody(message: bytes, flags: int) -> None:
    """Stand in for the socket of a publisher that is not open: last values are still kept."""
