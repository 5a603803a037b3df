"""The gateway's way to the workers over ZeroMQ: ``FeedLink`` as the hub uses it."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import zmq

from brokers.feed import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    Outcome,
    OutcomeState,
    PoolStats,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.types import InstrumentKey
from streaming import control_messages as cm
from streaming.asking import Asking
from streaming.curve import CurveKeys
from streaming.exceptions import BusError, ControlError, MalformedMessageError, TopicError
from streaming.healing import Healing
from streaming.link import FeedLink, FeedListener, TickMessage, WantReply
from streaming.pool_states import PoolStates
from streaming.tick_filter import BusCounters, TickFilter
from streaming.topics import BEAT_TOPIC, barrier_topic, tick_topic
from streaming.want_table import WantTable
from streaming.worker_peer import WorkerPeer

__all__ = ["ZmqFeedLink"]

logger = logging.getLogger("streaming.feed_link")

_TICK_SECONDS = 0.25
_HEARTBEAT_SECONDS = 1.0
_REQUEST_EXPIRY_SECONDS = 40.0  # longer than a worker may take for one request
_REPLAYS_AT_ONCE = 64


class ZmqFeedLink(FeedLink):
    """Keeps all wants of one gateway and makes the workers know them, whatever becomes of these.

    A worker shows itself by its beat. A new one, or one that was silent, gets a hello, which voids
    what it holds for this gateway, and all wants again. What a worker did not confirm is asked for
    again at its next beat, so a lost message costs a second, not a subscription.

    All methods belong to the loop of ``open``. Any coroutine may be cancelled: what a cancelled
    ``want`` noted stays until ``release``.

    Args:
        endpoints: ``tcp://host:port`` of each worker's publisher.
        gateway_id: unique among gateways and their restarts; None makes a random one.
        curve: the installation's keys; needed for endpoints on other machines.
        receive_hwm: ticks queued here while the loop is busy before some are dropped.
        worker_timeout_seconds: silence after which a worker counts as gone.
        request_timeout_seconds: how long ``want`` and ``stats`` wait for a worker at most.
        heal_seconds: the least time between two rounds of snapshots after lost ticks.

    Raises:
        ValueError: an argument cannot be used.
        CurveRequiredError: a non-loopback endpoint without ``curve``.
    """

    def __init__(
        self,
        *,
        endpoints: Sequence[str],
        gateway_id: str | None = None,
        curve: CurveKeys | None = None,
        receive_hwm: int = 100_000,
        worker_timeout_seconds: float = 3.0,
        request_timeout_seconds: float = 3.0,
        heal_seconds: float = 5.0,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        gateway_id = gateway_id or uuid.uuid4().hex
        if not gateway_id.isascii() or len(gateway_id) > 64:
            raise ValueError("gateway_id must be 1 to 64 ASCII characters")
        if not endpoints or receive_hwm < 1:
            raise ValueError("at least one endpoint and a receive_hwm of at least 1 are needed")
        if min(worker_timeout_seconds, request_timeout_seconds, heal_seconds) <= 0:
            raise ValueError("timings must be positive")
        self.gateway_id = gateway_id
        self._worker_timeout_seconds = worker_timeout_seconds
        self._request_timeout_seconds = request_timeout_seconds
        self._heal_seconds = heal_seconds
        self._monotonic = monotonic
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._peers = [
            WorkerPeer(
                endpoint=endpoint,
                gateway_id=gateway_id,
                curve=curve,
                receive_hwm=receive_hwm,
                monotonic=monotonic,
                on_ticks=self._on_ticks,
                on_notice=self._on_notice,
            )
            for endpoint in dict.fromkeys(endpoints)
        ]
        self._table = WantTable()
        self._filter = TickFilter()
        self._states = PoolStates(now_ms=now_ms)
        self._owners: dict[str, WorkerPeer] = {}
        self._dirty: dict[WorkerPeer, dict[tuple[str, str], set[InstrumentKey]]] = {}
        self._replays: dict[WorkerPeer, asyncio.Task[None]] = {}
        self._healings = {peer: Healing(pause_seconds=heal_seconds) for peer in self._peers}
        self._barriers = 0
        self._listener: FeedListener | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"<ZmqFeedLink {self.gateway_id!r} workers={self.workers()}/{len(self._peers)}>"

    @property
    def counters(self) -> BusCounters:
        """What this gateway saw on the bus since it started; live, for metrics."""
        return self._filter.counters

    def workers(self) -> int:
        """Return how many workers answer now."""
        return sum(peer.alive for peer in self._peers)

    def pools(self) -> Mapping[str, FeedStatus]:
        """Return every pool that a worker announces, with its feed's status."""
        return {pool_id: self._states.status(pool_id) for pool_id in self._owners}

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
        self._ticking = asyncio.create_task(self._run(), name="feed-link")

    async def close(self) -> None:
        """Say goodbye to the workers and close all sockets. Idempotent."""
        if self._closed:
            return
        self._closed = True
        tasks = [task for task in (self._ticking, *self._replays.values()) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
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
        valid = [want for want in wants if _is_valid(pool_id, want.key)]
        earlier = {want.key: self._table.get(pool_id, client, want.key) for want in valid}
        for topic in self._table.put(pool_id, client, valid):
            self._filter.hold(topic)
        outcomes: dict[InstrumentKey, Outcome] = {}
        peer = self._owners.get(pool_id)
        if peer is not None and valid:
            asking = self._ask(peer, pool_id, client, valid, earlier=earlier, late=False)
            await asking.wait(self._request_timeout_seconds)
            outcomes = {outcome.key: outcome for outcome in asking.outcomes}
        # Looked up after the last await, so no tick falls between these and the listener's next.
        newest = [self._filter.newest(tick_topic(pool_id, key)) for key in earlier]
        return WantReply(
            outcomes=[
                outcomes.get(want.key) or (_pending if want.key in earlier else _unknown)(want)
                for want in wants
            ],
            snapshots=[message for message in newest if message is not None],
        )

    async def release(
        self, pool_id: str, client: str, keys: Sequence[InstrumentKey] | None
    ) -> None:
        """Give up references; the bus is silent at once, the worker is told without waiting."""
        held = self._table.keys(pool_id, client)
        valid = held if keys is None else [key for key in keys if _is_valid(pool_id, key)]
        self._strike(pool_id, client, valid)
        peer = self._owners.get(pool_id)
        if peer is not None:
            self._tell_release(peer, pool_id, client, valid, everything=keys is None)

    async def stats(self, pool_id: str) -> PoolStats | None:
        """Return the pool's statistics, or None while no worker answers for it."""
        peer = self._owners.get(pool_id)
        if peer is None:
            return None
        try:
            async with asyncio.timeout(self._request_timeout_seconds):
                reply = await peer.request(lambda request_id: cm.StatsRequest(request_id, pool_id))
        except (ControlError, TimeoutError):
            return None
        return reply.stats if isinstance(reply, cm.StatsReply) else None

    def feed_status(self, pool_id: str) -> FeedStatus:
        """Return what is known of the pool's feed now: STALE while no worker answers for it."""
        return self._states.status(pool_id)

    # Asking workers

    def _ask(
        self,
        peer: WorkerPeer,
        pool_id: str,
        client: str,
        wants: Sequence[Want],
        *,
        earlier: Mapping[InstrumentKey, Want | None],
        late: bool,
    ) -> Asking:
        """Open the bus path of ``wants`` and send them; the answers are taken in as they come."""
        for want in wants:
            peer.subscribe(tick_topic(pool_id, want.key))
        self._barriers += 1
        token = f"{self.gateway_id}.{self._barriers}"
        barrier = barrier_topic(token)
        peer.subscribe(barrier)
        asking = Asking(
            pool_id=pool_id,
            client=client,
            wants=wants,
            earlier=earlier,
            late=late,
            on_done=partial(self._on_asked, peer, barrier),
        )
        asking.send(peer, token)
        return asking

    def _on_asked(self, peer: WorkerPeer, barrier: bytes, asking: Asking) -> None:
        pool_id, client = asking.pool_id, asking.client
        peer.unsubscribe(barrier)
        self._mark(peer, pool_id, client, [want.key for want in asking.unanswered])
        if self._owners.get(pool_id) is not peer:
            return
        topics = [tick_topic(pool_id, outcome.key) for outcome in asking.outcomes]
        offered = self._filter.offer(topics, asking.snapshots)
        held = [
            outcome
            for outcome in asking.outcomes
            if self._table.get(pool_id, client, outcome.key) is not None
        ]
        self._forget_refused(asking)
        # A client that waits gets the snapshots with its answer; the others hear of newer values.
        self._emit_ticks(offered.newer + offered.first if asking.late else offered.newer)
        settled = [outcome for outcome in held if outcome.state is not OutcomeState.PENDING]
        if asking.late and settled:
            self._emit(SubscriptionChange(pool_id, settled))

    def _forget_refused(self, asking: Asking) -> None:
        pool_id, client = asking.pool_id, asking.client
        asked = {want.key: want for want in asking.wants}
        for outcome in asking.outcomes:
            if outcome.state is not OutcomeState.REFUSED:
                continue
            if self._table.get(pool_id, client, outcome.key) is not asked.get(outcome.key):
                continue  # the client has changed its mind meanwhile
            earlier = asking.earlier.get(outcome.key)
            if earlier is not None:
                self._table.put(pool_id, client, [earlier])
            else:
                self._strike(pool_id, client, [outcome.key])

    def _strike(self, pool_id: str, client: str, keys: Sequence[InstrumentKey]) -> None:
        """Take wants off the table, and off the bus what nobody wants any more."""
        peer = self._owners.get(pool_id)
        for topic in self._table.drop(pool_id, client, keys):
            self._filter.release(topic)
            if peer is not None:
                peer.unsubscribe(topic)

    def _tell_release(
        self,
        peer: WorkerPeer,
        pool_id: str,
        client: str,
        keys: Sequence[InstrumentKey],
        *,
        everything: bool,
    ) -> None:
        """Send a release in messages of a bounded size; one without an answer is sent again."""
        chunks = [
            list(keys[start : start + cm.MAX_ITEMS]) for start in range(0, len(keys), cm.MAX_ITEMS)
        ]
        for chunk in [None] if everything else chunks:
            make = partial(cm.ReleaseRequest, pool_id=pool_id, client=client, keys=chunk)
            retry = partial(self._mark, peer, pool_id, client, keys if chunk is None else chunk)
            peer.request(make).add_done_callback(partial(_unless_done, retry))

    # What the bus brings

    def _on_ticks(self, peer: WorkerPeer, batch: list[bytes]) -> None:
        gaps = self._filter.counters.gaps
        messages, others = self._filter.accept(batch)
        self._emit_ticks(messages)
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

    def _on_beat(self, peer: WorkerPeer, beat: cm.Beat) -> None:
        if beat.epoch < peer.epoch or self._closed:
            return
        is_new = peer.meet(beat)
        if is_new:
            logger.info("worker %r answers at %s", beat.worker_id, peer.endpoint)
            self._begin_with(peer)
        announced = {pool.pool_id for pool in beat.pools}
        for pool_id in self._owned_by(peer):
            if pool_id not in announced:
                self._disown(pool_id, "no worker owns the pool")
        for pool in beat.pools:
            owner = self._owners.get(pool.pool_id)
            if owner is not peer and owner is not None and owner.epoch > peer.epoch:
                continue  # fenced: a newer worker has taken the pool over
            if owner is not peer:
                self._own(peer, pool.pool_id)
            change = self._states.on_beat(pool, beat.sent_ms)
            if change is not None:
                self._emit(change)
        self._reconcile(peer)
        snapshots = self._healings[peer].on_beat(
            peer,
            {pool_id: self._table.instruments(pool_id) for pool_id in self._owned_by(peer)},
            number=beat.number,
            now=self._monotonic(),
        )
        self._emit_ticks(self._filter.heal(snapshots))

    def _on_notice(self, peer: WorkerPeer, notice: cm.ResyncNotice | cm.EventNotice) -> None:
        if isinstance(notice, cm.ResyncNotice):
            logger.warning("worker at %s does not know this gateway; all wants go again", peer)
            self._begin_with(peer)
            self._reconcile(peer)
        elif self._owners.get(notice.event.pool_id) is peer:
            event = notice.event
            if isinstance(event, FeedChange) and not self._states.on_event(event):
                return
            self._emit(event)

    # Who owns what, and what it does not know yet

    def _begin_with(self, peer: WorkerPeer) -> None:
        """Say hello: the worker then holds nothing for this gateway, so everything is dirty."""
        self._dirty.pop(peer, None)
        self._healings[peer] = Healing(pause_seconds=self._heal_seconds)
        peer.post(cm.Hello())
        peer.post(cm.Heartbeat(self._filter.counters.gaps))
        for pool_id in self._owned_by(peer):
            self._own(peer, pool_id)

    def _own(self, peer: WorkerPeer, pool_id: str) -> None:
        before = self._owners.get(pool_id)
        self._owners[pool_id] = peer
        topics = [tick_topic(pool_id, key) for key in self._table.instruments(pool_id)]
        self._filter.refresh(topics)
        for topic in topics:
            if before is not None and before is not peer:
                before.unsubscribe(topic)
            peer.subscribe(topic)
        for client in self._table.clients(pool_id):
            self._mark(peer, pool_id, client, self._table.keys(pool_id, client))

    def _disown(self, pool_id: str, reason: str) -> None:
        self._owners.pop(pool_id, None)
        self._emit(self._states.lose(pool_id, reason))

    def _owned_by(self, peer: WorkerPeer) -> list[str]:
        return [pool_id for pool_id, owner in self._owners.items() if owner is peer]

    def _mark(
        self, peer: WorkerPeer, pool_id: str, client: str, keys: Sequence[InstrumentKey]
    ) -> None:
        if peer.alive and keys:
            self._dirty.setdefault(peer, {}).setdefault((pool_id, client), set()).update(keys)

    def _reconcile(self, peer: WorkerPeer) -> None:
        if self._dirty.get(peer) and peer not in self._replays:
            task = asyncio.create_task(self._replay(peer), name=f"replay-{peer.endpoint}")
            self._replays[peer] = task
            task.add_done_callback(lambda _done: self._replays.pop(peer, None))

    async def _replay(self, peer: WorkerPeer) -> None:
        """Make the worker know what is wanted now of everything dirty, some clients at a time."""
        epoch = peer.epoch
        dirty = self._dirty.pop(peer, {})
        holders = list(dirty)
        for start in range(0, len(holders), _REPLAYS_AT_ONCE):
            asked = []
            for pool_id, client in holders[start : start + _REPLAYS_AT_ONCE]:
                keys = dirty[pool_id, client]
                found = {key: self._table.get(pool_id, client, key) for key in keys}
                wants = [want for want in found.values() if want is not None]
                gone = [key for key, want in found.items() if want is None]
                if gone:
                    self._tell_release(peer, pool_id, client, gone, everything=False)
                if wants:
                    asked.append(self._ask(peer, pool_id, client, wants, earlier={}, late=True))
            for asking in asked:
                await asking.wait(self._request_timeout_seconds)
            if not peer.alive or peer.epoch != epoch:
                return  # its successor gets everything anyway

    # Time

    async def _run(self) -> None:
        heartbeat_at = 0.0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._monotonic()
            for peer in self._peers:
                peer.expire(now - _REQUEST_EXPIRY_SECONDS)
                if peer.alive and now - peer.last_beat > self._worker_timeout_seconds:
                    self._lose(peer)
                elif peer.alive and now >= heartbeat_at:
                    peer.post(cm.Heartbeat(self._filter.counters.gaps))
            if now >= heartbeat_at:
                heartbeat_at = now + _HEARTBEAT_SECONDS

    def _lose(self, peer: WorkerPeer) -> None:
        logger.warning("worker at %s is not answering", peer.endpoint)
        peer.lose()
        self._dirty.pop(peer, None)
        for pool_id in self._owned_by(peer):
            self._disown(pool_id, "worker is not answering")

    # The listener

    def _emit_ticks(self, messages: Sequence[TickMessage]) -> None:
        if messages and self._listener is not None and not self._closed:
            self._listener.on_ticks(messages)

    def _emit(self, event: FeedEvent) -> None:
        if self._listener is not None and not self._closed:
            self._listener.on_event(event)


def _is_valid(pool_id: str, key: InstrumentKey) -> bool:
    try:
        tick_topic(pool_id, key)
    except TopicError:
        return False
    return True


def _pending(want: Want) -> Outcome:
    return Outcome(want.key, OutcomeState.PENDING, want.mode, want.depth_levels)


def _unknown(want: Want) -> Outcome:
    return Outcome(
        key=want.key,
        state=OutcomeState.REFUSED,
        mode=want.mode,
        depth_levels=want.depth_levels,
        code=RefusalCode.SYMBOL_NOT_FOUND,
        message="no instrument can have this name",
    )


def _unless_done(retry: Callable[[], None], reply: asyncio.Future[cm.Reply]) -> None:
    if not reply.cancelled() and reply.exception() is not None:
        retry()
