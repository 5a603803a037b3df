"""The wants of a gateway's clients: the one table of them, and the work of making workers know it.

``WantTable`` is what clients want. ``_Asking`` is some of it on its way to a worker. ``Wants`` owns
both, and who answers for which pool; it opens a topic on the bus before it asks for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import msgspec

from brokers.batching import portions
from brokers.pool_service import (
    FeedEvent,
    Outcome,
    OutcomeState,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.types import InstrumentKey
from streaming.exceptions import ControlError, TopicError
from streaming.link.peer import WorkerPeer
from streaming.link.returning import Returns
from streaming.link.tick_filter import TickFilter
from streaming.ports.link import TickMessage, WantReply
from streaming.slices import slices
from streaming.wire import control as cm
from streaming.wire.topics import barrier_topic, tick_topic

__all__ = ["WantTable", "Wants"]

_REPLAYS_AT_ONCE = 64
_NO_DETAILS: Mapping[str, int] = {}


class _Holders:
    """How many clients want a topic, and what was settled of it last: most want the same."""

    __slots__ = ("count", "want")

    def __init__(self) -> None:
        self.count = 0
        self.want: Want | None = None


class WantTable:
    """The gateway's account of its wants: what to tell a new worker, which topics to hear."""

    def __init__(self) -> None:
        # By pool and client, without empty ones.
        self._wants: dict[str, dict[str, dict[InstrumentKey, Want]]] = {}
        # Of the topics that somebody wants.
        self._holders: dict[bytes, _Holders] = {}

    def put(self, pool_id: str, client: str, wants: Sequence[Want]) -> list[bytes]:
        """Note wants, replacing earlier ones for the same keys; return topics nobody held before.

        Raises:
            TopicError: a key cannot be a topic; nothing of the call is noted.
        """
        topics = [tick_topic(pool_id, want.key) for want in wants]
        held = self._wants.setdefault(pool_id, {}).setdefault(client, {})
        added = []
        for want, topic in zip(wants, topics, strict=True):
            if want.key not in held:
                holders = self._holders.get(topic)
                if holders is None:
                    holders = self._holders[topic] = _Holders()
                    added.append(topic)
                holders.count += 1
            held[want.key] = want
        self._tidy(pool_id, client)
        return added

    def drop(self, pool_id: str, client: str, keys: Iterable[InstrumentKey]) -> list[bytes]:
        """Strike out wants; return the topics that nobody holds any more."""
        held = self._wants.get(pool_id, {}).get(client, {})
        topics = []
        for key in list(keys):
            if held.pop(key, None) is None:
                continue
            topic = tick_topic(pool_id, key)
            holders = self._holders[topic]
            holders.count -= 1
            if holders.count == 0:
                del self._holders[topic]
                topics.append(topic)
        self._tidy(pool_id, client)
        return topics

    def share(self, pool_id: str, client: str, wants: Sequence[Want]) -> None:
        """Keep of wants that are still those of the client one object with others' equal ones."""
        held = self._wants.get(pool_id, {}).get(client, {})
        for want in wants:
            if held.get(want.key) is want:
                holders = self._holders[tick_topic(pool_id, want.key)]
                if holders.want == want:
                    held[want.key] = holders.want
                else:
                    holders.want = want

    def get(self, pool_id: str, client: str, key: InstrumentKey) -> Want | None:
        """Return one want, or None."""
        return self._wants.get(pool_id, {}).get(client, {}).get(key)

    def keys(self, pool_id: str, client: str) -> list[InstrumentKey]:
        """Return the keys that a client wants in a pool."""
        return list(self._wants.get(pool_id, {}).get(client, {}))

    def clients(self, pool_id: str) -> list[str]:
        """Return the clients that want something of a pool."""
        return list(self._wants.get(pool_id, {}))

    def instruments(self, pool_id: str) -> list[InstrumentKey]:
        """Return what is wanted of a pool, each instrument once."""
        seen: dict[InstrumentKey, None] = {}
        for held in self._wants.get(pool_id, {}).values():
            seen.update(dict.fromkeys(held))
        return list(seen)

    def _tidy(self, pool_id: str, client: str) -> None:
        clients = self._wants.get(pool_id)
        if clients is None:
            return
        if not clients.get(client, True):
            del clients[client]
        if not clients:
            del self._wants[pool_id]


