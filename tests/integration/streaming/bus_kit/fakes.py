"""A feed service in memory and a listener that remembers: the two ends of the control link."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    Holder,
    Outcome,
    OutcomeState,
    Peak,
    PoolStats,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.types import InstrumentKey
from streaming.ports.link import TickMessage

__all__ = ["FakeFeedService", "RecordingListener"]

_NO_PEAK = Peak(0, 0)


class FakeFeedService:
    """Pools that accept everything except the symbols told to be refused."""

    def __init__(self, *pool_ids: str) -> None:
        self.held: dict[str, dict[tuple[Holder, InstrumentKey], Want]] = {
            pool_id: {} for pool_id in pool_ids
        }
        self.refused: set[str] = set()
        self.state = OutcomeState.ACTIVE
        self.status = FeedStatus.LIVE
        self.since_ms = 1
        self.life = 1
        self.want_calls: list[tuple[str, Holder, tuple[Want, ...]]] = []
        self.gateways_released: list[str] = []
        self.stalled: set[str] = set()
        self.broken = False
        self._resume = asyncio.Event()
        self._listeners: list[Callable[[FeedEvent], None]] = []

    def stall(self, pool_id: str) -> None:
        """Let this pool answer nothing until ``resume``."""
        self.stalled.add(pool_id)
        self._resume.clear()

    def resume(self) -> None:
        """Let stalled pools answer."""
        self.stalled.clear()
        self._resume.set()

    def holders(self, pool_id: str) -> set[tuple[str, str]]:
        """Return (client, symbol) of all references of a pool."""
        return {(holder.client, key.symbol) for holder, key in self.held[pool_id]}

    def emit(self, event: FeedEvent) -> None:
        """Tell the listeners."""
        for listener in list(self._listeners):
            listener(event)

    def change(self, pool_id: str, status: FeedStatus, since_ms: int, reason: str = "") -> None:
        """Move the feed to ``status`` and tell the listeners."""
        self.status, self.since_ms = status, since_ms
        self.emit(FeedChange(pool_id, status, since_ms, reason))

    @property
    def listening(self) -> bool:
        """Tell whether anyone listens."""
        return bool(self._listeners)

    def pool_ids(self) -> Sequence[str]:
        return list(self.held)

    async def want(self, pool_id: str, holder: Holder, wants: Sequence[Want]) -> Sequence[Outcome]:
        if self.broken:
            raise RuntimeError("secret detail")
        pool = self.held[pool_id]
        self.want_calls.append((pool_id, holder, tuple(wants)))
        if pool_id in self.stalled:
            await self._resume.wait()
        outcomes = []
        for want in wants:
            if want.key.symbol in self.refused:
                code = RefusalCode.SYMBOL_NOT_FOUND
                outcomes.append(
                    Outcome(want.key, OutcomeState.REFUSED, want.mode, code=code, message="no")
                )
                continue
            pool[holder, want.key] = want
            outcomes.append(Outcome(want.key, self.state, want.mode, want.depth_levels))
        return outcomes

    async def release(
        self, pool_id: str, holder: Holder, keys: Sequence[InstrumentKey] | None
    ) -> None:
        pool = self.held[pool_id]
        for held in [one for one in pool if one[0] == holder]:
            if keys is None or held[1] in keys:
                del pool[held]

    async def release_gateway(self, gateway: str) -> None:
        self.gateways_released.append(gateway)
        for pool in self.held.values():
            for held in [one for one in pool if one[0].gateway == gateway]:
                del pool[held]

    def stats(self, pool_id: str) -> PoolStats:
        pool = self.held[pool_id]
        return PoolStats(
            pool_id=pool_id,
            broker="zerodha",
            status=self.status,
            reason="",
            since_ms=self.since_ms,
            connections=[],
            max_connections=1,
            symbols_per_connection=10,
            used=len(pool),
            capacity=10,
            wanted=len(pool),
            confirmed=len(pool),
            clients=0,
            ticks_received=0,
            ticks_per_second=0.0,
            frames_malformed=0,
            ticks_unknown=0,
            reconnects=0,
            peak_symbols=_NO_PEAK,
            peak_connections=_NO_PEAK,
            peak_clients=_NO_PEAK,
            peak_ticks_per_second=_NO_PEAK,
            life=self.life,
        )

    def add_listener(self, listener: Callable[[FeedEvent], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


class RecordingListener:
    """Keeps everything that it is told."""

    def __init__(self) -> None:
        self.ticks: list[TickMessage] = []
        self.events: list[FeedEvent] = []
        self.order: list[TickMessage | FeedEvent] = []  # both, as they came
        self.drops = 0  # how often what waited for clients was to be dropped

    def on_ticks(self, messages: Sequence[TickMessage]) -> None:
        self.ticks.extend(messages)
        self.order.extend(messages)

    def on_values(self, messages: Sequence[TickMessage]) -> None:
        self.on_ticks(messages)

    def drop_waiting(self) -> None:
        self.drops += 1

    def on_event(self, event: FeedEvent) -> None:
        self.events.append(event)
        self.order.append(event)

    def patience_seconds(self) -> float:
        return 0.0

    def changes(self, pool_id: str = "1") -> list[FeedChange]:
        """Return the changes heard of a pool and of its instruments, in order."""
        changes = [event for event in self.events if isinstance(event, FeedChange)]
        return [change for change in changes if change.pool_id == pool_id]

    def statuses(self, pool_id: str = "1") -> list[FeedStatus]:
        """Return the whole-pool changes heard of ``pool_id``, in order."""
        return [
            event.status
            for event in self.events
            if isinstance(event, FeedChange) and event.pool_id == pool_id and event.keys is None
        ]

    def settled(self) -> list[OutcomeState]:
        """Return what became of pending subscriptions, in order."""
        return [
            outcome.state
            for event in self.events
            if isinstance(event, SubscriptionChange)
            for outcome in event.outcomes
        ]

    def sequences(self, topic: bytes) -> list[int]:
        """Return the sequences heard of one topic, in order."""
        return [message.sequence for message in self.ticks if message.topic == topic]
