"""Edited settings of a broker account on a running worker. Virtual time, no sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from brokers.contract import BrokerCapabilities, CategoryLimit, Handshake
from brokers.pool_service import FeedStatus, RefusalCode, SubscriptionChange, Want
from brokers.registry import BrokerRegistry
from brokers.settings import BrokerSettings, setting
from brokers.testing import RecordingSink
from pooling.contracts import CommandVerb, PoolOptions
from pooling.testing import (
    FakeAdapter,
    FakeBroker,
    InMemoryAccountStore,
    MiddleOfRange,
    VirtualClock,
)
from pooling.worker.worker import PoolWorker
from tests.unit.pooling.kit import (
    ACTIVE,
    ANN,
    BOB,
    DEPTH,
    EVE,
    LTP,
    PENDING,
    QUOTE,
    REFUSED,
    TOKEN_FIELD,
    key,
    keys,
    spec,
    virtual,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings(BrokerSettings):
    connections: int = setting(1, label="Connections", help_text="Of the plan.", minimum=1)
    thirty: bool = setting(False, label="30 levels", help_text="Of the plan.")
    pause: float = setting(0.0, label="Pause", help_text="Between two messages.")
    token: str = setting("a", label="Token", help_text="Seen by the broker.")


class PlanAdapter(FakeAdapter):
    """A broker whose plans differ in connections and depth."""

    settings: ClassVar[PlanSettings] = PlanSettings()
    capabilities = replace(FakeAdapter.capabilities, max_connections=1, batch_size=1)

    @classmethod
    def capabilities_with(cls, settings: PlanSettings) -> BrokerCapabilities:
        levels = (5, 30) if settings.thirty else (5,)
        return replace(
            cls.capabilities,
            max_connections=settings.connections,
            depth_levels=levels,
            category_limits=(CategoryLimit("deep", 2, 2),) if settings.thirty else (),
            message_interval_seconds=settings.pause,
        )

    @classmethod
    def category(cls, subscription):
        return "deep" if subscription.depth_levels == 30 else ""

    def handshake(self, credentials):
        return Handshake(url=f"ws://fake.invalid/?token={self.settings.token}")


class Kit:
    def __init__(self, adapter: type[FakeAdapter]) -> None:
        registry = BrokerRegistry()
        registry.register(adapter)
        self.store = InMemoryAccountStore(spec(symbols_per_connection=3, max_connections=3))
        self.broker = FakeBroker()
        self.sink = RecordingSink()
        self.events: list[Any] = []
        self.worker = PoolWorker(
            store=self.store,
            registry=registry,
            sink_for=lambda pool_id, broker: self.sink,
            clock=VirtualClock(),
            rng=MiddleOfRange(),
            worker_id="w1",
            epoch=3,
            connector=self.broker,
        )
        self.worker.add_listener(self.events.append)

    def edit(self, **settings: Any) -> None:
        pairs = tuple(sorted(settings.items()))
        self.store.specs["7"] = replace(self.store.specs["7"], settings=pairs)

    async def want(self, *numbers: int, mode=QUOTE, holder=ANN, depth=5):
        wants = [Want(key(number), mode, depth) for number in numbers]
        return [o.state for o in await self.worker.want("7", holder, wants)]

    @property
    def outcomes(self):
        changes = [event for event in self.events if isinstance(event, SubscriptionChange)]
        return [outcome for change in changes for outcome in change.outcomes]

    @property
    def seen(self) -> list[str]:
        """What each connect carried of the settings."""
        return [token for _, token in self.broker.attempts]

    @property
    def notes(self) -> list[tuple[str, str]]:
        return [(kind, message) for _, kind, message in self.store.events]


@asynccontextmanager
async def open_kit(adapter: type[FakeAdapter] = PlanAdapter):
    kit = Kit(adapter)
    await kit.worker.open()
    try:
        yield kit
    finally:
        await kit.worker.close()


@virtual
async def test_edited_settings_are_in_force_within_seconds_and_all_is_subscribed_again():
    async with open_kit() as kit:
        assert await kit.want(1, 2, 3, 4) == [PENDING, PENDING, PENDING, REFUSED]
        await asyncio.sleep(1)
        assert kit.worker.stats("7").confirmed == 3
        kit.edit(connections=2, token="b")
        await asyncio.sleep(5)
        stats = kit.worker.stats("7")
        assert (stats.max_connections, stats.confirmed, stats.clients) == (2, 3, 1)
        assert stats.status is FeedStatus.LIVE
        assert kit.seen == ["a", "b"]
        assert await kit.want(4) == [PENDING]
        assert ("settings_applied", "settings: connections=2, token=b") in kit.notes
        kit.edit()
        await asyncio.sleep(5)
        stats = kit.worker.stats("7")
        assert (stats.max_connections, stats.confirmed, stats.waiting) == (1, 3, 1)
        assert kit.seen[-1] == "a"
        assert ("settings_applied", "settings: the defaults") in kit.notes


class PresentingAdapter(PlanAdapter):
    """Its settings say how the credential is presented."""

    capabilities = replace(PlanAdapter.capabilities, credential_fields=TOKEN_FIELD)


@virtual
async def test_a_refused_credential_is_tried_once_more_in_another_form():
    async with open_kit(PresentingAdapter) as kit:
        kit.broker.good_tokens = {"b"}
        await kit.want(1)
        await asyncio.sleep(5)
        assert kit.worker.stats("7").status is FeedStatus.AUTH_REQUIRED
        assert kit.seen == ["a"]
        kit.edit(token="b")
        await asyncio.sleep(5)
        assert kit.worker.stats("7").status is FeedStatus.LIVE
        assert kit.seen == ["a", "b"]


@virtual
async def test_the_pace_of_messages_follows_on_the_same_connection():
    async with open_kit() as kit:
        await kit.want(1, 2, 3)
        await asyncio.sleep(1)
        assert kit.worker.stats("7").confirmed == 3
        kit.edit(pause=4.0)
        await asyncio.sleep(5)
        assert 1 <= kit.worker.stats("7").confirmed < 3
        await asyncio.sleep(10)
        assert kit.worker.stats("7").confirmed == 3


@virtual
async def test_limits_that_come_with_a_plan_bind_a_running_pool():
    async with open_kit() as kit:
        await kit.want(1)
        kit.edit(thirty=True)
        await asyncio.sleep(5)
        assert await kit.want(1, 2, 3, mode=DEPTH, depth=30) == [PENDING, PENDING, REFUSED]


@virtual
async def test_limits_edited_together_with_settings_follow_both():
    async with open_kit() as kit:
        await kit.want(1, 2, 3)
        await asyncio.sleep(1)
        kit.edit(connections=5)
        options = PoolOptions(symbols_per_connection=2, max_connections=5, revision=2)
        kit.store.specs["7"] = replace(kit.store.specs["7"], options=options)
        await asyncio.sleep(5)
        stats = kit.worker.stats("7")
        assert (stats.max_connections, stats.config_revision) == (5, 2)
        assert sorted(c.used for c in stats.connections) == [1, 2]


@virtual
async def test_what_is_not_offered_any_more_ends_and_its_other_holders_keep_it():
    async with open_kit() as kit:
        kit.edit(thirty=True)
        await asyncio.sleep(5)
        await kit.want(1, 2, mode=DEPTH, depth=30)
        await kit.want(1, mode=LTP, holder=BOB)
        await kit.want(3, mode=DEPTH, holder=EVE)
        await asyncio.sleep(1)
        assert kit.worker.stats("7").confirmed == 3
        kit.events.clear()
        kit.edit()
        await asyncio.sleep(5)
        refused = [o for o in kit.outcomes if o.state is REFUSED]
        assert {(o.key, o.code, o.depth_levels) for o in refused} == {
            (each, RefusalCode.UNSUPPORTED_DEPTH_LEVEL, 30) for each in keys(1, 2)
        }
        assert "30 depth levels are not offered; supported: 5" in refused[0].message
        stats = kit.worker.stats("7")
        assert (stats.wanted, stats.confirmed, stats.clients) == (2, 2, 2)
        assert {(o.key, o.mode) for o in kit.outcomes if o.state is ACTIVE} >= {(key(1), LTP)}


@virtual
async def test_settings_that_the_worker_does_not_know_are_told_once_and_change_nothing():
    async with open_kit() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        kit.edit(connections="many")
        await asyncio.sleep(10)
        assert kit.worker.stats("7").confirmed == 1
        assert len(kit.seen) == 1
        errors = [message for kind, message in kit.notes if kind == "config_error"]
        assert errors == [
            "its settings stay as they are: Fake: setting connections: a whole number of at least "
            "1, not 'many'"
        ]
        kit.edit(connections=2)
        await asyncio.sleep(5)
        assert kit.worker.stats("7").max_connections == 2


@virtual
async def test_a_paused_pool_follows_and_opens_nothing():
    async with open_kit() as kit:
        await kit.want(1)
        await asyncio.sleep(1)
        kit.store.specs["7"] = replace(kit.store.specs["7"], is_paused=True)
        await asyncio.sleep(3)
        kit.edit(token="b")
        await asyncio.sleep(5)
        assert kit.seen == ["a"]
        kit.store.specs["7"] = replace(kit.store.specs["7"], is_paused=False)
        await asyncio.sleep(5)
        assert kit.seen == ["a", "b"]
        assert kit.worker.stats("7").confirmed == 1


@virtual
async def test_a_preview_tries_the_settings_that_it_is_asked_about():
    async with open_kit() as kit:
        kit.edit(connections=2)
        await asyncio.sleep(5)
        await kit.want(1, 2, 3, 4, 5)
        await asyncio.sleep(1)
        tried = {"max_connections": 2, "symbols_per_connection": 3}
        ask = partial(kit.store.ask, "7", CommandVerb.PREVIEW, **tried)
        asked = [ask(), ask(settings={"connections": 1}), ask(settings={"speed": 1})]
        await asyncio.sleep(3)
        ended = [kit.store.ended_commands[number] for number in asked]
        assert ended[0] == (True, "2 x 3 has a place for all 5 symbols.")
        assert ended[1][0]
        assert ended[1][1].startswith("1 x 3 leaves 2 of 5 symbols without a place")
        assert ended[2][0] is False
        assert "unknown setting 'speed'; known: connections" in ended[2][1]
        assert kit.worker.stats("7").max_connections == 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedSettings(BrokerSettings):
    symbols: int = setting(6, label="Symbols", help_text="Of all connections together.")


class SharedAdapter(FakeAdapter):
    """A broker that counts all connections of an account as one."""

    settings: ClassVar[SharedSettings] = SharedSettings()
    capabilities = replace(
        FakeAdapter.capabilities,
        symbols_per_connection=6,
        category_limits=(CategoryLimit("all", 6, 6),),
        shares_category_limits=True,
    )

    @classmethod
    def capabilities_with(cls, settings: SharedSettings) -> BrokerCapabilities:
        limit = CategoryLimit("all", settings.symbols, settings.symbols)
        return replace(cls.capabilities, category_limits=(limit,))

    @classmethod
    def category(cls, subscription):
        return "all"


@virtual
async def test_a_lowered_limit_of_all_connections_together_displaces_the_newest():
    async with open_kit(SharedAdapter) as kit:
        await kit.want(1, 2, 3, 4, 5, 6)
        await asyncio.sleep(1)
        assert [c.used for c in kit.worker.stats("7").connections] == [3, 3]
        kit.edit(symbols=4)
        await asyncio.sleep(5)
        stats = kit.worker.stats("7")
        assert (stats.used, stats.confirmed, stats.waiting, stats.wanted) == (4, 4, 2, 6)
        told = {o.key for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED}
        assert told == set(keys(5, 6))
        kit.edit()
        await asyncio.sleep(5)
        stats = kit.worker.stats("7")
        assert (stats.used, stats.confirmed, stats.waiting) == (6, 6, 0)


@virtual
async def test_what_only_lingers_goes_before_anything_that_is_held():
    async with open_kit(SharedAdapter) as kit:
        kit.store.specs["7"] = replace(
            kit.store.specs["7"],
            options=replace(kit.store.specs["7"].options, linger_seconds=100.0),
        )
        await asyncio.sleep(3)
        await kit.want(1, 2, 3, 4, 5, 6)
        await asyncio.sleep(1)
        await kit.worker.release("7", ANN, keys(1, 2))
        kit.edit(symbols=4)
        await asyncio.sleep(5)
        stats = kit.worker.stats("7")
        assert (stats.used, stats.confirmed, stats.waiting) == (4, 4, 0)
        assert not [o for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]
