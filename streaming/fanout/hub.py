"""The fan-out of one gateway process: ticks of the bus to every client that reads them.

Concurrency: everything runs on one event loop. ``on_ticks`` and ``on_event`` never wait; what has
to wait (asking a pool, the directory) runs in the calling consumer or in a named task of the hub.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    OrderUpdated,
    Outcome,
    SubscriptionChange,
)
from brokers.times.awake import awake_seconds
from streaming.clients.batches import BatchWheel
from streaming.clients.client import Client
from streaming.clients.frames import FrameJoiner, TickPayload
from streaming.clients.outbox_counts import OutboxCounts
from streaming.clients.revoked_clients import RevokedClients
from streaming.clients.slow_clients import SlowClients
from streaming.edge_limits import ConnectionCounter, EdgeLimits
from streaming.fanout.concerned import concerned
from streaming.fanout.exact_names import find_exact_names
from streaming.fanout.index import Group, Groups, LineMembers
from streaming.fanout.line_body import line_body
from streaming.fanout.line_watch import LineWatch
from streaming.fanout.listing import line_entry
from streaming.fanout.look_up_log import LookUpLog
from streaming.fanout.pending_ticks import Arrivals
from streaming.fanout.pool_answers import ask_pools
from streaming.fanout.quiet_lines import OLD_SECONDS
from streaming.fanout.stale_instruments import StaleInstruments
from streaming.fanout.status_board import StatusBoard
from streaming.fanout.suggesting import suggest_names
from streaming.named_tasks import NamedTasks
from streaming.ports.directory import AccountRef, Directory, Principal
from streaming.ports.link import FeedLink, TickMessage
from streaming.ports.status import StatusSource
from streaming.protocol import replies
from streaming.protocol.held import Departure, Feed, Held, Leaving, Line, by_pool
from streaming.protocol.replies import Encoded, encoded
from streaming.protocol.session import ClientSession, SessionState
from streaming.protocol.subscribe_plan import Asked, Found, SubscribePlan
from streaming.protocol.vocabulary import (
    CloseCode,
    RequestId,
    Subscribe,
    Unsubscribe,
    UnsubscribeAll,
)
from streaming.shares.budget import UserBudgets
from streaming.shares.share import Share
from streaming.shares.turns import Turns
from streaming.slices import SLICE, slices
from streaming.turn_pacing import TurnPacing
from streaming.wire.topics import tick_topic

__all__ = ["GatewayHub"]

logger = logging.getLogger("streaming")

_CLOSE_TIMEOUT_SECONDS = 3.0
_RETURNS_AT_ONCE = 500  # instruments of one client, in one answer


class GatewayHub:
    """Clients, what they read, and the link to the workers.

    Args:
        link: the way to the workers; opened and closed with the hub.
        directory: who clients are and what they may use.
        limits: bounds of the edge.
        budgets: what each user may take of this process.
        clock: monotonic seconds.
        wall_clock_ms: epoch milliseconds, for times that are sent.
        cpu_clock: seconds of CPU that the calling thread has taken.
        status: who knows how pools are; None: nobody here.
        on_notice: called with the ids of users whose rights are said to have changed.
    """

    def __init__(
        self,
        *,
        link: FeedLink,
        directory: Directory,
        on_notice: Callable[[Collection[int]], None] = lambda user_ids: None,
        status: StatusSource | None = None,
        limits: EdgeLimits | None = None,
        budgets: UserBudgets | None = None,
        clock: Callable[[], float] = awake_seconds,
        wall_clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.link = link
        self.directory = directory
        self._on_notice = on_notice
        self.limits = limits or EdgeLimits()
        self.budgets = budgets or UserBudgets(limits=self.limits)
        self._turns = Turns()
        self.clock = clock
        self.wall_clock_ms = wall_clock_ms
        self.sockets = ConnectionCounter(
            max_total=self.limits.max_clients,
            max_per_address=self.limits.max_clients_per_address,
        )
        self.clients: set[Client] = set()  # entered and not left
        self.ticks_received = 0  # from the bus, since the start
        self.ticks_unwanted = 0  # of them, those that nobody read any more
        self.clients_closed: Counter[CloseCode] = Counter()  # by the gateway, since the start
        self.ticks_delivered = 0  # one for each client that a tick was for
        self._departed = OutboxCounts()  # of clients that are gone
        gateway_id = str(getattr(link, "gateway_id", ""))  # links in memory have none
        self.board = StatusBoard(source=status, gateway=gateway_id, clock=clock)
        self.batches = BatchWheel(
            clock=clock,
            call_later=lambda *later: asyncio.get_running_loop().call_later(*later),
        )
        self._groups: Groups[Client] = Groups()
        self.lines = LineWatch(groups=self._groups, clock=clock)
        self._pacing = TurnPacing(cpu_clock=cpu_clock)
        self._joiner = FrameJoiner()
        self._arrivals, self._stale = Arrivals(), StaleInstruments()
        self._planning: set[Client] = set()  # clients whose pools are being asked
        self._releasing = asyncio.Lock()
        self._tasks, self._ids = NamedTasks(), itertools.count(1)
        self._slow, self._revoked = SlowClients(hub=self), RevokedClients(hub=self)
        self._look_ups = LookUpLog(clock=clock)
        self._closed = False  # nothing is begun any more

    def __repr__(self) -> str:
        return f"<GatewayHub clients={len(self.clients)} {self._groups!r} link={self.link!r}>"

    @property
    def ticks_conflated(self) -> int:
        """Deliveries that a later tick of the same line replaced, since the start."""
        return self.outbox_counts.conflated + self.batches.conflated

    @property
    def outbox_counts(self) -> OutboxCounts:
        """Deliveries that did not happen since the start, batches' due of conflation left out."""
        return self._departed.plus(client.outbox for client in self.clients)

    @property
    def slow_clients_closed(self) -> int:
        """Clients closed with 4408 since the start."""
        return self.clients_closed[CloseCode.TOO_SLOW]

    async def open(self) -> None:
        """Connect to the workers and begin to watch clients; does not wait for a worker."""
        await self.link.open(self)
        self._tasks.spawn(self._slow.sweep(), "gateway sweep")
        self._tasks.spawn(self._revoked.revalidate(), "gateway revalidation")
        self._tasks.spawn(self.board.run(), "gateway status board")
        self._tasks.spawn(self.lines.run(), "gateway quiet lines")

    async def close(self) -> None:
        """Give everything up. Idempotent; clients' sockets are the server's business."""
        if self._closed:
            return
        self._closed = True
        await self._tasks.cancel()
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_SECONDS):
                await self.link.close()
        except TimeoutError:
            logger.warning("gateway: the link did not close within %s s", _CLOSE_TIMEOUT_SECONDS)

    def next_client_id(self) -> str:
        """Return an id that no other client of this gateway has."""
        return str(next(self._ids))

    def share_of(self, client: Client) -> Share:
        """Return the share of an admitted client's user in this process."""
        user_id, turns = client.session.user.user_id, self._turns
        budget = self.budgets.of(user_id)
        return Share(user_id=user_id, budget=budget, turns=turns, clock=self.clock)

    def enter(self, client: Client) -> None:
        """Begin to serve a connected client: from now on its outbox is emptied."""
        client.connected_ms = self.wall_clock_ms()
        self.clients.add(client)
        client.writer = self._tasks.spawn(client.run(), f"client {client.id} writer")

    def leave(self, client: Client) -> None:
        """Forget a client that is gone; what it held is given up in a task of the hub's own."""
        client.leave()
        if client not in self.clients:
            return
        self.clients.discard(client)
        self.board.leave(client)
        if client.session.principal is not None:
            self.budgets.leave(client.session.user.user_id, client.session)
        has_lines = self._groups.leave_some(client, SLICE)
        self._departed = self._departed.plus((client.outbox,))
        if (client.pools or has_lines) and not self._closed:
            self._tasks.spawn(self._release_all(client), f"client {client.id} release")

    def close_client(
        self, client: Client, code: CloseCode, reason: str, delay_seconds: float = 0.0
    ) -> None:
        """Stop a client's ticks at once and close it behind its waiting answers."""
        self._leave_lines(client)
        if client.close(code, reason, delay_seconds=delay_seconds):
            self.clients_closed[code] += 1

    def abort_slow(self, client: Client) -> None:
        """End a client that does not keep up."""
        self.clients_closed[CloseCode.TOO_SLOW] += 1
        logger.warning("client %s does not keep up; closing it", client.id)
        self._leave_lines(client)
        client.abort(CloseCode.TOO_SLOW, "too slow")

    def _leave_lines(self, client: Client) -> None:
        """Take a client that takes no tick any more off its lines, a part in a turn."""
        if self._groups.leave_some(client, SLICE) and not self._closed:
            self._tasks.spawn(self._leave_the_rest(client), f"client {client.id} lines")

    async def _leave_the_rest(self, client: Client) -> None:
        share = self.share_of(client)
        await share.turn()
        while self._groups.leave_some(client, SLICE):
            await share.turn()

    # Ticks: the hot path.

    def on_ticks(self, messages: Sequence[TickMessage]) -> None:
        """Give each tick to everyone who reads it; see ``FeedListener``.

        Nothing waits in a client's pending ticks when this returns: they are written, one write a
        client, or in its outbox.
        """
        by_topic = self._groups.by_topic
        arrivals = self._arrivals
        now = self.clock()
        self.ticks_received += len(messages)
        self._pacing.note(now)
        ticked: set[LineMembers[Client]] = set()
        for message in messages:
            if arrivals:
                arrivals.note(message)
            group = by_topic.get(message.topic)
            if group is None:
                self.ticks_unwanted += 1
                continue
            group.last_tick_seconds = now
            for line_members in group.lines.values():
                body = line_body(message, line_members.line)
                if body is None:
                    continue
                payload = TickPayload(line_members, body)
                ticked.add(line_members)
                self.ticks_delivered += len(line_members.members)
                for reader in line_members.readers:
                    reader.push(payload)
        joiner = self._joiner
        for reader in set().union(*[line_members.readers for line_members in ticked]):
            reader.flush(joiner)
        joiner.clear()

    def on_values(self, messages: Sequence[TickMessage]) -> None:
        """Give last values like ticks; they are as old as they are."""
        self.on_ticks(messages)
        now = self.clock()
        for message in messages:
            group = self._groups.by_topic.get(message.topic)
            if group is not None:
                group.last_tick_seconds = now - self._age_ms(message) / 1000

    def drop_waiting(self) -> None:
        """Drop ticks that wait for clients or for the next batch; see ``FeedListener``."""
        self.batches.drop_waiting()
        for client in self.clients:
            client.drop_waiting()

    def patience_seconds(self) -> float:
        """Let ticks wait for each other while only batches read, or while turns fill the core."""
        if self._groups.has_direct:
            return self._pacing.patience_seconds
        return self.batches.patience_seconds

    # Subscriptions.

    async def subscribe(self, client: Client, request: Subscribe) -> None:
        """Serve a subscribe: ask the pools, answer, then let the ticks follow the answer.

        Cancelled, nothing is joined; ``leave`` gives up what may already be in force.
        """
        session = client.session
        async with client.upstream_lock:
            share = self.share_of(client)
            log = self._look_ups
            exact = await find_exact_names(self.directory, session, request, share, log)
            plan = SubscribePlan(request.request_id, exact)
            try:
                for _, part in slices(request.items):
                    await share.turn(len(part))
                    if session.state is not SessionState.READY:
                        return
                    plan.room = share.room()
                    session.plan_items(plan, part)
                self.budgets.refused["instruments"] += plan.crowded
                await self._carry_out(client, session.begin(plan))
            finally:
                session.abandon_subscribe()

    async def _carry_out(self, client: Client, plan: SubscribePlan) -> None:
        """Ask the pools what a plan wants of them, under the client's lock; as ``subscribe``."""
        session, share = client.session, self.share_of(client)
        topics: dict[Feed, bytes] = {}
        self._planning.add(client)
        unsettled: Iterable[Feed] = plan.feeds
        try:
            outcomes = await ask_pools(self.link, client, plan, self._arrivals, topics, share)
            most, log = self.limits.max_suggestions, self._look_ups
            nearest = await suggest_names(self.directory, session, outcomes, most, share, log)
            found = Found(outcomes, nearest)
            await self._prepare(plan, session, found, topics, share)
            await share.turn(len(plan.items))
            # No await from here to the answer: it precedes every tick, and no tick is lost between
            # the snapshot and the first one from the bus, which ``_arrivals`` keeps.
            if session.state is not SessionState.READY:
                return
            result = session.finish_subscribe(plan, found)
            if result.reply:
                client.send(result.reply)
            self._tell_away(client, result.away)
            unsettled = result.unsettled
            for start, part in slices(result.joined):
                if start:
                    await share.turn(len(part))
                for feed, line in part:
                    if session.reads(feed, line):  # it may have been taken away in the meantime
                        self._join(client, feed, line, topics[feed])
                client.flush(self._joiner)
                self._joiner.clear()
            for start, of_part in slices(list(topics)):
                if start:
                    await share.turn(len(of_part))
                self._arrivals.forget([topics.pop(feed) for feed in of_part])
        finally:
            session.abandon_subscribe()
            self._planning.discard(client)
            self._arrivals.forget(topics.values())
            if unsettled and client in self.clients:
                self._tasks.spawn(self.settle(client, unsettled), f"client {client.id} settle")

    async def _prepare(
        self,
        plan: SubscribePlan,
        session: ClientSession,
        found: Found,
        topics: Mapping[Feed, bytes],
        share: Share,
    ) -> None:
        """Make the answers to a request, a part in a turn; ``found`` gets the ages of values."""
        for _, part in slices(plan.items):
            await share.turn(len(part))
            feeds = {asked.feed for asked in part if isinstance(asked, Asked)}
            of_part = {feed: topics[feed] for feed in feeds}
            found.ages_ms.update(self._old_values(of_part))
            session.prepare_answers(plan, len(part), found)

    async def unsubscribe(self, client: Client, request: Unsubscribe) -> None:
        """Serve an unsubscribe: stop the ticks, answer, tell the pools."""
        leaving, share = Leaving(), self.share_of(client)
        for _, part in slices(request.items):
            await share.turn(len(part))
            self._stop(client, client.session.give_up(part, leaving))
        await self._finish_leaving(client, leaving, request.request_id)

    async def unsubscribe_all(self, client: Client, request: UnsubscribeAll) -> None:
        """Serve a wish to give up everything; as ``unsubscribe``."""
        leaving, share = Leaving(), self.share_of(client)
        for _, part in slices(list(client.session.held)):
            await share.turn(len(part))
            self._stop(client, client.session.give_up_feeds(part, leaving))
        await self._finish_leaving(client, leaving, request.request_id)

    async def _finish_leaving(
        self, client: Client, leaving: Leaving, request_id: RequestId
    ) -> None:
        share = self.share_of(client)
        await share.turn(len(leaving.lines))
        departure = client.session.left(leaving, request_id)
        client.send(departure.reply)
        for _, part in slices(leaving.lines):
            await share.turn(len(part))
            await self.settle(client, dict.fromkeys(feed for feed, _ in part))

    async def settle(self, client: Client, feeds: Iterable[Feed]) -> None:
        """Tell the pools what the client holds of ``feeds`` now."""
        feeds = list(feeds)
        if not feeds:
            return
        async with client.upstream_lock:
            upstream = client.session.upstream(feeds)
            for pool_id, wants in upstream.wants.items():
                reply = await self.link.want(pool_id, client.id, wants)
                self._take_outcomes(client, pool_id, reply.outcomes)
            for pool_id, keys in upstream.releases.items():
                for start, part in slices(keys):
                    if start:
                        await self.share_of(client).turn(len(part))
                    await self.link.release(pool_id, client.id, part)

    def depart(self, client: Client, departure: Departure) -> None:
        """Stop the ticks of a departure's lines, those that wait included, and say so."""
        self._stop(client, departure.lines)
        client.send(departure.reply)

    def _stop(self, client: Client, lines: Iterable[tuple[Feed, Line]]) -> None:
        """Stop the ticks of lines, those that wait included."""
        left = set()
        for feed, line in lines:
            line_members = self._groups.leave(tick_topic(*feed), line, client)
            if line_members is not None:
                left.add(line_members)
        client.outbox.purge(left)

    def take_away(self, client: Client, departure: Departure) -> None:
        """Stop lines that a client may not read any more, and tell it and the pools."""
        self.depart(client, departure)
        self._tasks.spawn(self.settle(client, departure.feeds), f"client {client.id} settle")

    def follow(self, client: Client, principal: Principal) -> None:
        """Serve a client as the principal that it is now.

        What it holds of accounts that are away is read no more and stays wanted; of accounts that
        are there again it is asked for as if the client had just done so.
        """
        change = client.session.update_principal(principal)
        if change.ended is not None:
            self.take_away(client, change.ended)
        if change.away is not None:
            self.depart(client, change.away)
            self._tell_away(client, change.away.feeds)
        if change.back:
            self._tell_back(client, change.back)
            self._tasks.spawn(self._bring_back(client, change.back), f"client {client.id} return")
        if client.session.wants_status:
            now_ms, why = self.wall_clock_ms(), "the broker account was removed"
            for account in change.lost:
                told = replies.feed_object(account, FeedStatus.CLOSED, now_ms, why)
                client.send_behind_ticks(told)

    async def _bring_back(self, client: Client, feeds: Sequence[Feed]) -> None:
        for start in range(0, len(feeds), _RETURNS_AT_ONCE):
            async with client.upstream_lock:
                if client.session.state is not SessionState.READY:
                    return
                part = feeds[start : start + _RETURNS_AT_ONCE]
                await self._carry_out(client, client.session.plan_return(part))

    def _tell_away(self, client: Client, feeds: Sequence[Feed]) -> None:
        """Tell a client by name what of its feeds is not current, as its accounts are away."""
        for of_pool in by_pool(feeds).values():
            account = client.session.held[of_pool[0]].account
            self._tell_stale(client, account, of_pool, account.away)

    def _tell_back(self, client: Client, feeds: Sequence[Feed]) -> None:
        """Tell a client how feeds are whose changes it did not hear while they were away."""
        for pool_id, of_pool in by_pool(feeds).items():
            account = client.session.owns(pool_id)
            if account is None or not client.session.wants_status:
                continue
            client.send_behind_ticks(self._feed_object(account))
            waiting = [feed for feed in of_pool if not self._is_live(feed)]
            if self.link.feed(pool_id).status is FeedStatus.LIVE:
                self._tell_stale(client, account, waiting, "waiting for the first price")

    def _tell_stale(
        self, client: Client, account: AccountRef, feeds: Sequence[Feed], reason: str
    ) -> None:
        if not feeds or not client.session.wants_status:
            return
        keys = tuple(feed.key for feed in feeds)
        now_ms = self.wall_clock_ms()
        change = FeedChange(account.pool_id, FeedStatus.STALE, now_ms, reason, keys)
        for payload in replies.feed_change(account, change, client.session.held):
            client.send_behind_ticks(payload)

    async def listing(self, client: Client) -> list[Encoded]:
        """Return what a client holds: one entry per line, with its state and last tick's age."""
        share, held_now, found = self.share_of(client), client.session.held, []
        for _, part in slices(list(held_now)):
            await share.turn(len(part))
            for feed in part:
                if (held := held_now.get(feed)) is not None:
                    found += [encoded(self._listed(feed, it, held)) for it in held.lines]
        return found

    def feed_objects(self, principal: Principal) -> list[str]:
        """Return the present status of each of a principal's feeds."""
        return [self._feed_object(account) for account in principal.accounts]

    def _feed_object(self, account: AccountRef) -> str:
        told = self.link.feed(account.pool_id)
        return replies.feed_object(account, told.status, told.since_ms, told.reason)

    def _is_live(self, feed: Feed) -> bool:
        """Tell whether prices of ``feed`` can be shown as live now."""
        return self._stale.is_live(feed, self.link.feed(feed.pool_id).status)

    def tell_feeds(self, client: Client) -> None:
        """Tell a client the present status of its feeds."""
        for payload in self.feed_objects(client.session.user):
            client.send_behind_ticks(payload)
        self._tell_away(client, client.session.held_away())

    def principals_changed(self, user_ids: Collection[int]) -> None:
        """Look at once whether the clients of these users, if any, may still be here."""
        self._on_notice(user_ids)
        self._revoked.revalidate_soon(user_ids)

    def _join(self, client: Client, feed: Feed, line: Line, topic: bytes) -> None:
        line_members = self._groups.join(topic, line, client, client.batches)
        self._date(self._groups.by_topic[topic], self._arrivals.newest(topic))
        if not self._is_live(feed):
            return  # an old price is never shown as live
        newest = self._arrivals.newest_body(topic, line)
        if newest is not None:
            client.push(TickPayload(line_members, newest))

    def _date(self, group: Group[Client], newest: TickMessage | None) -> None:
        """Note since when a topic is read here, and how old the value is that it begins with."""
        now = self.clock()
        if group.since_seconds is None:
            group.since_seconds = now
        if group.last_tick_seconds is None and newest is not None:
            group.last_tick_seconds = now - self._age_ms(newest) / 1000

    def _age_ms(self, message: TickMessage) -> int:
        return max(0, self.wall_clock_ms() - message.ts_received_us // 1000)

    def _old_values(self, topics: Mapping[Feed, bytes]) -> dict[Feed, int]:
        """Return the ages of the last values that are about to be shown although they are old."""
        newest = {feed: self._arrivals.newest(topic) for feed, topic in topics.items()}
        ages = {feed: self._age_ms(it) for feed, it in newest.items() if it is not None}
        old = (feed for feed, age in ages.items() if age >= OLD_SECONDS * 1000)
        return {feed: ages[feed] for feed in old if self._is_live(feed)}

    def _listed(self, feed: Feed, line: Line, held: Held) -> dict[str, Any]:
        group = self._groups.by_topic.get(tick_topic(*feed))
        live, now = self._is_live(feed), self.clock()
        return line_entry(feed, line, held, group, now, self.wall_clock_ms(), is_live=live)

    async def _release_all(self, client: Client) -> None:
        await self._leave_the_rest(client)
        # One client after the other: however many left at once, it is one part in a turn.
        async with client.upstream_lock, self._releasing:
            for pool_id in client.pools:
                await self.link.release(pool_id, client.id, None)

    # Events of the pools.

    def on_event(self, event: FeedEvent) -> None:
        """Tell the clients that a change concerns; see ``FeedListener``."""
        if isinstance(event, SubscriptionChange):
            for client, outcomes in concerned(event, self._groups, self._planning).items():
                self._take_outcomes(client, event.pool_id, outcomes)
        elif isinstance(event, FeedChange):
            self._stale.take(event)
            if event.status is not FeedStatus.LIVE:
                self._arrivals.void(event.pool_id, event.keys)
            self._announce(event)
        elif isinstance(event, OrderUpdated):
            for client in self.clients:
                account = (
                    client.session.owns(event.pool_id) if client.session.wants_orders else None
                )
                if account is not None:
                    client.send(replies.order_update(account, event.order))

    def _take_outcomes(self, client: Client, pool_id: str, outcomes: Sequence[Outcome]) -> None:
        departure = client.session.take_outcomes(pool_id, outcomes)
        if departure is not None:
            self.take_away(client, departure)

    def _announce(self, event: FeedChange) -> None:
        named = frozenset(event.keys or ())
        for client in self.clients:
            account = client.session.owns(event.pool_id) if client.session.wants_status else None
            if account is None:
                continue
            for payload in replies.feed_change(account, event, client.session.held, named):
                client.send_behind_ticks(payload)