class _Asking:
    """Sends wants and gathers the answers; goes on when nobody waits any longer.

    Args:
        earlier: what the client wanted before of the same instruments, which stands when the
            worker refuses.
        late: the client has its answer already, so what comes is news to it, and what it was told
            of these wants stands.
        on_done: called once, when every message was answered or has failed.
    """

    def __init__(
        self,
        *,
        pool_id: str,
        client: str,
        wants: Sequence[Want],
        earlier: Mapping[InstrumentKey, Want | None],
        late: bool,
        on_done: Callable[[_Asking], None],
    ) -> None:
        self.pool_id = pool_id
        self.client = client
        self.wants = wants
        self.earlier = earlier
        self.late = late  # answers come too late for ``want``: they go to the listener
        # What has been answered so far, and of which wants the worker said nothing.
        self.outcomes: list[Outcome] = []
        self.snapshots: list[bytes] = []  # as above, in messages of the bus
        self.unanswered: list[Want] = []
        self._on_done = on_done
        self._waiting_for = 0  # messages without an answer
        self._done = asyncio.Event()  # set once none is left

    def send(self, peer: WorkerPeer, barrier: str) -> None:
        """Send everything to ``peer``; it answers once ``barrier`` has come through the bus."""
        wants = self.wants
        if self.late:
            wants = [msgspec.structs.replace(want, stands=True) for want in wants]
        chunks = list(portions(wants, cm.MAX_ITEMS))
        self._waiting_for = len(chunks)
        for chunk in chunks:
            make = partial(
                cm.WantRequest,
                pool_id=self.pool_id,
                client=self.client,
                wants=chunk,
                barrier=barrier,
            )
            peer.request(make).add_done_callback(partial(self._on_reply, chunk))

    async def wait(self, timeout: float) -> None:
        """Wait until it is done, at most ``timeout`` seconds; what comes afterwards is late."""
        try:
            async with asyncio.timeout(timeout):
                await self._done.wait()
        except TimeoutError:
            self.late = True

    def _on_reply(self, chunk: list[Want], future: asyncio.Future[cm.Reply]) -> None:
        try:
            reply = future.result()
        except ControlError:
            self.unanswered += chunk
        else:
            if isinstance(reply, cm.WantReplyMessage) and len(reply.outcomes) == len(chunk):
                self.outcomes += reply.outcomes
                self.snapshots += reply.snapshots
            else:
                self.unanswered += chunk
        self._waiting_for -= 1
        if self._waiting_for == 0:
            self._on_done(self)
            self._done.set()


