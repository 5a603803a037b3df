"""A pool on virtual time with a broker in memory, for tests of shells without sockets or sleeps."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from brokers.contract import CredentialField
from brokers.pool_service import FeedChange, Holder, Outcome, OutcomeState, SubscriptionChange, Want
from brokers.testing import RecordingSink
from brokers.types import FeedMode, InstrumentKey
from pooling.contracts import AccountSpec, PoolOptions
from pooling.pool.pool import ConnectionPool
from pooling.subscriptions.book import SubscriptionBook
from pooling.testing import (
    FakeBroker,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
    VirtualTimeLoop,
    make_adapter_class,
    make_instrument,
)

ANN, BOB, EVE = Holder("g1", "ann"), Holder("g1", "bob"), Holder("g2", "eve")
LTP, QUOTE, DEPTH = FeedMode.LTP, FeedMode.QUOTE, FeedMode.DEPTH
ACTIVE, PENDING, REFUSED = OutcomeState.ACTIVE, OutcomeState.PENDING, OutcomeState.REFUSED
TOKEN_FIELD = (CredentialField("token", "Token"),)


def virtual(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on virtual time; nothing may be left behind on its loop."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(_alone(test(*args, **kwargs)))

    return run


async def _alone(work: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(10 * 24 * 3600):
        await work
    await asyncio.sleep(1)
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not left, f"tasks left behind: {left}"


def key(number: int):
    return make_instrument(number).key


def slot_of(book: SubscriptionBook, wanted: InstrumentKey) -> int | None:
    """Return which connection is to carry an instrument: the one it moves to while it moves."""
    there = (n for n, slot in book.slots.items() if wanted in slot.items)
    return next((n for n in there if wanted not in book.slots[n].leaving), None)


def moving(book: SubscriptionBook) -> set[InstrumentKey]:
    """Return what is carried twice until its new place, or its new token, has spoken."""
    return {each for slot in book.slots.values() for each in (*slot.leaving, *slot.fading)}


def keys(*numbers: int):
    return [key(number) for number in numbers]


def spec(**options: Any) -> AccountSpec:
    return AccountSpec(
        pool_id="7",
        broker="fake",
        user_id=1,
        label="mine",
        options=PoolOptions(**({"symbols_per_connection": 3, "max_connections": 3} | options)),
        credentials_version=1,
    )


@dataclass
class Kit:
    pool: ConnectionPool
    broker: FakeBroker
    store: InMemoryAccountStore
    sink: RecordingSink
    events: list[Any] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)

    def want(self, *numbers: int, mode=QUOTE, holder=ANN, depth=5) -> list[Outcome]:
        wants = [Want(key(number), mode, depth) for number in numbers]
        return self.pool.want(holder, wants, {key(n): make_instrument(n) for n in numbers})

    def release(self, *numbers: int, holder=ANN) -> None:
        self.pool.release(holder, keys(*numbers) if numbers else None)

    @property
    def feed(self) -> list[FeedChange]:
        return [event for event in self.events if isinstance(event, FeedChange)]

    @property
    def outcomes(self) -> list[Outcome]:
        changes = [event for event in self.events if isinstance(event, SubscriptionChange)]
        return [outcome for change in changes for outcome in change.outcomes]

    def states(self) -> list[str]:
        return [connection.state for connection in self.pool.get_stats().connections]


@asynccontextmanager
async def open_kit(
    *,
    options: dict[str, Any] | None = None,
    broker: FakeBroker | None = None,
    rng: Any = None,
    is_starting: bool = False,
    of_account: dict[str, Any] | None = None,
    **capabilities: Any,
) -> AsyncIterator[Kit]:
    """Open a pool; unless ``is_starting``, it has been there for a while and wanted nothing yet."""
    account = replace(spec(**(options or {})), **(of_account or {}))
    store = InMemoryAccountStore(account)
    broker = broker or FakeBroker()
    sink = RecordingSink()
    events: list[Any] = []
    notes: list[tuple[str, str]] = []
    pool = ConnectionPool(
        spec=account,
        adapter_class=make_adapter_class(**capabilities),
        sink=sink,
        store=store,
        clock=VirtualClock(),
        rng=rng or MiddleOfRange(),
        connector=broker,
        on_event=events.append,
        on_note=lambda kind, message: notes.append((kind, message)),
    )
    await pool.open()
    if not is_starting:
        pool._feed._forget_start()
        pool._feed.judge()
    try:
        yield Kit(pool, broker, store, sink, events, notes)
    finally:
        await pool.close()
