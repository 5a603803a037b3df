"""A worker, its broker and its clients, played through a plan on virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import date
from urllib.parse import urlsplit

from brokers.pool_service import Holder, PoolStats, Want
from brokers.registry import BrokerRegistry
from brokers.types import FeedMode, InstrumentKey
from brokers.zerodha.config import CAPABILITIES
from pooling.contracts import AccountSpec, PoolOptions
from pooling.testing import InMemoryAccountStore
from pooling.worker.worker import PoolWorker
from tests.simulation.adapter import make_adapter_class
from tests.simulation.checks import Checker
from tests.simulation.clients import Clients
from tests.simulation.conduct import Conduct
from tests.simulation.edits import Edits
from tests.simulation.exchange import Rules, SimulatedExchange
from tests.simulation.faults import BrokerVerbs, SteppedClock
from tests.simulation.loop import run_simulated
from tests.simulation.names import Listing, key_of
from tests.simulation.schedule import HOLDERS, SYMBOLS, Plan, Step, make_plan
from tests.simulation.ticks import LastValues

__all__ = ["POOL_ID", "Report", "World", "play"]

POOL_ID = "7"
POLL_SECONDS = 2.0
SETTLE_SECONDS = 420.0
SETTLE_STEP_SECONDS = 0.5
HOLD_SECONDS = 8.0
MAX_SYMBOLS = 6


@dataclass(frozen=True)
class Report:
    """How a simulation went. ``trace`` is everything that happened, in order."""

    plan: Plan
    violations: list[str]
    trace: list[str]
    virtual_seconds: float
    settled_after: float
    stats: PoolStats | None
    ticks: int = 0
    attempts: int = 0
    forced: int = 0  # links given up while the market was closed


class SlowStore(InMemoryAccountStore):
    """A store whose answers take a while, up to ``seconds``."""

    seconds = 0.0
    chance = random.Random(0)

    @property
    def is_down(self) -> bool:
        """Whether every call fails."""
        return self._is_down

    async def credentials(self, pool_id):
        await asyncio.sleep(self.chance.uniform(0.0, self.seconds))
        return await super().credentials(pool_id)

    async def resolve(self, broker, keys: Sequence[InstrumentKey]):
        await asyncio.sleep(self.chance.uniform(0.0, self.seconds))
        return await super().resolve(broker, keys)

    async def expired(self, broker, keys: Sequence[InstrumentKey]):
        await asyncio.sleep(self.chance.uniform(0.0, self.seconds))
        return await super().expired(broker, keys)

    async def listed(self, broker, tokens: Collection[str]):
        await asyncio.sleep(self.chance.uniform(0.0, self.seconds))
        return await super().listed(broker, tokens)


class World(BrokerVerbs):
    """Everything of one simulation; ``do_<verb>`` are the verbs of a plan."""

    def __init__(self, plan: Plan, trace: Callable[[str], None] = lambda text: None) -> None:
        self.plan = plan
        self.loop = asyncio.get_running_loop()
        self._trace = trace
        capabilities = replace(
            CAPABILITIES,
            symbols_per_connection=MAX_SYMBOLS,
            batch_size=plan.batch_size,
            message_interval_seconds=plan.message_interval_seconds,
            connect_interval_seconds=plan.connect_interval_seconds,
            max_lifetime_seconds=plan.max_lifetime_seconds,
            heartbeat_seconds=plan.beat_seconds,
        )
        self.store = SlowStore(self._spec(), values={"api_key": "key", "access_token": "t1"})
        self.store.seconds = plan.store_seconds
        self.store.chance = random.Random(plan.seed)
        self.clients = Clients()
        self.checker = Checker(self)
        self.conduct = Conduct(self, Edits(self.endpoint))
        self.sink = LastValues(
            self.checker.complain,
            lambda key: any(map(self.exchange.is_late, self.listing.tokens_of(key))),
        )
        rules = Rules(
            capabilities=capabilities,
            depth_cost=plan.depth_cost,
            beat_seconds=plan.beat_seconds,
            tick_every_beats=plan.tick_every_beats,
        )
        self.listing = Listing(SYMBOLS, self.loop.time)
        self.exchange = SimulatedExchange(rules, self.listing, self.conduct, self.note)
        self.exchange.good_tokens = {"t1"}
        self.clock = SteppedClock()
        registry = BrokerRegistry()
        registry.register(make_adapter_class(capabilities, plan.depth_cost))
        self.worker = PoolWorker(
            store=self.store,
            registry=registry,
            sink_for=lambda pool_id, broker: self.sink,
            clock=self.clock,
            rng=random.Random(plan.seed),
            worker_id="simulated",
            epoch=1,
            connector=self.exchange,
            poll_seconds=POLL_SECONDS,
            status_seconds=60.0,
            command_seconds=60.0,
        )
        self.worker.add_listener(self._heard)
        self.last_stats: PoolStats | None = None
        self._turns = {Holder(*names): asyncio.Lock() for names in HOLDERS}
        self._requests: set[asyncio.Task[None]] = set()
        self._next_token = 2

    @property
    def stats(self) -> PoolStats:
        return self.worker.stats(POOL_ID)

    @property
    def endpoint(self) -> str:
        """The host that is stored now."""
        url = self.store.specs[POOL_ID].endpoint or CAPABILITIES.default_endpoint
        return urlsplit(url).hostname or ""

    @property
    def options(self) -> PoolOptions:
        """The limits that are stored now."""
        return self.store.specs[POOL_ID].options

    def note(self, text: str) -> None:
        self._trace(f"{self.loop.time():9.3f} {text}")

    async def play(self) -> float:
        """Play the plan, then end every fault; returns how long it took to be well again."""
        await self.worker.open()
        sampling = asyncio.create_task(self._sample(), name="simulation-sampling")
        try:
            await self.follow(self.plan.steps)
            await self._until(self.plan.seconds)
            self.make_up()
            settled_after = await self._settle()
            self.checker.check_settled()
            self.last_stats = self.stats
        finally:
            sampling.cancel()
            for request in self._requests:
                request.cancel()
            await asyncio.gather(sampling, *self._requests, return_exceptions=True)
            self.conduct.is_closing = True
            await self.worker.close()
            self.exchange.close()
        self.checker.check_closed()
        return settled_after

    async def follow(self, steps: Sequence[Step]) -> None:
        """Do every step at its time, counted from the loop's start."""
        for step in steps:
            await self._until(step.at)
            self.note(f"- {step.verb}{step.args}")
            work = getattr(self, f"do_{step.verb}")(*step.args)
            if work is not None:
                self._request(work)

    def make_up(self) -> None:
        """End every fault, as a good day does."""
        self.note("- all is well from now on")
        self.do_accept()
        self.do_speak()
        self.do_slow_acks(0.0)
        self.do_slow_handshakes(0.02)
        self.do_store_up()
        self.do_open_market()
        self.exchange.rejects_next = False
        self.do_ban(())
        self.do_shrink(None)
        self.do_linger(0.0)
        self.do_reach()
        good = self.exchange.good_tokens
        if good is not None and self.store.stored[POOL_ID].values["access_token"] not in good:
            self.do_login()

    # -- Clients ------------------------------------------------------------------------------

    async def do_want(self, holder: int, numbers: Sequence[int], mode: FeedMode) -> None:
        name = Holder(*HOLDERS[holder])
        wants = [Want(key_of(number), mode) for number in numbers]
        async with self._turns[name]:
            await self._ask(name, wants)
            # What was in force before a refused want is said again, as gateways do: the pool may
            # have let go of it, when it was the broker that refused.
            if earlier := self.clients.earlier(name, wants):
                await self._ask(name, earlier)

    async def do_abandon(self, holder: int, numbers: Sequence[int], mode: FeedMode) -> None:
        """Ask, hang up before the answer, and be released by the gateway."""
        name = Holder(*HOLDERS[holder])
        wants = [Want(key_of(number), mode) for number in numbers]
        async with self._turns[name]:
            asking = asyncio.create_task(self.worker.want(POOL_ID, name, wants))
            await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            await self.worker.release(POOL_ID, name, None)
            self.clients.asked(want.key for want in wants)
            self.clients.released(name, None)
            self.conduct.abandoned(numbers)

    async def do_release(self, holder: int, numbers: Sequence[int]) -> None:
        name = Holder(*HOLDERS[holder])
        keys = [key_of(number) for number in numbers]
        async with self._turns[name]:
            await self.worker.release(POOL_ID, name, keys)
            self.clients.released(name, keys)

    async def do_release_all(self, holder: int) -> None:
        name = Holder(*HOLDERS[holder])
        async with self._turns[name]:
            await self.worker.release(POOL_ID, name, None)
            self.clients.released(name, None)

    async def do_end_gateway(self, gateway: str) -> None:
        names = [name for name in self._turns if name.gateway == gateway]
        for name in names:
            await self._turns[name].acquire()
        try:
            await self.worker.release_gateway(gateway)
            self.clients.gateway_ended(gateway)
        finally:
            for name in names:
                self._turns[name].release()

    # -- The account --------------------------------------------------------------------------

    def do_roll_token(self, ends_links: bool) -> None:
        """Have the token expire, as Kite's do every morning."""
        self.exchange.good_tokens = set()
        if ends_links:
            self.do_drop_all()

    def do_login(self) -> None:
        """Save a token that works."""
        token = self._save_token()
        self.exchange.good_tokens = {token}

    def do_wrong_login(self) -> None:
        """Save a token that does not; what is connected stays connected."""
        self._save_token()

    def do_limits(self, symbols_per_connection: int, max_connections: int) -> None:
        spec = self.store.specs[POOL_ID]
        options = replace(
            spec.options,
            symbols_per_connection=symbols_per_connection,
            max_connections=max_connections,
            revision=spec.options.revision + 1,
        )
        self.store.specs[POOL_ID] = replace(spec, options=options)
        self.conduct.edits.limits(self.loop.time(), is_read=not self.store.is_down)

    def do_endpoint(self, url: str | None) -> None:
        before, spec = self.endpoint, self.store.specs[POOL_ID]
        self.store.specs[POOL_ID] = replace(spec, endpoint=url)
        if self.endpoint != before:
            self.conduct.edits.endpoint(
                self.endpoint, self.loop.time(), is_read=not self.store.is_down
            )
            self.exchange.forgive(self.endpoint)

    def do_load(self, changes: Sequence[tuple[str, tuple[int, ...]]]) -> None:
        """Load a master in which tokens mean something else than before."""
        if self.store.is_down:
            return
        self.listing.load(changes)
        instruments = self.listing.instruments
        gone = {key_of(n) for n in SYMBOLS} - {each.key for each in instruments}
        # Of half of them nobody remembers when they expired.
        days = {key: date(2026, 11, 26) for key in gone if int(key.symbol[1:]) % 2}
        self.store.load(*instruments, expiries=days)
        self.exchange.reopen()

    def do_expect_well(self) -> None:
        """Check that everything wanted is live now."""
        self.checker.check_settled()

    def do_store_down(self) -> None:
        self.store.go_down()
        self.listing.stop()
        self.conduct.edits.store_went_down(self.loop.time())

    def do_store_up(self) -> None:
        if self.store.is_down:
            self.store.come_back()
            self.listing.go_on()
            self.conduct.edits.store_came_back(self.loop.time())

    # -- Inside -------------------------------------------------------------------------------

    async def _ask(self, name: Holder, wants: Sequence[Want]) -> None:
        outcomes = await self.worker.want(POOL_ID, name, wants)
        self.note(f"{name} {[(str(o.key), o.mode.name, str(o.state)) for o in outcomes]}")
        self.clients.answered(name, wants, outcomes)
        self.checker.check_refusals(outcomes)

    def _save_token(self) -> str:
        token = f"t{self._next_token}"
        self._next_token += 1
        self.store.save_credentials(POOL_ID, {"api_key": "key", "access_token": token})
        return token

    def _spec(self) -> AccountSpec:
        plan = self.plan
        return AccountSpec(
            pool_id=POOL_ID,
            broker=CAPABILITIES.name,
            user_id=1,
            label="simulated",
            options=PoolOptions(
                symbols_per_connection=plan.symbols_per_connection,
                max_connections=plan.max_connections,
                linger_seconds=plan.linger_seconds,
                max_idle_seconds=plan.max_idle_seconds,
            ),
            credentials_version=1,
        )

    def _request(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work, name="simulation-request")
        self._requests.add(task)
        task.add_done_callback(self._request_ended)

    def _request_ended(self, task: asyncio.Task[None]) -> None:
        self._requests.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.checker.complain(f"a client's request failed: {error!r}")

    def _heard(self, event) -> None:
        self.note(f"told {event}")
        self.checker.check_event(event)
        self.clients.heard(event)

    async def _until(self, at: float) -> None:
        if (wait := at - self.loop.time()) > 0:
            await asyncio.sleep(wait)

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(self.plan.sample_seconds)
            self.checker.check_now()
            self.conduct.check_now()

    async def _settle(self) -> float:
        """Wait until all has been well for a while; returns how long that took to begin."""
        started = well_since = self.loop.time()
        while (now := self.loop.time()) - well_since < HOLD_SECONDS:
            await asyncio.sleep(SETTLE_STEP_SECONDS)
            if self._requests or self.checker.find_unsettled():
                well_since = self.loop.time()
                if now - started > SETTLE_SECONDS:
                    break
        return well_since - started


def play(seed: int | Plan, trace: Callable[[str], None] | None = None) -> Report:
    """Play one seed, or a plan, from beginning to end."""
    plan = seed if isinstance(seed, Plan) else make_plan(seed)
    lines: list[str] = []
    return run_simulated(_play(plan, lines, trace or lines.append))


async def _play(plan: Plan, lines: list[str], trace: Callable[[str], None]) -> Report:
    world = World(plan, trace)
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: world.checker.complain(f"{context.get('exception') or context!r}")
    )
    settled_after = await world.play()
    await asyncio.sleep(1)
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    violations = world.checker.violations + world.exchange.violations
    if left:
        violations.append(f"tasks were left behind: {left}")
    return Report(
        plan=plan,
        violations=violations,
        trace=lines,
        virtual_seconds=world.loop.time(),
        settled_after=settled_after,
        stats=world.last_stats,
        ticks=world.sink.published,
        attempts=world.exchange.attempts,
        forced=world.conduct.forced,
    )