class Wants:
    """Keeps all wants of one gateway, and who owns the pools that they are for.

    What a worker did not confirm is *dirty*: ``reconcile`` tells it again what is wanted now. Lives
    on one event loop. Coroutines may be cancelled: what a cancelled ``want`` noted stays until
    ``release``.

    Args:
        name: the gateway's id; makes its barriers unlike those of others.
        ticks: which ticks are passed on; shared with whoever reads the bus.
        emit_values: called with values that are news to clients which have their answer already.
        emit: called with late outcomes.
        returns: learns whose wants are on their way to being live again.
    """

    def __init__(
        self,
        *,
        name: str,
        ticks: TickFilter,
        emit_values: Callable[[Sequence[TickMessage]], None],
        emit: Callable[[FeedEvent], None],
        returns: Returns,
        request_timeout_seconds: float,
    ) -> None:
        self._name = name
        self._filter = ticks
        self._emit_values = emit_values
        self._emit = emit
        self._returns = returns
        self._request_timeout_seconds = request_timeout_seconds
        self._table = WantTable()
        self._owners: dict[str, WorkerPeer] = {}  # who answers for a pool now
        self._lives: dict[str, int] = {}  # which opening of an owned pool was told what is wanted
        self._ever_owned: set[WorkerPeer] = set()  # whose bus may be subscribed to our topics
        # What a worker did not confirm, by pool and client, until it is told again.
        self._dirty: dict[WorkerPeer, dict[tuple[str, str], set[InstrumentKey]]] = {}
        self._replays: dict[WorkerPeer, asyncio.Task[None]] = {}  # at most one for each worker
        self._barriers = 0  # so far, to name the next one

    async def close(self) -> None:
        """Stop telling workers anything."""
        tasks = list(self._replays.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Clients

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
                _named_as(outcomes[want.key], want)
                if want.key in outcomes
                else (_pending if want.key in earlier else _unknown)(want)
                for want in wants
            ],
            snapshots=[message for message in newest if message is not None],
        )

    def release(self, pool_id: str, client: str, keys: Sequence[InstrumentKey]) -> None:
        """Give up references; the bus is silent at once, the worker is told without waiting."""
        valid = [key for key in keys if _is_valid(pool_id, key)]
        self._strike(pool_id, client, valid)
        peer = self._owners.get(pool_id)
        if peer is not None:
            self._tell_release(peer, pool_id, client, valid, everything=False)

    async def release_all(self, pool_id: str, client: str) -> None:
        """Give up all references of a client that is gone, many of them a part in a turn."""
        held = self._table.keys(pool_id, client)
        for start, part in slices(held):
            if start:
                await asyncio.sleep(0)
            self._strike(pool_id, client, part)
        # Whoever answers for the pool by now was told of those that were still wanted.
        peer = self._owners.get(pool_id)
        if peer is not None:
            self._tell_release(peer, pool_id, client, held, everything=True)

    # Owners

    def owner(self, pool_id: str) -> WorkerPeer | None:
        """Return the worker that answers for a pool, or None."""
        return self._owners.get(pool_id)

    def pools(self) -> list[str]:
        """Return the pools that somebody answers for."""
        return list(self._owners)

    def owned_by(self, peer: WorkerPeer) -> list[str]:
        """Return the pools that a worker answers for."""
        return [pool_id for pool_id, owner in self._owners.items() if owner is peer]

    def instruments(self, peer: WorkerPeer) -> dict[str, list[InstrumentKey]]:
        """Return what is wanted of each pool of a worker."""
        return {pool_id: self._table.instruments(pool_id) for pool_id in self.owned_by(peer)}

    def life(self, pool_id: str) -> int | None:
        """Return which opening of a pool is owned, or None."""
        return self._lives.get(pool_id)

    def own(self, peer: WorkerPeer, pool_id: str, life: int) -> None:
        """Note who answers for a pool, and that it knows nothing of what is wanted there."""
        self._owners[pool_id] = peer
        self._lives[pool_id] = life
        self._ever_owned.add(peer)
        topics = {tick_topic(pool_id, key): key for key in self._table.instruments(pool_id)}
        self._returns.begin(pool_id, topics)
        # Before anybody vouches for them again, what was heard of these topics is history.
        self._filter.void(topics)
        self._filter.refresh(topics, peer.epoch)
        for topic in topics:
            for other in self._ever_owned - {peer}:
                other.unsubscribe(topic)
            peer.subscribe(topic)
        for client in self._table.clients(pool_id):
            self._mark(peer, pool_id, client, self._table.keys(pool_id, client))

    def disown(self, pool_id: str) -> None:
        """Note that nobody answers for a pool now."""
        self._owners.pop(pool_id, None)
        self._lives.pop(pool_id, None)
        self._returns.end(pool_id)

    def void(self, pool_id: str, keys: Sequence[InstrumentKey] | None) -> None:
        """Hand out the last prices of ``keys`` (None: of the whole pool) no more: they are old."""
        self._filter.void(self._topics(pool_id, keys))

    def _topics(self, pool_id: str, keys: Sequence[InstrumentKey] | None) -> list[bytes]:
        if keys is None:
            keys = self._table.instruments(pool_id)
        return [tick_topic(pool_id, key) for key in keys if _is_valid(pool_id, key)]

    def begin(self, peer: WorkerPeer) -> None:
        """Note that a worker has just been greeted and holds nothing for this gateway."""
        self._dirty.pop(peer, None)
        for pool_id in self.owned_by(peer):
            self.own(peer, pool_id, self._lives.get(pool_id, 0))

    def _mark(
        self, peer: WorkerPeer, pool_id: str, client: str, keys: Sequence[InstrumentKey]
    ) -> None:
        if peer.alive and keys:
            self._dirty.setdefault(peer, {}).setdefault((pool_id, client), set()).update(keys)

    def reconcile(self, peer: WorkerPeer) -> None:
        """Begin to tell a worker what it may not know, unless that is under way."""
        if self._dirty.get(peer) and peer not in self._replays:
            task = asyncio.create_task(self._replay(peer), name=f"replay-{peer.bus}")
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

    # Asking

    def _ask(
        self,
        peer: WorkerPeer,
        pool_id: str,
        client: str,
        wants: Sequence[Want],
        *,
        earlier: Mapping[InstrumentKey, Want | None],
        late: bool,
    ) -> _Asking:
        """Open the bus path of ``wants`` and send them; the answers are taken in as they come."""
        for want in wants:
            peer.subscribe(tick_topic(pool_id, want.key))
        self._barriers += 1
        token = f"{self._name}.{self._barriers}"
        barrier = barrier_topic(token)
        peer.subscribe(barrier)
        asking = _Asking(
            pool_id=pool_id,
            client=client,
            wants=wants,
            earlier=earlier,
            late=late,
            on_done=partial(self._on_asked, peer, barrier),
        )
        asking.send(peer, token)
        return asking

    def _on_asked(self, peer: WorkerPeer, barrier: bytes, asking: _Asking) -> None:
        pool_id, client = asking.pool_id, asking.client
        peer.unsubscribe(barrier)
        self._mark(peer, pool_id, client, [want.key for want in asking.unanswered])
        if self._owners.get(pool_id) is not peer:
            return
        topics = [tick_topic(pool_id, outcome.key) for outcome in asking.outcomes]
        offered = self._filter.offer(topics, asking.snapshots)
        if self._returns:
            self._returns.settle(pool_id, asking.outcomes)
            self._returns.priced(data[: data.find(b"\0") + 1] for data in asking.snapshots)
        held = [
            outcome
            for outcome in asking.outcomes
            if self._table.get(pool_id, client, outcome.key) is not None
        ]
        self._forget_refused(asking)
        # One object is one question, for as long as it may be answered: those of replays may be.
        if not asking.late and peer not in self._replays:
            self._table.share(pool_id, client, asking.wants)
        # A client that waits gets the snapshots with its answer; the others hear of newer values.
        self._emit_values(offered.newer + offered.first if asking.late else offered.newer)
        settled = [
            outcome
            for outcome in held
            if outcome.state is not OutcomeState.PENDING or outcome.code is not None
        ]
        if asking.late and settled:
            self._emit(SubscriptionChange(pool_id, settled))

    def _forget_refused(self, asking: _Asking) -> None:
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
        topics = self._table.drop(pool_id, client, keys)
        self._returns.release(topics)
        for topic in topics:
            self._filter.release(topic)
            self._unsubscribe(topic)

    def _unsubscribe(self, topic: bytes) -> None:
        # Also from workers that are gone or own the pool no longer: they may come back.
        for peer in self._ever_owned:
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
        for chunk in [None] if everything else portions(keys, cm.MAX_ITEMS):
            make = partial(cm.ReleaseRequest, pool_id=pool_id, client=client, keys=chunk)
            retry = partial(self._mark, peer, pool_id, client, keys if chunk is None else chunk)
            peer.request(make).add_done_callback(partial(_unless_done, retry))


def _is_valid(pool_id: str, key: InstrumentKey) -> bool:
    try:
        tick_topic(pool_id, key)
    except TopicError:
        return False
    return True


def _named_as(outcome: Outcome, want: Want) -> Outcome:
    """Return an outcome that names the want's own instrument: of thousands, names take most."""
    details = outcome.details or _NO_DETAILS
    return msgspec.structs.replace(outcome, key=want.key, details=details)


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
