"""What must hold in a simulation: judged from the exchange's side and what clients were told."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    Outcome,
    OutcomeState,
    RefusalCode,
)
from brokers.types import InstrumentKey
from pooling.connection.losses import LossReason
from tests.simulation.link import SimulatedLink

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Checker"]

FRESH_SECONDS = 6.0
HEALTHY_SECONDS = 4.0
RENAMED_SECONDS = 9.0  # until the load is seen, and 5 s for the new token to speak, looked at each
GAP_SECONDS = 1.0  # of a symbol that moves because limits were lowered
MAX_VIOLATIONS = 20
DISPLACED = "the limits were lowered and it has no place"
MOVED = "the endpoint was changed"
NOT_LISTED = (RefusalCode.SYMBOL_NOT_FOUND, RefusalCode.SYMBOL_EXPIRED)
UNLISTED = -1  # no token
DRIED_UP = "on a link that"  # had plenty, or dried up
DRY_SECONDS = 24.0  # without a tick, of 25 by another clock


class Checker:
    """Looks at a world and collects what must not be."""

    def __init__(self, world: World) -> None:
        self.violations: list[str] = []
        self._world = world
        self._fresh_at: dict[InstrumentKey, float] = {}

    def complain(self, text: str) -> None:
        """Note a violation; the first ones are enough."""
        if len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(f"{self._world.loop.time():.3f}: {text}")
            self._world.note(f"VIOLATION {text}")

    def check_now(self) -> None:
        """Check what must hold at any time: no price is shown that is not fresh."""
        clients, sink = self._world.clients, self._world.sink
        wanted = clients.wanted
        old = [key for key in sorted(clients.believed | sink.keys) if not self._is_fresh(key)]
        for key in old:
            if key in clients.believed:
                self.complain(f"{key} is believed to be live and is not")
            if key in sink.keys:
                self.complain(f"an old price of {key} would be shown")
        clients.believed.difference_update(old)
        sink.forget(old)
        self._check_status(bool(wanted))
        self._check_names()

    def check_event(self, event: FeedEvent) -> None:
        """Check that no healthy instrument is called stale."""
        if not isinstance(event, FeedChange) or event.status is not FeedStatus.STALE:
            return
        now = self._world.loop.time()
        if self._world.conduct.edits.limits_change(now):
            return
        if event.reason == DISPLACED:
            return  # its unsubscribe follows in the same instant, however late the edit was read
        if DRIED_UP in event.reason and self._is_dry:
            return
        here = self._world.conduct.edits.stored_endpoint
        for key in event.keys or ():
            links = self._carriers(key)
            if event.reason == MOVED:  # those that lead elsewhere close in the same instant
                links = [link for link in links if link.endpoint == here]
            if any(self._is_healthy(link, key, now) for link in links):
                self.complain(f"{key} was called stale although it is carried: {event.reason}")

    def check_refusals(self, outcomes: Iterable[Outcome]) -> None:
        """Check that nothing was refused for want of room while there was some."""
        for outcome in outcomes:
            if (
                outcome.code is RefusalCode.MAX_CAPACITY_REACHED
                and self._world.plan.depth_cost == 1
            ):
                details = outcome.details
                if details["used"] < details["capacity"]:
                    self.complain(f"{outcome.key} was refused: {details}")
            elif outcome.message and "by one token" in outcome.message:
                self.complain(f"{outcome.message}")
            else:
                self._check_listed(outcome)

    def _check_listed(self, outcome: Outcome) -> None:
        listing = self._world.listing
        if not listing.has_settled(outcome.key):
            return
        if outcome.code is RefusalCode.BROKER_UNAVAILABLE:
            return  # nobody could tell; what becomes of it is told later, and judged then
        is_listed = listing.token_of(outcome.key) is not None
        if is_listed and outcome.code in NOT_LISTED:
            self.complain(f"{outcome.key} is listed and was refused: {outcome.message}")
        if not is_listed and outcome.state is not OutcomeState.REFUSED:
            self.complain(f"{outcome.key} is not listed and was taken")

    def _check_names(self) -> None:
        """Check that nobody holds what left the master."""
        listing = self._world.listing
        for key in self._world.clients.wanted.keys() - self._world.clients.untold:
            if listing.token_of(key) is None and listing.has_settled(key):
                self.complain(f"{key} is held and not listed any more")

    def find_unsettled(self) -> list[str]:
        """Return what is not yet as it shall be once all is well."""
        world, found = self._world, []
        wanted, waiting = world.clients.wanted, world.clients.waiting
        for key in world.clients.displaced:
            del wanted[key]
        if world.clients.displaced and self._has_room(wanted):
            found.append(f"{sorted(world.clients.displaced)} wait although there is room")
        for key, mode in wanted.items():
            links = self._carriers(key)
            if len(links) != 1:
                found.append(f"{key} is carried by {len(links)} connections")
                continue
            carried = links[0].modes[self._token_of(key)]
            if carried != mode and carried != max(mode, waiting.get(key, mode)):
                found.append(f"{key} is carried as {carried.name}, wanted as {mode.name}")
            if key not in world.clients.believed and not self._is_dry:
                found.append(f"{key} is not told to be live")
        known = {self._token_of(key) for key in (*wanted, *waiting)}
        for link in world.exchange.links.values():
            if link.endpoint != world.endpoint:
                found.append(f"{link} leads to {link.endpoint}, the account's is {world.endpoint}")
            if extra := link.modes.keys() - known:
                found.append(f"{link} carries {sorted(extra)}, which nobody wants")
        found += self._find_over_limits()
        return found

    def check_settled(self) -> None:
        """Check that everything wanted is carried, nothing else, and that the pool says so."""
        for text in self.find_unsettled():
            self.complain(text)
        stats, clients = self._world.stats, self._world.clients
        if self._world.plan.depth_cost == 1:
            for old, new in clients.overtaken:
                self.complain(f"{old} waits and {new}, which is newer, has a place")
        wanted, placed = len(clients.wanted), len(clients.wanted.keys() - clients.displaced)
        if (stats.wanted, stats.confirmed) != (wanted, placed):
            self.complain(
                f"{stats.wanted} wanted of {wanted}, {stats.confirmed} confirmed of {placed}"
            )
        if LossReason.INTERNAL in stats.losses:
            self.complain("a connection failed by a defect")
        if stats.status is not FeedStatus.LIVE and not self._is_dry:
            self.complain(f"the pool is {stats.status}: {stats.reason}")

    def check_closed(self) -> None:
        """Check that a closed worker left nothing open."""
        if links := self._world.exchange.links:
            self.complain(f"left open: {list(links.values())}")

    @property
    def _is_dry(self) -> bool:
        """Whether prices are old because the market is closed."""
        exchange = self._world.exchange
        is_long = self._world.loop.time() - exchange.ticked_at >= DRY_SECONDS
        return is_long and not exchange.is_open_market

    def _has_room(self, placed: Collection[InstrumentKey]) -> bool:
        options = self._world.options
        capacity = options.max_connections * options.symbols_per_connection
        return self._world.plan.depth_cost == 1 and len(placed) < capacity

    def _find_over_limits(self) -> list[str]:
        exchange, options = self._world.exchange, self._world.options
        found = []
        if len(exchange.links) > options.max_connections:
            found.append(f"{len(exchange.links)} connections of {options.max_connections}")
        for link in exchange.links.values():
            if exchange.cost(link) > options.symbols_per_connection:
                found.append(f"{link} uses more than {options.symbols_per_connection}")
        return found

    def _check_status(self, is_wanted: bool) -> None:
        if self._world.stats.status is not FeedStatus.LIVE or not is_wanted:
            return
        now = self._world.loop.time()
        if self._world.exchange.ended_at == now:
            return  # a link ended at this very instant; the pool is told next
        if self._world.clients.believed and not any(
            now - link.heard_at <= FRESH_SECONDS for link in self._world.exchange.links.values()
        ):
            self.complain("the pool calls itself live and is not")

    def _is_fresh(self, key: InstrumentKey) -> bool:
        now = self._world.loop.time()
        listing, exchange = self._world.listing, self._world.exchange
        carriers = [link for t in listing.tokens_of(key) for link in exchange.carriers(t)]
        is_heard = any(now - link.heard_at <= FRESH_SECONDS for link in carriers)
        if is_heard or not listing.has_settled(key, RENAMED_SECONDS):
            self._fresh_at[key] = now
        return now - self._fresh_at.get(key, float("-inf")) <= GAP_SECONDS

    def _is_healthy(self, link: SimulatedLink, key: InstrumentKey, now: float) -> bool:
        token, listing = self._token_of(key), self._world.listing
        ready = max(link.ready_at.get(token, now), listing.quiet_until(token))
        if link.asked_at[token] < listing.meant_since(token):
            return False  # it was asked for under another name
        return now - link.heard_at < HEALTHY_SECONDS and ready < now - HEALTHY_SECONDS

    def _carriers(self, key: InstrumentKey) -> list[SimulatedLink]:
        return self._world.exchange.carriers(self._token_of(key))

    def _token_of(self, key: InstrumentKey) -> int:
        token = self._world.listing.token_of(key)
        return UNLISTED if token is None else token
