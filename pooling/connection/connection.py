"""One WebSocket to one broker: opened, kept alive, replayed, and opened again while it is needed.

A thin shell. The adapter says what to send and what frames mean, the owner (the pool) says what the
connection is to carry, ``lifecycle`` and ``backoff`` decide what follows a failure; this module
does the talking and the waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial

from brokers.contract import BrokerAdapter, BrokerEvent, Confirmed, ReconnectSoon, SendNow
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerProtocolError,
)
from brokers.pool_service import ConnectionStats
from brokers.types import Subscription
from pooling.clock import Clock
from pooling.connection.encoding import encode_batch
from pooling.connection.freshness import Freshness
from pooling.connection.meters import ConnectionMeters
from pooling.connection.news import NewsSink
from pooling.connection.owner import ConnectionOwner
from pooling.connection.pacing import Pacer, check_message_size
from pooling.connection.pulse import Pulse
from pooling.connection.restart_switch import RestartSwitch
from pooling.connection.task_failure import first_failure
from pooling.connection.watch import ConnectionWatch
from pooling.connectors.credential_gate import CredentialGate
from pooling.connectors.websocket import Connector, Transport, UpgradeRefusedError
from pooling.exceptions import HeldUpError, PlannedReconnectError, SilentConnectionError
from pooling.lifecycle import UP_STATES, ConnectionState, transition
from pooling.retry_waits import Backoff, recovery_after
from pooling.subscriptions.upkeep import ConnectionView

__all__ = ["Connection"]

logger = logging.getLogger("pooling")

RESCUE_SECONDS = 5.0
ROOM_SECONDS = 0.25


class Connection:
    """One broker connection of a pool. Lives on the worker's loop; ``to_stats`` from any thread.

    Args:
        pool_id: for logs and task names.
        slot: the connection's number in its pool.
        owner: the pool.
        make_adapter: builds the adapter, so that it finds the pool's sink.
        gate: where credentials come from, one connect at a time.
        connector: opens sockets.
        clock: where time is read.
        backoff: delays between attempts.
        pulse: tells when the worker was held up: what the socket kept meanwhile is dropped with it.
        connect_timeout_seconds: for the whole opening handshake.
        health_check_seconds: how often a connection with nothing to carry is asked for a sign of
            life; one that gives none within 5 s is dropped, and replaced if it is needed.
    """

    def __init__(
        self,
        *,
        pool_id: str,
        slot: int,
        owner: ConnectionOwner,
        make_adapter: Callable[[], BrokerAdapter],
        gate: CredentialGate,
        connector: Connector,
        clock: Clock,
        backoff: Backoff,
        pulse: Pulse,
        connect_timeout_seconds: float,
        health_check_seconds: float = 30.0,
    ) -> None:
        if min(connect_timeout_seconds, health_check_seconds) <= 0:
            raise ValueError("time-outs and intervals must be positive")
        self.slot = slot
        self.connect_timeout_seconds = connect_timeout_seconds
        self.health_check_seconds = health_check_seconds
        self._name = f"{pool_id}/{slot}"
        self._owner = owner
        self._make_adapter = make_adapter
        self._adapter = make_adapter()
        self._gate = gate
        self._connector = connector
        self._clock = clock
        self._backoff = backoff
        self._pulse = pulse
        # From here on all is the loop's; any thread may read the meters and the state.
        self._held_up = ""  # why all that the open socket still brings is old
        self._task: asyncio.Task[None] | None = None  # that lives its life, from ``open`` on
        self._wake = asyncio.Event()  # what it is to carry, or whether it is needed, has changed
        # What ends the subscriptions that were cut off: said before any further change.
        self._parting: deque[str | bytes] = deque()
        self._restart = RestartSwitch()
        self._pacer = Pacer(
            clock=clock, interval_seconds=self._adapter.capabilities.message_interval_seconds
        )
        self._credentials_version = 0  # of those that the last attempt took

        self._state = ConnectionState.IDLE
        self._meters = ConnectionMeters(now_ms=clock.time_ms())
        self._freshness = Freshness(self._adapter.capabilities.heartbeat_seconds)
        # When the open socket was opened, and since when there is none though one is wanted: both
        # monotonic, one of them None; loop only.
        self._opened_at: float | None = None
        self._down_since: float | None = clock.monotonic()
        self._live_since: float | None = None  # monotonic, until it is credited to the backoff
        self._unknown_before = 0  # unknown ticks of the adapters before the present one

    def __repr__(self) -> str:
        return f"<Connection {self._name} {self._state}>"

    @property
    def state(self) -> ConnectionState:
        """The connection's place in its life."""
        return self._state

    @property
    def is_up(self) -> bool:
        """Whether its socket is open and carries, or is about to carry, subscriptions."""
        return self._state in UP_STATES

    @property
    def doubt(self) -> str:
        """Why the prices that come on its socket may be old; "": nothing is known against them."""
        return self._held_up or self._freshness.doubt

    @property
    def view(self) -> ConnectionView:
        """The connection as upkeep sees it now."""
        is_live = self._state is ConnectionState.LIVE
        return ConnectionView(self.slot, is_live, self._opened_at, self._down_since)

    @property
    def losses(self) -> Mapping[str, int]:
        """Number of sockets and attempts that ended, by reason."""
        return self._meters.losses

    @property
    def reconnects(self) -> int:
        """Number of times that it was opened again."""
        return self._meters.reconnects

    @property
    def frames_malformed(self) -> int:
        """Number of frames that were dropped because they broke the broker's protocol."""
        return self._meters.malformed

    @property
    def ticks_unknown(self) -> int:
        """Number of ticks of instruments that were not subscribed."""
        return self._unknown_before + self._adapter.ticks_unknown

    def open(self) -> None:
        """Start working; the socket opens once the connection is needed."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"pool-connection-{self._name}")

    def wake(self) -> None:
        """Notice that what the connection is to carry has changed."""
        self._wake.set()

    def cut(self, subscriptions: Sequence[Subscription]) -> None:
        """End subscriptions at once: nothing of them is published from now on, asked or not.

        The broker is told in the connection's turn, before anything else that it is to be told.
        """
        self._parting += self._adapter.unsubscribe(subscriptions)
        if not self._parting:
            self._owner.parted(self.slot)
        self._wake.set()

    def restart(self, make_adapter: Callable[[], BrokerAdapter], reason: str) -> None:
        """Connect again with another adapter, at once."""
        self._make_adapter = make_adapter
        self._restart.ask(reason)

    async def close(self) -> None:
        """Close the socket with 1000 and stop. Idempotent; cancelling it drops the socket."""
        if self.is_up:
            self._set_state(ConnectionState.DRAINING, "closing")
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._state is not ConnectionState.CLOSED:
            self._set_state(ConnectionState.CLOSED, "closed")

    def to_stats(self, *, used: int, capacity: int, symbols: int = 0) -> ConnectionStats:
        """Return the connection as it is now, with what the pool knows of its fill. Any thread."""
        now = self._clock.monotonic()
        return self._meters.to_stats(
            self.slot, self._state, used=used, capacity=capacity, symbols=symbols, now=now
        )

    async def _run(self) -> None:
        while True:
            try:
                await self._live_once()
            except Exception:
                # Supervision point: a defect in recovering must not end the feed for good.
                logger.exception("connection %s could not recover", self._name)
                self._state = ConnectionState.BACKOFF
                await asyncio.sleep(RESCUE_SECONDS)

    async def _live_once(self) -> None:
        await self._until_needed()
        opened_before = self._meters.connects
        try:
            transport, first_messages = await self._connect()
            await self._serve(transport, first_messages)
        except BrokerError as error:
            failure: Exception = error
        except Exception as error:
            # Supervision point: a defect of ours or of an adapter costs this connection a
            # reconnect and is shown with its traceback.
            logger.exception("connection %s failed unexpectedly", self._name)
            failure = error
        await self._recover(failure, was_open=self._meters.connects > opened_before)

    async def _until_needed(self) -> None:
        while not self._owner.is_needed(self.slot):
            if self._state is not ConnectionState.IDLE:
                self._set_state(ConnectionState.IDLE, "nothing to carry")
            self._wake.clear()
            await self._wake.wait()
            self._down_since = self._clock.monotonic()

    async def _connect(self) -> tuple[Transport, Sequence[str | bytes]]:
        self._set_state(ConnectionState.CONNECTING, "")
        self._restart.attempt_begins()
        async with self._gate.attempt() as credentials:
            # One's turn may take long to come: what is asked is where to connect to now.
            if self._restart.take():
                self._take_new_adapter()
            adapter = self._adapter
            self._credentials_version = credentials.version
            handshake = adapter.handshake(credentials)
            try:
                transport = await self._connector(
                    handshake,
                    open_timeout_seconds=self.connect_timeout_seconds,
                    max_frame_bytes=adapter.capabilities.max_frame_bytes,
                )
            except UpgradeRefusedError as error:
                raise adapter.refused(error.status, error.headers, error.body) from error
        return transport, handshake.first_messages

    async def _serve(self, transport: Transport, first_messages: Sequence[str | bytes]) -> None:
        """Carry subscriptions on an open socket until it is lost; always raises why."""
        tasks: list[asyncio.Task[None]] = []
        on_held_up = partial(self._on_held_up, transport)
        self._held_up = ""
        self._pulse.follow(on_held_up)
        try:
            self._meters.connects += 1
            self._pacer.reset(self._adapter.capabilities.message_interval_seconds)
            self._opened_at = self._meters.last_frame = self._clock.monotonic()
            self._down_since = None
            self._freshness.reset(self._opened_at)
            self._adapter.reset()
            self._listen_for_news()
            self._parting.clear()
            self._set_state(ConnectionState.AUTHENTICATING, "")
            watch = self._make_watch(transport)
            tasks += (
                self._spawn("reader", self._read(transport)),
                self._spawn("sender", self._send_changes(transport, first_messages)),
                self._spawn("watch", watch.watch()),
                self._spawn("health", watch.check_health(lambda: self.health_check_seconds)),
                self._spawn("restart", self._restart.until_asked()),
            )
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            raise HeldUpError(self._held_up) if self._held_up else first_failure(tasks)
        except SilentConnectionError:
            transport.abort()  # a peer that says nothing would not answer a close frame either
            raise
        except (BrokerAuthError, BrokerConfigError) as error:
            self._gate.refuse(self._credentials_version, error, self._adapter.endpoint)
            raise
        finally:
            self._pulse.leave(on_held_up)
            self._opened_at, self._down_since = None, self._clock.monotonic()
            for task in tasks:
                task.cancel()
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:  # closed for good in this moment, it must not stay open either
                await transport.close()

    def _make_watch(self, transport: Transport) -> ConnectionWatch:
        return ConnectionWatch(
            transport=transport,
            adapter=self._adapter,
            pacer=self._pacer,
            clock=self._clock,
            freshness=self._freshness,
            meters=self._meters,
            judged=self._judge_freshness,
            is_live=lambda: self._state is ConnectionState.LIVE,
            carries=lambda: self._owner.carries(self.slot),
        )

    def _spawn(self, role: str, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        return asyncio.create_task(work, name=f"pool-connection-{self._name}-{role}")

    async def _read(self, transport: Transport) -> None:
        adapter, clock, owner = self._adapter, self._clock, self._owner
        meters, freshness = self._meters, self._freshness
        no_data = adapter.capabilities.keepalive_answer
        held_up = self._pulse.held_up
        while True:
            frame = await transport.recv()
            if frame == no_data:
                continue  # the transport has heard it; of prices it says nothing
            now = meters.last_frame = clock.monotonic()
            if self._held_up or now >= held_up.overdue_at:
                self._drop_if_held_up()
            meters.frames += 1
            if self._state is ConnectionState.STALE and not freshness.doubt:
                self._go_live("data arrives again")
            was_unproven = freshness.is_unproven
            published = adapter.ticks_published
            try:
                events = adapter.receive(frame, clock.time_us())
            except BrokerProtocolError as error:
                self._count_malformed(error)
                continue
            published = adapter.ticks_published - published
            if was_unproven and not freshness.is_unproven:
                self._believe()
            if published:
                meters.last_tick = now
                meters.ticks += published
                owner.on_ticks(published)
                if now >= freshness.counts_from:
                    self._note_ticks(now, published, events)
            if events:
                await self._take_events(transport, events)

    def _listen_for_news(self) -> None:
        """Look at what comes on a socket whose predecessor had plenty, until there is news."""
        sink = self._adapter.sink
        if isinstance(sink, NewsSink):
            sink = sink.sink
            self._adapter.publish_to(sink)
        if self._freshness.is_unproven:
            self._adapter.publish_to(NewsSink(sink, self._freshness.prove))

    def _believe(self) -> None:
        """Go on without looking."""
        if isinstance(sink := self._adapter.sink, NewsSink):
            self._adapter.publish_to(sink.sink)
        if self._state is ConnectionState.STALE:
            self._go_live("newer prices arrive")

    def _note_ticks(self, now: float, published: int, events: Sequence[BrokerEvent]) -> None:
        first = sum(len(event.keys) for event in events if isinstance(event, Confirmed))
        is_trusted = self._freshness.note(now, is_first_word=first >= published)
        if is_trusted and self._state is ConnectionState.STALE:
            self._go_live("data arrives again")

    async def _take_events(self, transport: Transport, events: Sequence[BrokerEvent]) -> None:
        self._owner.on_events(self.slot, events)
        for event in events:
            if isinstance(event, ReconnectSoon):
                raise PlannedReconnectError(event.reason)
            if isinstance(event, SendNow):
                await self._send_now(transport, event.message)

    def _count_malformed(self, error: BrokerProtocolError) -> None:
        now = self._clock.monotonic()
        self._freshness.note_broken(now)
        if self._meters.is_malformed_news(now):
            text = "connection %s dropped a malformed frame (%d so far): %s"
            logger.warning(text, self._name, self._meters.malformed, error)

    async def _send_changes(
        self, transport: Transport, first_messages: Sequence[str | bytes]
    ) -> None:
        for message in first_messages:
            await self._send(transport, message)
        await self._owner.prepare()
        self._set_state(ConnectionState.SUBSCRIBING, "")
        adapter, refuse = self._adapter, partial(self._owner.on_unsendable, self.slot)
        while True:
            self._wake.clear()
            while self._parting or self._owner.has_changes(self.slot):
                # Decided when it may be sent and not before: what is told until then counts.
                await self._pacer.until_due()
                if self._parting:
                    await self._part(transport)
                    continue
                batch = self._owner.take_batch(self.slot, adapter.capabilities.batch_size)
                if not batch:  # it waits for room that other connections are about to make
                    asyncio.get_running_loop().call_later(ROOM_SECONDS, self._wake.set)
                    break
                self._freshness.asked(
                    self._clock.monotonic(),
                    came=len(batch.subscribe),
                    left=len(batch.unsubscribe),
                    changed=len(batch.change_mode),
                )
                for message in encode_batch(adapter, batch, refuse):
                    await self._send(transport, message)
                self._freshness.asked(self._clock.monotonic())  # the last of them, just now
                if settled := adapter.settle():
                    await self._take_events(transport, settled)
            if self._state is ConnectionState.SUBSCRIBING:
                self._begin()
            await self._wake.wait()

    def _begin(self) -> None:
        """Be live, everything having been asked for; or not, while all that came may be old."""
        if self._freshness.is_unproven and self._owner.carries(self.slot):
            self._set_state(ConnectionState.STALE, self._freshness.doubt)
        else:
            self._go_live("connected")

    async def _part(self, transport: Transport) -> None:
        """Say the next end of what was cut off."""
        await self._send(transport, self._parting.popleft())
        if not self._parting:
            self._owner.parted(self.slot)

    async def _send(self, transport: Transport, message: str | bytes) -> None:
        async with self._pacer.turn():
            await self._send_now(transport, message)

    async def _send_now(self, transport: Transport, message: str | bytes) -> None:
        """Send out of turn. Raises MessageTooLongError: an adapter did not cut it."""
        check_message_size(message, self._adapter.capabilities.max_message_bytes)
        await transport.send(message)
        self._meters.sent += 1

    def _on_held_up(self, transport: Transport, reason: str) -> None:
        """Trust nothing that the socket still brings, and drop it: a new one begins with what is.

        Whatever found no room on its way meanwhile is lost, and nobody can tell: what is behind it
        would be taken for the last price.
        """
        if self.is_up and self._owner.carries(self.slot):
            self._held_up = reason
            if self._state is not ConnectionState.STALE:
                self._credit_health()
                self._set_state(ConnectionState.STALE, reason)
            transport.abort()

    def _drop_if_held_up(self) -> None:
        self._pulse.look()
        if self._held_up:
            raise HeldUpError(self._held_up)

    def _judge_freshness(self, reason: str) -> None:
        if self._held_up:
            return
        if self._state is ConnectionState.LIVE and reason:
            # Where nothing is subscribed, nothing is expected.
            if self._owner.carries(self.slot):
                self._credit_health()
                self._set_state(ConnectionState.STALE, reason)
        elif self._state is ConnectionState.STALE and not reason:
            self._go_live("data arrives again")
        elif self._state is ConnectionState.STALE and not self._owner.carries(self.slot):
            self._go_live("nothing to carry")

    def _take_new_adapter(self) -> None:
        self._unknown_before += self._adapter.ticks_unknown
        self._adapter = self._make_adapter()

    async def _recover(self, failure: Exception, *, was_open: bool) -> None:
        reason = str(failure) if isinstance(failure, BrokerError) else "internal error"
        self._meters.closed(failure, reason, self._clock.time_ms())
        self._credit_health()
        state, delay = recovery_after(failure, self._backoff, is_gate_shut=self._gate.is_shut)
        if delay is not None:
            self._meters.next_retry_ms = self._clock.time_ms() + int(delay * 1000)
        self._set_state(state, reason)
        if was_open:
            self._owner.on_lost(self.slot, reason)
        if delay is None:
            await self._gate.wait_until_open()
        else:
            await self._restart.wait(delay)
            self._meters.next_retry_ms = None

    def _go_live(self, reason: str) -> None:
        self._live_since = self._clock.monotonic()
        self._set_state(ConnectionState.LIVE, reason)

    def _credit_health(self) -> None:
        if self._live_since is not None:
            self._backoff.was_healthy(self._clock.monotonic() - self._live_since)
            self._live_since = None

    def _set_state(self, state: ConnectionState, reason: str) -> None:
        self._state = transition(self._state, state)
        self._meters.since_ms, self._meters.reason = self._clock.time_ms(), reason
        self._owner.on_state(self.slot, state, reason)
