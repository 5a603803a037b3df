"""Fakes of the client edge's surroundings: a worker without a bus and a site without a database.

They implement ``FeedLink`` and ``Directory`` in memory. Failures are verbs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    OrderUpdated,
    Outcome,
    OutcomeState,
    PoolStats,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.types import DepthLevel, FeedMode, InstrumentKey, Tick
from streaming.exceptions import DirectoryUnavailableError, KeyEndedError
from streaming.ports.directory import AccountRef, Principal
from streaming.ports.link import FeedListener, PoolTold, TickMessage, WantReply
from streaming.wire.tick_json import encode_tick
from streaming.wire.topics import tick_topic

__all__ = ["FakeDirectory", "FakeFeedLink", "make_away", "make_principal", "make_tick"]


def make_principal(
    user_id: int = 1,
    *,
    username: str | None = None,
    pool_id: str | None = None,
    exchanges: Iterable[str] = ("NSE", "NFO"),
    depth_levels: tuple[int, ...] = (5, 20),
    key_id: int | None = None,
    session_key: str | None = None,
) -> Principal:
    """Return a user with one zerodha account; pool ``p<user_id>`` unless named."""
    account = AccountRef(
        pool_id=pool_id or f"p{user_id}",
        broker="zerodha",
        label="main",
        exchanges=frozenset(exchanges),
        depth_levels=depth_levels,
    )
    return Principal(
        user_id=user_id,
        username=username or f"user{user_id}",
        accounts=(account,),
        key_id=key_id,
        session_key=session_key,
    )


def make_away(principal: Principal, why: str = "it is switched off") -> Principal:
    """Return the same user while none of the accounts can be used."""
    away = tuple(msgspec.structs.replace(account, away=why) for account in principal.accounts)
    return msgspec.structs.replace(principal, accounts=(), away=away)


def make_tick(mode: FeedMode = FeedMode.DEPTH, ltp: int = 157_370) -> Tick:
    """Return a plausible tick with everything that ``mode`` carries; prices in paise."""
    ltp_only = mode is FeedMode.LTP
    has_book = mode is FeedMode.DEPTH
    return Tick(
        broker_token="1",  # noqa: S106 - an instrument's number, no secret
        mode=mode,
        price_scale=100,
        ltp=ltp,
        ltt_ms=1_700_000_000_000,
        ts_event_ms=1_700_000_000_500,
        open=None if ltp_only else ltp - 300,
        high=None if ltp_only else ltp + 200,
        low=None if ltp_only else ltp - 500,
        close=None if ltp_only else ltp - 100,
        volume=None if ltp_only else 1_192_471,
        last_trade_quantity=None if ltp_only else 7,
        avg_trade_price=None if ltp_only else ltp - 50,
        bids=(DepthLevel(ltp - 5, 10, 1), DepthLevel(ltp - 10, 20, 2)) if has_book else None,
        asks=(DepthLevel(ltp + 5, 30, 3), DepthLevel(ltp + 10, 40, 4)) if has_book else None,
    )


class FakeFeedLink:
    """A worker in memory. Wants are answered ``ACTIVE`` unless a verb said otherwise.

    ``held`` maps (pool, client) to the wants in force; ``calls`` records what was asked, in order.
    """

    def __init__(self) -> None:
        self.listener: FeedListener | None = None
        self.closed = False
        self.held: dict[tuple[str, str], dict[InstrumentKey, Want]] = {}
        self.calls: list[tuple[str, str, str, Any]] = []
        self.short_of_room: dict[str, int] = {}
        self.pool_stats: dict[str, PoolStats] = {}
        self.pause = asyncio.Event()
        self.pause.set()
        self._snapshots: dict[bytes, TickMessage] = {}
        self._refusals: dict[InstrumentKey, tuple[RefusalCode, str, Mapping[str, int]]] = {}
        self._pending: set[InstrumentKey] = set()
        self._told: dict[str, FeedChange] = {}
        self._sequence = 0

    def __repr__(self) -> str:
        return f"<FakeFeedLink holders={len(self.held)}>"

    async def open(self, listener: FeedListener) -> None:
        """See ``FeedLink``."""
        self.listener = listener

    async def close(self) -> None:
        """See ``FeedLink``."""
        self.closed = True

    async def want(self, pool_id: str, client: str, wants: Sequence[Want]) -> WantReply:
        """See ``FeedLink``; waits while the link is held."""
        self.calls.append(("want", pool_id, client, tuple(wants)))
        await self.pause.wait()
        outcomes = [self._outcome(pool_id, client, want) for want in wants]
        topics = [
            tick_topic(pool_id, outcome.key)
            for outcome in outcomes
            if outcome.state is not OutcomeState.REFUSED
        ]
        snapshots = [self._snapshots[topic] for topic in topics if topic in self._snapshots]
        return WantReply(outcomes=outcomes, snapshots=snapshots)

    def _outcome(self, pool_id: str, client: str, want: Want) -> Outcome:
        refusal = self._refusals.get(want.key)
        if refusal is not None:
            code, message, details = refusal
            return Outcome(
                want.key,
                OutcomeState.REFUSED,
                want.mode,
                want.depth_levels,
                code,
                message,
                details,
            )
        self.held.setdefault((pool_id, client), {})[want.key] = want
        state = OutcomeState.PENDING if want.key in self._pending else OutcomeState.ACTIVE
        return Outcome(want.key, state, want.mode, want.depth_levels)

    async def release(
        self, pool_id: str, client: str, keys: Sequence[InstrumentKey] | None
    ) -> None:
        """See ``FeedLink``."""
        self.calls.append(("release", pool_id, client, None if keys is None else tuple(keys)))
        held = self.held.get((pool_id, client), {})
        for key in list(held) if keys is None else keys:
            held.pop(key, None)
        if not held:
            self.held.pop((pool_id, client), None)

    async def stats(self, pool_id: str) -> PoolStats | None:
        """See ``FeedLink``."""
        return self.pool_stats.get(pool_id)

    async def last_values(
        self, pool_id: str, keys: Sequence[InstrumentKey]
    ) -> Sequence[TickMessage]:
        """See ``FeedLink``: the snapshots that a want of ``keys`` would bring."""
        topics = [tick_topic(pool_id, key) for key in keys]
        return [self._snapshots[topic] for topic in topics if topic in self._snapshots]

    def feed(self, pool_id: str) -> FeedChange:
        """See ``FeedLink``; LIVE since now unless a verb said otherwise."""
        told = self._told.get(pool_id)
        return told or FeedChange(pool_id, FeedStatus.LIVE, time.time_ns() // 1_000_000, "")

    def workers(self) -> int:
        """See ``FeedOverview``."""
        return 1

    def pools(self) -> Mapping[str, PoolTold]:
        """See ``FeedOverview``; symbols wait as a test has put into ``short_of_room``."""
        waiting = self.short_of_room
        return {
            pool_id: PoolTold(self.feed(pool_id).status, "", waiting.get(pool_id, 0))
            for pool_id, _ in self.held
        }

    def message(
        self, pool_id: str, key: InstrumentKey, mode: FeedMode = FeedMode.DEPTH, ltp: int = 157_370
    ) -> TickMessage:
        """Build the next tick of ``key``, received now, without sending it."""
        self._sequence += 1
        body = encode_tick("zerodha", key, make_tick(mode, ltp))
        received_us = time.time_ns() // 1000
        return TickMessage(
            tick_topic(pool_id, key), int(mode), 1, self._sequence, received_us, body
        )

    def tick(
        self, pool_id: str, key: InstrumentKey, mode: FeedMode = FeedMode.DEPTH, ltp: int = 157_370
    ) -> None:
        """Send one tick, as the bus would, and keep it as the snapshot."""
        message = self.message(pool_id, key, mode, ltp)
        self._snapshots[message.topic] = message
        self.publish([message])

    def publish(self, messages: Sequence[TickMessage]) -> None:
        """Hand a batch of the bus to the listener."""
        if self.listener is not None:
            self.listener.on_ticks(messages)

    def remember(
        self,
        pool_id: str,
        key: InstrumentKey,
        mode: FeedMode = FeedMode.DEPTH,
        ltp: int = 157_370,
        *,
        age_seconds: float = 0.0,
    ) -> None:
        """Make a last value that subscribers find."""
        message = self.message(pool_id, key, mode, ltp)
        received_us = message.ts_received_us - int(age_seconds * 1_000_000)
        self._snapshots[message.topic] = message._replace(ts_received_us=received_us)

    def refuse(
        self,
        key: InstrumentKey,
        code: RefusalCode,
        message: str = "refused",
        details: Mapping[str, int] | None = None,
    ) -> None:
        """Refuse every later want of ``key``."""
        self._refusals[key] = (code, message, details or {})

    def leave_pending(self, key: InstrumentKey) -> None:
        """Answer later wants of ``key`` with PENDING."""
        self._pending.add(key)

    def hold(self) -> None:
        """Let wants wait for ``resume``."""
        self.pause.clear()

    def resume(self) -> None:
        """Answer the wants that wait."""
        self.pause.set()

    def emit(self, event: FeedEvent) -> None:
        """Hand an event to the listener."""
        if self.listener is not None:
            self.listener.on_event(event)

    def refuse_later(
        self, pool_id: str, key: InstrumentKey, mode: FeedMode, code: RefusalCode, message: str
    ) -> None:
        """Refuse a subscription that was accepted."""
        outcome = Outcome(key, OutcomeState.REFUSED, mode, 5, code, message)
        self.emit(SubscriptionChange(pool_id, (outcome,)))

    def confirm(self, pool_id: str, key: InstrumentKey, mode: FeedMode) -> None:
        """Let a pending subscription become active."""
        outcome = Outcome(key, OutcomeState.ACTIVE, mode)
        self.emit(SubscriptionChange(pool_id, (outcome,)))

    def go_stale(self, pool_id: str, keys: Sequence[InstrumentKey] | None = None) -> None:
        """Let a pool, or some of its instruments, have no live prices any more."""
        self._change(pool_id, FeedStatus.STALE, "no data", keys)

    def go_live(self, pool_id: str, keys: Sequence[InstrumentKey] | None = None) -> None:
        """Let prices be live again."""
        self._change(pool_id, FeedStatus.LIVE, "", keys)

    def _change(
        self,
        pool_id: str,
        status: FeedStatus,
        reason: str,
        keys: Sequence[InstrumentKey] | None,
    ) -> None:
        change = FeedChange(pool_id, status, 1_700_000_000_000, reason, keys)
        if keys is None:
            self._told[pool_id] = change
        self.emit(change)

    def order(self, pool_id: str, order: Mapping[str, Any]) -> None:
        """Let an order of the account change."""
        self.emit(OrderUpdated(pool_id, order))


class FakeDirectory:
    """Users in memory. ``lookups`` counts how often a key was looked up."""

    def __init__(self) -> None:
        self.keys: dict[str, Principal] = {}
        self.sessions: dict[str, Principal] = {}
        self.suggestions: dict[str, Sequence[str]] = {}
        self.not_listed: dict[str, str] = {}  # why nothing of a broker is known
        self.exact: set[InstrumentKey] = set()  # called as they stand, suffix and all
        self.lookups = 0
        self.refreshes = 0
        self.pause = asyncio.Event()
        self.pause.set()
        self.failing = False
        self._ended: set[str] = set()
        self._changed: dict[tuple[int | None, str | None], Principal | None] = {}

    def add_key(self, api_key: str, principal: Principal) -> Principal:
        """Let ``api_key`` be a key of ``principal``."""
        known = msgspec.structs.replace(principal, key_id=len(self.keys) + 1)
        self.keys[api_key] = known
        return known

    def add_session(self, session_key: str, principal: Principal) -> Principal:
        """Let ``principal`` be logged in."""
        known = msgspec.structs.replace(principal, session_key=session_key)
        self.sessions[session_key] = known
        return known

    def revoke(self, api_key: str) -> None:
        """End a key."""
        principal = self.keys.pop(api_key)
        self._changed[(principal.key_id, None)] = None

    def end_key(self, api_key: str) -> None:
        """Let a key's end have come: who looks it up is told so."""
        self._changed[(self.keys[api_key].key_id, None)] = None
        self._ended.add(api_key)

    def end_session(self, session_key: str) -> None:
        """Log a browser out."""
        self.sessions.pop(session_key)
        self._changed[(None, session_key)] = None

    def change(self, principal: Principal) -> None:
        """Let a connected principal have other accounts from now on."""
        self._changed[(principal.key_id, principal.session_key)] = principal

    def hold(self) -> None:
        """Let look-ups of keys wait for ``resume``."""
        self.pause.clear()

    def resume(self) -> None:
        """Answer the look-ups that wait."""
        self.pause.set()

    def fail(self) -> None:
        """Let the database be away."""
        self.failing = True

    def recover(self) -> None:
        """Let the database be back."""
        self.failing = False

    async def authenticate_api_key(self, api_key: str) -> Principal | None:
        """See ``Directory``."""
        self.lookups += 1
        await self.pause.wait()
        self._check()
        if api_key in self._ended:
            raise KeyEndedError("This API key ended at noon; have a new one made.")
        return self.keys.get(api_key)

    async def authenticate_session(self, session_key: str) -> Principal | None:
        """See ``Directory``."""
        self._check()
        return self.sessions.get(session_key)

    async def refresh(self, principals: Sequence[Principal]) -> Sequence[Principal | None]:
        """See ``Directory``."""
        self.refreshes += 1
        self._check()
        return [self._changed.get((p.key_id, p.session_key), p) for p in principals]

    async def suggest(
        self, broker: str, exchange: str, symbol: str, limit: int = 3
    ) -> Sequence[str]:
        """See ``Directory``."""
        self._check()
        return self.suggestions.get(symbol, ())[:limit]

    async def why_not_listed(self, broker: str) -> str:
        """See ``Directory``."""
        self._check()
        return self.not_listed.get(broker, "")

    async def listed(self, broker: str, keys: Sequence[InstrumentKey]) -> Collection[InstrumentKey]:
        """Return those of ``exact``."""
        self._check()
        return self.exact.intersection(keys)

    async def supported_brokers(self) -> Sequence[str]:
        """See ``Directory``."""
        return ("binance", "zerodha")

    def _check(self) -> None:
        if self.failing:
            raise DirectoryUnavailableError("the directory is away")
