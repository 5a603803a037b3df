"""Feed of one pool: answers to its connections, and what its listeners hear of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec

from brokers.contract import BrokerEvent, Confirmed, Notice, OrderUpdate, SubscriptionRejected
from brokers.exceptions import BrokerError, BrokerLimitError
from brokers.pool_service import (
    WAITING_FOR_ROOM,
    FeedStatus,
    OrderUpdated,
    Outcome,
    OutcomeState,
    RefusalCode,
    state_word,
)
from brokers.types import InstrumentKey, Subscription
from pooling.connection.connection import Connection
from pooling.feed_health import FeedHealth
from pooling.lifecycle import ConnectionState
from pooling.pool.announcer import FeedAnnouncer
from pooling.pool.parts import PoolParts
from pooling.subscriptions.outcomes import active_outcomes, delayed_outcomes, words_of
from pooling.subscriptions.reconciler import Batch
from pooling.subscriptions.renaming import Renamed

__all__ = ["PoolFeed"]

NO_MORE_CONNECTIONS = (
    "the broker takes no further connection of this account for now; it is asked again by itself"
)
_LOGIN_NEEDED = state_word(FeedStatus.AUTH_REQUIRED)
# Gateways find a worker within two seconds of its start and want everything again.
WANTED_WITHIN_SECONDS = 4.0
STARTED_WITHIN_SECONDS = 8.0


class PoolFeed:
    """The ``ConnectionOwner`` of a pool: knows whose prices are fresh and says so.

    Its methods run on the worker's loop, except those that say otherwise. Nothing is announced
    while the pool's lock is held.

    Args:
        parts: the pool's. Of the table of connections it only reads.
        announcer: tells listeners.
        request_run: has the pool do what the book asks for.
        prepare: brings names up to date.
    """

    def __init__(
        self,
        parts: PoolParts,
        *,
        announcer: FeedAnnouncer,
        request_run: Callable[[], None],
        prepare: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool_id = parts.account.spec.pool_id
        self._lock, self._book = parts.lock, parts.book
        self._connections: Mapping[int, Connection] = parts.table.connections
        self._sink, self._gate, self._clock = parts.account.sink, parts.gate, parts.clock
        self._journal, self._telemetry = parts.journal, parts.telemetry
        self._announcer = announcer
        self._request_run = request_run
        self._prepare = prepare
        self.health = FeedHealth(now_ms=parts.clock.time_ms())  # loop only; anybody reads it
        # Instruments whose last price is not to be trusted; under the pool's lock.
        self._stale: set[InstrumentKey] = set()
        # What listeners last heard of the pool as a whole, why a login is needed as judged last,
        # why it is live once a connection is up again, and the timer that ends the start: loop
        # only.
        self._announced = FeedStatus.LIVE
        self._login = ""
        self._live_again = ""
        self._start_timer: asyncio.TimerHandle | None = None

    # -- ConnectionOwner ----------------------------------------------------------------------

    def is_needed(self, slot: int) -> bool:
        """Tell whether the connection is to be open."""
        with self._lock:
            return not self.health.is_paused and self._book.is_needed(slot)

    def carries(self, slot: int) -> bool:
        """Tell whether the connection is to carry anything."""
        with self._lock:
            return self._book.carries(slot)

    def has_changes(self, slot: int) -> bool:
        """Tell whether there may be anything to send on the connection."""
        with self._lock:
            return not self.health.is_paused and self._book.has_changes(slot)

    def take_batch(self, slot: int, limit: int) -> Batch:
        """Return the next changes to send on the connection."""
        if self.health.is_paused:
            return Batch()
        with self._lock:
            batch = self._book.take_batch(slot, limit)
            ended = [item.instrument.key for item in batch.unsubscribe]
            ended = [key for key in ended if not self._is_fresh(key)]
        if ended:
            # Ticks that came until now brought back prices that nobody keeps fresh any more.
            self._sink.forget(ended)
        return batch

    async def prepare(self) -> None:
        """Have names mean what they do today before everything is subscribed again."""
        await self._prepare()

    def parted(self, slot: int) -> None:
        """Note that the end of everything that was cut off has been said."""
        with self._lock:
            self._book.parted(slot)

    def on_ticks(self, count: int) -> None:
        """Count ticks that were published; takes no lock."""
        self._telemetry.count_ticks(count)

    def on_state(self, slot: int, state: ConnectionState, reason: str) -> None:
        """Follow a connection's state; those that pausing closes have nothing to tell any more."""
        if self.health.is_paused:
            return
        if state is ConnectionState.LIVE:
            self._on_live(slot)
        elif state is ConnectionState.STALE:
            self._on_stale(slot, reason)
        elif state is ConnectionState.AUTH_REQUIRED:
            self._on_auth_required(slot, reason)
        elif state is ConnectionState.SUBSCRIBING:
            self._on_connected(slot)
        elif state in (ConnectionState.BACKOFF, ConnectionState.RATE_LIMITED):
            self._journal.troubled(slot, state, reason)
        if state is ConnectionState.RATE_LIMITED:
            self._tell_why(slot, RefusalCode.BROKER_UNAVAILABLE, NO_MORE_CONNECTIONS)
        with self._lock:
            self._telemetry.observe()
        self.judge(reason)

    def on_lost(self, slot: int, reason: str) -> None:
        """Note that everything of the connection is to be replayed and its prices are old."""
        with self._lock:
            ticked = dict.fromkeys([*self._book.keys_of(slot), *self._book.sent_on(slot)])
            lost = self._book.restart(slot)
            self._stale.update(lost)
            old = [key for key in ticked if not self._book.is_confirmed(key)]
        self._sink.forget(old)
        self._announcer.stale(lost, reason)
        self._journal.lost(slot, len(lost), reason)

    def on_events(self, slot: int, events: Sequence[BrokerEvent]) -> None:
        """Take what the broker said beside ticks."""
        if self.health.is_paused:
            return
        for event in events:
            if isinstance(event, Confirmed):
                self._on_confirmed(slot, event.keys)
            elif isinstance(event, SubscriptionRejected):
                self._on_rejected(slot, event.keys, event.error)
            elif isinstance(event, OrderUpdate):
                self._announcer.event(OrderUpdated(self._pool_id, event.order))
            elif isinstance(event, Notice):
                self._journal.broker_says(event.text)

    def on_unsendable(self, slot: int, subscription: Subscription, error: BrokerError) -> None:
        """Refuse a subscription that the adapter cannot express."""
        self._on_rejected(slot, (subscription.instrument.key,), error)

    # -- What the pool tells ------------------------------------------------------------------

    def start(self) -> None:
        """Be stale until what gateways want has come, or until nothing seems to come."""
        loop = asyncio.get_running_loop()
        self._start_timer = loop.call_later(WANTED_WITHIN_SECONDS, self._end_start_unwanted)

    def judge(self, reason: str = "") -> None:
        """Judge the pool as a whole once more; ``reason`` is what was said last."""
        if self.health.is_starting and self._has_come():
            self._end_start()
        states = [c.state for slot, c in self._connections.items() if self.carries(slot)]
        self._login = self._gate.login_needed
        self.health.judge(
            states,
            self._gate.reason or reason,
            self._clock.time_ms(),
            login=self._login,
            waiting=len(self._book.waiting),
            is_confirmed=self._book.confirmed > 0,
        )
        self._follow_login(is_idle=not states)

    def look_at_login(self) -> None:
        """Judge the pool again if a login is needed now and was not, or the other way round."""
        if self._gate.login_needed != self._login:
            self.judge()

    def forget(self, keys: Collection[InstrumentKey]) -> None:
        """Drop the prices of what nobody wants: whoever comes later must not see old ones.

        What was told to be stale stays so in memory until it ticks again: only then is it told to
        be live. News that it is, not yet told, came too early for who wants it again.
        """
        with self._lock:
            gone = [key for key in keys if not self._book.is_confirmed(key)]
            self._stale.update(self._announcer.withdraw(gone))
        if gone:
            self._sink.forget(gone)

    def displaced(self, keys: Collection[InstrumentKey], outcomes: Sequence[Outcome]) -> None:
        """Tell who lost a place to lowered limits, and who got one back."""
        with self._lock:
            # Some got a place elsewhere at once; until it is confirmed, they have no price either.
            waiting = [key for key in keys if not self._book.is_confirmed(key)]
            self._stale.update(waiting)
            fresh = [o.key for o in outcomes if o.key in self._stale and self._is_fresh(o.key)]
            self._stale.difference_update(fresh)
            outcomes = [self.qualify(outcome) for outcome in outcomes]
        self._sink.forget(waiting)
        self._announcer.stale(waiting, f"{WAITING_FOR_ROOM}: the limits were lowered")
        self._announcer.live(fresh)
        self._announcer.outcomes(outcomes)

    def credential_renewed(self, version: int) -> None:
        """Tell that a newer credential is being tried."""
        self._journal.credentials_renewed(version)
        if self._announced is FeedStatus.AUTH_REQUIRED and not self._is_idle():
            self._announced = FeedStatus.STALE
            self._live_again = "the new credential works"
            self._announcer.pool(FeedStatus.STALE, "trying the new credential")

    def pause(self) -> None:
        """Tell that the pool is closed for as long as it is paused."""
        self.health.is_paused = True
        self._forget_start()
        self.judge()
        self._sink.forget(None)
        self._announced = FeedStatus.CLOSED
        self._announcer.close()  # what is gathered came before and must not be heard afterwards
        self._announcer.pool(FeedStatus.CLOSED, self.health.reason)

    def resume(self) -> None:
        """Tell that the pool comes back; prices are live once each has arrived."""
        self.health.is_paused = False
        self.judge("resumed; connecting")
        is_idle = self._is_idle()
        # A socket that was being closed may have brought a last price.
        self._sink.forget(None)
        if self._announced is FeedStatus.AUTH_REQUIRED:
            return  # told by the judgement
        self._live_again = "the pool was resumed"
        self._announced = FeedStatus.LIVE if is_idle else FeedStatus.STALE
        self._announcer.pool(
            self._announced, self._live_again if is_idle else "resumed; connecting"
        )

    def expelled(self, outcomes: Sequence[Outcome]) -> None:
        """Tell the holders of what was taken from them."""
        with self._lock:
            self._stale.difference_update(outcome.key for outcome in outcomes)
        self._announcer.outcomes(outcomes)

    def restarted(self, keys: Collection[InstrumentKey], reason: str) -> None:
        """Tell who has to wait for a first price once more."""
        with self._lock:
            waiting = [key for key in keys if key in self._book]
            waiting = [key for key in waiting if not self._book.is_confirmed(key)]
            self._stale.update(waiting)
        if waiting:
            self._sink.forget(waiting)
            self._announcer.stale(waiting, reason)

    def renamed(self, renamed: Renamed) -> None:
        """Silence what a name does not mean any more, before the next tick, and tell its holders.

        Must follow on the decision without a turn of the loop between them.
        """
        for slot, subscriptions in renamed.cut.items():
            if (connection := self._connections.get(slot)) is not None:
                connection.cut(subscriptions)
        self._sink.forget(renamed.old)
        self.restarted(renamed.restarted, "the broker has renamed it; subscribed again")
        self.expelled(renamed.ended)

    def close(self) -> None:
        """Tell that the pool is closed; nothing is told or published afterwards."""
        self._forget_start()
        self._sink.close()
        self.health.close(self._clock.time_ms())
        self._announcer.pool(FeedStatus.CLOSED, self.health.reason)
        self._announcer.close()

    def qualify(self, outcome: Outcome) -> Outcome:
        """Say what stands between an accepted want and its prices. Any thread, under the lock."""
        waits = outcome.code is RefusalCode.MAX_CAPACITY_REACHED
        if outcome.state is OutcomeState.REFUSED or waits:
            return outcome
        if self.health.is_paused:
            return msgspec.structs.replace(
                outcome,
                state=OutcomeState.PENDING,
                code=RefusalCode.BROKER_UNAVAILABLE,
                message="the pool is paused; prices come once somebody resumes it",
            )
        if (self._gate.is_shut or self._gate.login_needed) and not self._is_any_up():
            return msgspec.structs.replace(
                outcome,
                state=OutcomeState.PENDING,
                code=RefusalCode.BROKER_AUTH_REQUIRED,
                message=f"{_LOGIN_NEEDED}; prices come once a new credential is saved",
            )
        if outcome.key in self._stale:
            return msgspec.structs.replace(
                outcome,
                state=OutcomeState.PENDING,
                message="the feed is being restored; prices come once it is",
            )
        return outcome

    # -- The start ----------------------------------------------------------------------------

    def _has_come(self) -> bool:
        """Tell whether everything that is wanted has a price, or is known to have none."""
        with self._lock:
            book = self._book
            return 0 < book.held <= book.confirmed + len(book.waiting)

    def _end_start_unwanted(self) -> None:
        with self._lock:
            is_wanted = self._book.held > 0
        if is_wanted:
            seconds = STARTED_WITHIN_SECONDS - WANTED_WITHIN_SECONDS
            self._start_timer = asyncio.get_running_loop().call_later(seconds, self._end_start)
        else:
            self._end_start()

    def _forget_start(self) -> None:
        self.health.is_starting = False
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None

    def _end_start(self) -> None:
        """Tell what was not told before: that the pool is live, and what of it is not."""
        self._forget_start()
        self.judge()
        if self.health.status is not FeedStatus.LIVE or self._announced is not FeedStatus.LIVE:
            return
        with self._lock:
            # And what is confirmed on a connection that has fallen silent since.
            waiting = [k for k in self._book if k in self._stale or not self._book.is_confirmed(k)]
            self._stale.update(waiting)
        # In the words of the next beat, which would else be told as news.
        self._announcer.pool(FeedStatus.LIVE, self.health.reason)
        self._announcer.stale(waiting, "waiting for the first price")

    # -- Inside -------------------------------------------------------------------------------

    def _is_idle(self) -> bool:
        with self._lock:
            return not self._book.symbols

    def _is_any_up(self) -> bool:
        return any(connection.is_up for connection in self._connections.values())

    def _follow_login(self, *, is_idle: bool) -> None:
        """Tell what no connection tells: that a login is needed, and that it is not any more."""
        status, was_told = self.health.status, self._announced is FeedStatus.AUTH_REQUIRED
        if self._login and status is FeedStatus.AUTH_REQUIRED:
            if not was_told and not self._is_any_up():
                self._tell_login_needed(self._login)
        elif is_idle and was_told and status is not FeedStatus.CLOSED:  # which tells itself
            self._announced = status
            self._announcer.pool(status, self.health.reason)

    def _tell_login_needed(self, reason: str) -> None:
        self._announced = FeedStatus.AUTH_REQUIRED
        self._live_again = ""
        self._announcer.auth_required(None, reason)
        self._journal.auth_required(reason)

    def _on_connected(self, slot: int) -> None:
        with self._lock:
            # A new socket carries nothing, however the one before it ended.
            self._stale.update(self._book.restart(slot))
            waiting = [key for key in self._book if not self._book.is_confirmed(key)]
            was_shut = self._announced is not FeedStatus.LIVE
            if was_shut:
                self._stale.update(waiting)
        self._journal.connected(slot)
        if was_shut:
            self._forget_start()
            self._announced = FeedStatus.LIVE
            self._announcer.pool(FeedStatus.LIVE, self._live_again or "connected again")
            self._announcer.stale(waiting, "waiting for the first price")

    def _on_live(self, slot: int) -> None:
        # Only prices that were confirmed on this very socket are live by its speaking again;
        # after a reconnect each waits for its own confirmation.
        with self._lock:
            keys = [key for key in self._book.keys_of(slot) if key in self._stale]
            fresh = [key for key in keys if self._book.is_confirmed(key)]
            self._stale.difference_update(fresh)
            outcomes = active_outcomes(map(self._book.get, fresh))
        self._announcer.live(fresh)
        self._announcer.outcomes(outcomes)

    def _on_stale(self, slot: int, reason: str) -> None:
        with self._lock:
            carried = self._book.keys_of(slot)
            keys = [key for key in carried if self._book.is_confirmed(key)]
            self._stale.update(keys)
        self._sink.forget(carried)
        self._announcer.stale(keys, reason)
        self._journal.troubled(slot, ConnectionState.STALE, reason)

    def _on_auth_required(self, slot: int, reason: str) -> None:
        others_up = any(c.is_up for number, c in self._connections.items() if number != slot)
        with self._lock:
            keys = self._book.keys_of(slot)
            self._stale.update(keys)
        if others_up:
            # The others go on: a broker checks a credential only when a socket opens.
            self._announcer.auth_required(keys, reason)
        elif self._announced is not FeedStatus.AUTH_REQUIRED:
            self._tell_login_needed(reason)

    def _on_confirmed(self, slot: int, keys: Sequence[InstrumentKey]) -> None:
        with self._lock:
            outcomes = self._book.confirm(slot, keys)
            # A refused move may still tick on the connection that its symbol did not stay on.
            carried = [key for key in keys if self._book.carrier_of(key) == slot]
            fresh = [key for key in carried if key in self._stale and self._is_fresh(key)]
            self._stale.difference_update(fresh)
            # On a link that dried up a subscription begins with a price that may be old.
            known = [key for key in carried if self._book.is_confirmed(key)]
            old = [key for key in known if not self._is_fresh(key)]
            self._stale.update(old)
            if old:
                outcomes = [outcome for outcome in outcomes if outcome.key not in self._stale]
            has_actions = self._book.has_actions
        self._sink.forget(old)
        self._announcer.live(fresh)
        connection = self._connections.get(slot)
        doubt = connection.doubt if connection is not None else ""
        self._announcer.stale(old, doubt or "no data yet on a link that dried up")
        self._announcer.outcomes(outcomes)
        if self.health.status is FeedStatus.STALE:
            self.judge()
        if has_actions:
            self._request_run()

    def _on_rejected(self, slot: int, keys: Sequence[InstrumentKey], error: BrokerError) -> None:
        self._journal.rejected(slot, error)
        is_limit = isinstance(error, BrokerLimitError)
        if not keys and not is_limit:
            self._on_complaint(slot, error)
            return
        code = RefusalCode.MAX_CAPACITY_REACHED if is_limit else RefusalCode.BROKER_ERROR
        what = "the broker refused this subscription: "
        message = f"{what}{'its own limit is reached: ' if is_limit else ''}{words_of(error)}"
        with self._lock:
            outcomes = self._book.reject(slot, keys, code, message)
            doubtful = [] if keys else self._book.verify_again(slot)
            self._stale.update(doubtful)
            self._telemetry.observe()
        self._sink.forget(doubtful)
        self._announcer.stale(doubtful, "asked for again: it may be what the broker refused")
        self._announcer.outcomes(outcomes)
        self._request_run()

    def _on_complaint(self, slot: int, error: BrokerError) -> None:
        """Tell who waits on the connection what the broker said there; it names nothing and nobody.

        It may be of a subscription, or of its own affairs. What waits goes on waiting, comes with
        its first tick, or is asked for again; who holds it knows why it has not come yet.
        """
        words = words_of(error)
        message = f"the broker has not confirmed it yet, and says: {words}"
        with self._lock:
            waiting = self._book.doubt_unanswered(slot)
            code = RefusalCode.BROKER_ERROR
            outcomes = delayed_outcomes(map(self._book.get, waiting), code, message)
        self._announcer.outcomes(outcomes)
        self._journal.broker_says(words)

    def _tell_why(self, slot: int, code: RefusalCode, message: str) -> None:
        """Tell the holders of what waits on a connection why it does."""
        with self._lock:
            keys = [key for key in self._book.keys_of(slot) if not self._book.is_confirmed(key)]
            outcomes = delayed_outcomes(map(self._book.get, keys), code, message)
        self._announcer.outcomes(outcomes)

    def _is_fresh(self, key: InstrumentKey) -> bool:
        """Tell whether a symbol is confirmed on a connection that has not fallen silent."""
        carrier = self._connections.get(self._book.carrier_of(key) or 0)
        is_silent = carrier is not None and (
            carrier.state is ConnectionState.STALE or bool(carrier.doubt)
        )
        return self._book.is_confirmed(key) and not is_silent
