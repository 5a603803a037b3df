"""The gateway's way to the workers over ZeroMQ: ``FeedLink`` as the hub uses it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import zmq

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    OrderUpdated,
    PoolStats,
    SubscriptionChange,
    Want,
)
from brokers.times.awake import awake_seconds
from brokers.times.held_up import HeldUp
from brokers.types import InstrumentKey
from streaming.exceptions import BusError, ControlError, MalformedMessageError
from streaming.link.catching_up import CatchingUp
from streaming.link.feed_status import FeedStatuses, as_read_here
from streaming.link.healing import Healing
from streaming.link.latency import Latency
from streaming.link.peer import WorkerPeer
from streaming.link.returning import Returns
from streaming.link.tick_filter import BusCounters, TickFilter
from streaming.link.wants import Wants
from streaming.ports.link import (
    FeedLink,
    FeedListener,
    PoolTold,
    PublisherCounts,
    TickMessage,
    WantReply,
)
from streaming.wire import control as cm
from streaming.wire.address import BusAddress
from streaming.wire.message import FORMAT_VERSION, unpack_message
from streaming.wire.topics import BEAT_TOPIC
from streaming.wire.versions import PROTOCOL_VERSION

__all__ = ["ZmqFeedLink"]

logger = logging.getLogger("streaming.link.zmq_feed_link")

_TICK_SECONDS = 0.25
_HEARTBEAT_SECONDS = 1.0
_REQUEST_EXPIRY_SECONDS = 40.0  # longer than a worker may take for one request


class ZmqFeedLink(FeedLink):
    """Keeps all wants of one gateway and makes the workers know them, whatever becomes of these.

    A worker shows itself by its beat, and stays known while beats or ticks come. A new one, or one
    that was silent, gets a hello, which voids what it holds for this gateway, and all wants again.
    What a worker did not confirm is asked for again at its next beat, so a lost message costs a
    second, not a subscription.

    All methods belong to the loop of ``open``. Any coroutine may be cancelled: what a cancelled
    ``want`` noted stays until ``release``.

    Args:
        buses: of each worker.
        gateway_id: unique among gateways and their restarts; None makes a random one.
        receive_hwm: ticks queued here while the loop is busy, of a bus with keys.
        worker_timeout_seconds: silence after which a worker counts as gone.
        request_timeout_seconds: how long ``want`` and ``stats`` wait for a worker at most.
        heal_seconds: the least time between two rounds of snapshots after lost ticks.
        settle_seconds: how long a pool that came back waits for prices of what its broker has
            confirmed before it counts as live.
        only_looks: be no gateway to any worker, and write nothing of them into the log: beats are
            heard and ``stats`` are answered, nothing can be wanted.
        now_ms: epoch milliseconds.
        monotonic: seconds, for time-outs.
        awake: seconds, those counted in which the machine slept.
        now_ns: epoch nanoseconds.

    Raises:
        ValueError: an argument cannot be used.
    """

    def __init__(
        self,
        *,
        buses: Sequence[BusAddress],
        gateway_id: str | None = None,
        receive_hwm: int = 100_000,
        worker_timeout_seconds: float = 3.0,
        request_timeout_seconds: float = 3.0,
        heal_seconds: float = 5.0,
        settle_seconds: float = 3.0,
        only_looks: bool = False,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
        awake: Callable[[], float] = awake_seconds,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        gateway_id = gateway_id or uuid.uuid4().hex
        if not gateway_id.isascii() or len(gateway_id) > 64:
            raise ValueError("gateway_id must be 1 to 64 ASCII characters")
        if not buses or receive_hwm < 1:
            raise ValueError("at least one bus and a receive_hwm of at least 1 are needed")
        if min(worker_timeout_seconds, request_timeout_seconds, heal_seconds) <= 0:
            raise ValueError("timings must be positive")
        self.gateway_id = gateway_id
        self._worker_timeout_seconds = worker_timeout_seconds
        self._request_timeout_seconds = request_timeout_seconds
        self._heal_seconds = heal_seconds
        self._only_looks = only_looks
        self._monotonic = monotonic
        self._now_ns = now_ns
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None  # from ``open`` on
        self._peers = [
            WorkerPeer(
                bus=bus,
                gateway_id=gateway_id,
                receive_hwm=receive_hwm,
                monotonic=monotonic,
                on_ticks=self._on_ticks,
                on_notice=self._on_notice,
                on_answers=self._note_awake,
                patience=self._patience_seconds,
            )
            for bus in dict.fromkeys(buses)
        ]
        self._filter = TickFilter()
        self.latency = Latency()
        self._feeds = FeedStatuses(now_ms=now_ms)
        self._waiting: dict[str, int] = {}  # symbols without a place, as beats say
        self._returns = Returns(now_ms=now_ms, settle_seconds=settle_seconds)
        self._wants = Wants(
            name=gateway_id,
            ticks=self._filter,
            emit_values=self._emit_values,
            emit=self._emit,
            returns=self._returns,
            request_timeout_seconds=request_timeout_seconds,
        )
        self._healings = {peer: Healing(pause_seconds=heal_seconds) for peer in self._peers}
        # Of whom nothing is passed on, as it may be of the time of a hold-up, here or there.
        self._catching_up = {peer: CatchingUp() for peer in self._peers}
        self._awake = awake
        self._held_up = HeldUp(bound_seconds=worker_timeout_seconds + _TICK_SECONDS)
        self._listener: FeedListener | None = None  # from ``open`` on
        self._ticking: asyncio.Task[None] | None = None  # runs ``_run``, from ``open`` on
        self._closed = False  # nobody is told anything any more

    def __repr__(self) -> str:
        return f"<ZmqFeedLink {self.gateway_id!r} workers={self.workers()}/{len(self._peers)}>"

    @property
    def counters(self) -> BusCounters:
        """Counts of what this gateway saw on the bus since it started; live, for metrics."""
        return self._filter.counters

    def workers(self) -> int:
        """Return how many workers answer now."""
        return sum(peer.alive for peer in self._peers)

    def version_troubles(self) -> Sequence[str]:
        """Return what is wrong between the versions of this gateway and of those workers."""
        troubles = (peer.version_trouble for peer in self._peers)
        return [each for each in dict.fromkeys(troubles) if each]

    def publishers(self) -> list[PublisherCounts]:
        """Return what each worker's last beat says of its publisher, in the order of ``buses``."""
        return [peer.counts for peer in self._peers]

    def pools(self) -> Mapping[str, PoolTold]:
        """Return every pool that a worker announces, and what is known of it."""
        return {pool_id: self._told(pool_id) for pool_id in self._wants.pools()}

    def _told(self, pool_id: str) -> PoolTold:
        waiting = self._waiting.get(pool_id, 0)
        return PoolTold(self.feed(pool_id).status, self._feeds.reason(pool_id), waiting)

    async def open(self, listener: FeedListener) -> None:
        """Connect; returns at once, whether or not a worker is there.

        Raises:
            BusError: the link was closed.
        """
        if self._closed:
            raise BusError("a closed link cannot be opened again")
        self._listener = listener
        self._context = zmq.Context()
        for peer in self._peers:
            peer.open(self._context)
        self._held_up.turn(self._awake())
        self._ticking = asyncio.create_task(self._run(), name="feed-link")

    async def close(self) -> None:
        """Say goodbye to the workers and close all sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._ticking is not None:
            self._ticking.cancel()
            await asyncio.wait({self._ticking})
        await self._wants.close()
        for peer in self._peers:
            peer.close()
        # Ending the context waits for the goodbyes to leave, so not on this loop.
        if self._context is not None:
            await asyncio.to_thread(self._context.term)

    # Clients' wishes

    async def want(self, pool_id: str, client: str, wants: Sequence[Want]) -> WantReply:
        """Take or change this client's references; see ``FeedLink``.

        Never raises for the worker's sake: what is not answered within ``request_timeout_seconds``
        is PENDING, and a later answer comes to the listener as a ``SubscriptionChange``.
        """
        return await self._wants.want(pool_id, client, wants)

    async def release(
        self, pool_id: str, client: str, keys: Sequence[InstrumentKey] | None
    ) -> None:
        """Give up references; the bus is silent at once, the worker is told without waiting."""
        if keys is None:
            await self._wants.release_all(pool_id, client)
        else:
            self._wants.release(pool_id, client, keys)

    async def stats(self, pool_id: str) -> PoolStats | None:
        """Return the pool's statistics, or None while no worker answers for it."""
        peer = self._wants.owner(pool_id)
        if peer is None:
            return None
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                reply = await peer.request(lambda request_id: cm.StatsRequest(request_id, pool_id))
        except (ControlError, TimeoutError):
            return None
        return reply.stats if isinstance(reply, cm.StatsReply) else None

    async def last_values(
        self, pool_id: str, keys: Sequence[InstrumentKey]
    ) -> Sequence[TickMessage]:
        """Return the last messages of ``keys``, without wanting anything; none while none answers.

        They are as old as they are: for what only needs to be about right.
        """
        peer = self._wants.owner(pool_id)
        if peer is None:
            return []
        make = partial(cm.SnapshotRequest, pool_id=pool_id, keys=list(keys[: cm.MAX_ITEMS]))
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                reply = await peer.request(make)
            if isinstance(reply, cm.SnapshotReply):
                return [unpack_message(message) for message in reply.snapshots]
        except (ControlError, TimeoutError, MalformedMessageError):
            pass
        return []

    def feed(self, pool_id: str) -> FeedChange:
        """Return how the pool's feed is now, since when and why, as clients were told it.

        STALE while no worker answers for it, and after it came back until its prices have.
        """
        return self._feeds.feed(pool_id, is_held=self._returns.holds(pool_id))

    # What the workers say

    def _on_ticks(self, peer: WorkerPeer, batch: list[bytes]) -> None:
        read_at_ns = self._now_ns()
        self._note_awake()
        if self._catching_up[peer].is_behind:
            batch = [data for data in batch if data.startswith(BEAT_TOPIC)]
        gaps = self._filter.counters.gaps
        messages, others = self._filter.accept(batch)
        if messages:
            peer.note_life()
            self._emit_ticks(messages)
            timed = [message for message in messages if message.published_after_us]
            if timed:
                self._time(timed, read_at_ns // 1000)
        if self._filter.counters.gaps != gaps:
            self._healings[peer].note_gap()
        for data in others:
            try:
                if not data.startswith(BEAT_TOPIC):
                    raise MalformedMessageError("neither tick nor beat")
                beat = cm.decode_beat(data[len(BEAT_TOPIC) :])
            except MalformedMessageError:
                self._filter.counters.malformed += 1
                continue
            self._on_beat(peer, beat)

    def _time(self, timed: Sequence[TickMessage], read_at_us: int) -> None:
        self.latency.arrived(timed, read_at_us)
        # Behind the writers that the listener has just woken: the loop runs first what was asked
        # first.
        asyncio.get_running_loop().call_soon(self._time_sent, read_at_us)

    def _time_sent(self, read_at_us: int) -> None:
        self.latency.sent(read_at_us, self._now_ns() // 1000)

    def _on_beat(self, peer: WorkerPeer, beat: cm.Beat) -> None:
        if self._closed or (peer.alive and beat.epoch < peer.epoch):
            return
        expected = peer.beat_number + 1
        is_new = peer.meet(beat)
        if is_new:
            for pool_id in self._wants.owned_by(peer):
                self._disown(pool_id, "the worker was restarted")
            self._greet(peer, beat.worker_id)
        if self._is_behind(peer, beat, is_new=is_new):
            return
        announced = {pool.pool_id for pool in beat.pools}
        for pool_id in self._wants.owned_by(peer):
            if pool_id not in announced:
                self._disown(pool_id, "no worker serves this account")
        for pool in beat.pools:
            self._on_pool_beat(peer, as_read_here(pool, beat.bus_format), beat.sent_ms)
        self._wants.reconcile(peer)
        # A beat that is missing itself was lost with whatever it had to say.
        missed_beat = not is_new and beat.number > expected
        if missed_beat or self._filter.is_behind(beat.tails, beat.epoch):
            self._healings[peer].note_gap()
        snapshots = self._healings[peer].on_beat(
            peer,
            lambda: self._wants.instruments(peer),
            number=beat.number,
            now=self._monotonic(),
        )
        self._emit_values(self._filter.heal(snapshots))

    def _is_behind(self, peer: WorkerPeer, beat: cm.Beat, *, is_new: bool) -> bool:
        """Tell whether a beat, and the ticks around it, may be of the time of a hold-up."""
        catching_up = self._catching_up[peer]
        if not catching_up.is_behind or self._only_looks:
            return False
        if is_new:
            catching_up.begin()  # its beats have numbers of their own
        catching_up.came(beat.number)
        question = catching_up.asks(self._monotonic())
        if question is not None:
            pool_id = beat.pools[0].pool_id if beat.pools else "-"
            make = partial(cm.SnapshotRequest, pool_id=pool_id, keys=[])
            peer.request(make).add_done_callback(partial(self._on_present, peer, question))
        return catching_up.is_behind

    def _on_present(
        self, peer: WorkerPeer, question: int, answer: asyncio.Future[cm.Reply]
    ) -> None:
        is_told = not answer.cancelled() and answer.exception() is None
        reply = answer.result() if is_told else None
        number = reply.beat if isinstance(reply, cm.SnapshotReply) else None
        catching_up = self._catching_up[peer]
        catching_up.answered(question, number)
        catching_up.came(peer.beat_number)

    def _on_pool_beat(self, peer: WorkerPeer, pool: cm.PoolBeat, sent_ms: int) -> None:
        pool_id = pool.pool_id
        owner = self._wants.owner(pool_id)
        if owner is peer and self._wants.life(pool_id) == pool.life:
            pass
        elif owner is not None and owner is not peer and owner.epoch > peer.epoch:
            return  # fenced: a newer worker has taken the pool over
        else:
            if owner is not None:
                is_same = owner is peer
                self._disown(
                    pool_id,
                    "the pool was restarted" if is_same else "another worker took the pool over",
                )
            self._wants.own(peer, pool_id, pool.life)
        self._waiting[pool_id] = pool.waiting
        change = self._feeds.on_beat(pool, sent_ms)
        if change is not None and self._returns.passes(change, self._monotonic()):
            self._emit(change)

    def _on_notice(self, peer: WorkerPeer, notice: cm.ResyncNotice | cm.EventNotice) -> None:
        if self._only_looks:
            return
        if isinstance(notice, cm.ResyncNotice):
            logger.warning("worker at %s does not know this gateway; all wants go again", peer)
            self._begin_with(peer)
            self._wants.reconcile(peer)
        elif self._concerns(peer, notice.event):
            event = notice.event
            if self._is_of_another_life(event):
                return
            if isinstance(event, FeedChange):
                if peer.bus_format != FORMAT_VERSION:
                    return  # its ticks cannot be read; its beats say so
                if not self._feeds.on_event(event):
                    return
                if not self._returns.passes(event, self._monotonic()):
                    return
            elif isinstance(event, SubscriptionChange) and self._returns:
                self._returns.settle(event.pool_id, event.outcomes)
            self._emit(event)

    def _concerns(self, peer: WorkerPeer, event: FeedEvent) -> bool:
        """Tell whether a worker speaks of a pool of its own; of an order also of one in between.

        While a gateway catches up nobody owns the pool, and a price of that time is not to be
        trusted. What became of an order stays true, and is told once.
        """
        owner = self._wants.owner(event.pool_id)
        return owner is peer or (owner is None and isinstance(event, OrderUpdated))

    def _is_of_another_life(self, event: FeedEvent) -> bool:
        """Tell whether an opening of the pool speaks that was not told what is wanted here."""
        life = 0 if isinstance(event, OrderUpdated) else event.life
        known = self._wants.life(event.pool_id)
        if not life or known is None or life == known:
            return False
        if life > known:
            # What it says is not of this gateway's wants; its beat, behind the last tick of the
            # one before, is where it begins here.
            self._disown(event.pool_id, "the pool was restarted")
        return True

    def _greet(self, peer: WorkerPeer, worker_id: str) -> None:
        if self._only_looks:
            return
        logger.info("worker %r answers at %s", worker_id, peer.bus)
        if trouble := peer.version_trouble:
            logger.warning("worker %r at %s: %s", worker_id, peer.bus, trouble)
        self._begin_with(peer)

    def _begin_with(self, peer: WorkerPeer) -> None:
        """Say hello: the worker then holds nothing for this gateway, so everything is dirty."""
        self._healings[peer] = Healing(pause_seconds=self._heal_seconds)
        peer.fail_pending()
        peer.post(cm.Hello(PROTOCOL_VERSION))
        peer.post(cm.Heartbeat(self._filter.counters.gaps))
        self._wants.begin(peer)

    def _disown(self, pool_id: str, reason: str) -> None:
        self._wants.disown(pool_id)
        self._waiting.pop(pool_id, None)
        self._emit(self._feeds.lose(pool_id, reason))

    # Time

    async def _run(self) -> None:
        heartbeat_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            asleep_since = loop.time()
            await asyncio.sleep(_TICK_SECONDS)
            # What workers said while this process itself was held up may not have been read yet.
            late_seconds = loop.time() - asleep_since - _TICK_SECONDS
            self._note_awake()
            now = self._monotonic()
            self._tell_returns()
            for peer in self._peers:
                peer.expire(now - _REQUEST_EXPIRY_SECONDS)
                silent_seconds = now - peer.last_heard - late_seconds
                if peer.alive and silent_seconds > self._worker_timeout_seconds:
                    self._lose(peer)
                elif peer.alive and now >= heartbeat_at and not self._only_looks:
                    peer.post(cm.Heartbeat(self._filter.counters.gaps))
            if now >= heartbeat_at:
                heartbeat_at = now + _HEARTBEAT_SECONDS

    def _note_awake(self) -> None:
        """Tell of a time in which this process had no turn: its clients heard nothing either."""
        seconds = self._held_up.turn(self._awake())
        if not seconds:
            return
        logger.warning(
            "this gateway was held up for %.1f s; what waited on its buses is dropped",
            seconds,
            extra={"action": "held_up", "seconds": round(seconds, 1)},
        )
        for catching_up in self._catching_up.values():
            catching_up.begin()
        if self._listener is not None:
            self._listener.drop_waiting()
            self._filter.forget()
        for pool_id in self._wants.pools():
            self._disown(pool_id, f"this gateway was held up for {seconds:.0f} s")

    def _lose(self, peer: WorkerPeer) -> None:
        level = logging.DEBUG if self._only_looks else logging.WARNING
        logger.log(level, "worker at %s is not answering", peer.bus)
        peer.lose()
        self._catching_up[peer].begin()  # what it says next may be of before
        for pool_id in self._wants.owned_by(peer):
            self._disown(pool_id, "the worker does not answer")

    # The listener

    def _emit_ticks(self, messages: Sequence[TickMessage]) -> None:
        if messages and self._listener is not None and not self._closed:
            self._listener.on_ticks(messages)
            self._note_prices(messages)

    def _emit_values(self, messages: Sequence[TickMessage]) -> None:
        if messages and self._listener is not None and not self._closed:
            self._listener.on_values(messages)
            self._note_prices(messages)

    def _note_prices(self, messages: Sequence[TickMessage]) -> None:
        if self._returns:
            self._returns.ticked(messages)
            self._tell_returns()

    def _tell_returns(self) -> None:
        for change in self._returns.due(self._monotonic()):
            self._emit(change)

    def _patience_seconds(self) -> float:
        return self._listener.patience_seconds() if self._listener is not None else 0.0

    def _emit(self, event: FeedEvent) -> None:
        if isinstance(event, FeedChange):
            self._feeds.note_told(event)
            if event.status is not FeedStatus.LIVE:
                self._wants.void(event.pool_id, event.keys)
        if self._listener is not None and not self._closed:
            self._listener.on_event(event)
