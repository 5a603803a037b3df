"""What a pool must not do to a broker and to those who wait for prices, step by step.

``Conduct`` is the exchange's ``Observer``. Where the checker looks at how things are, this looks at
what was done: a link given up or an instrument taken off needs a reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.simulation.edits import Edits
from tests.simulation.link import SimulatedLink
from tests.simulation.names import key_of

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Conduct"]

SURELY_HEARD_SECONDS = 4.0
EARLIEST_ROTATION = 0.84
DOUBT_SECONDS = 2.0  # until a paced message has gone out
TWICE_SECONDS = 20.0  # a move waits 10 s for its new connection to speak, and is paced
AWAY_SECONDS = 22.0  # 15 s until a dead connection hands over, upkeep, and the pace of messages
EXTRA_SECONDS = 6.0  # beyond the linger, until an instrument nobody wants is taken off


class Conduct:
    """Judges single acts of the pool, with the clients' wishes at hand."""

    def __init__(self, world: World, edits: Edits) -> None:
        self.edits = edits
        self.is_closing = False
        self.forced = 0  # links given up while the market was closed and they carried something
        self._world = world
        self._twice_since: dict[int, float] = {}
        self._extra_since: dict[tuple[int, int], float] = {}
        self._away_since: dict[int, float] = {}
        self._roomy_since: dict[int, float] = {}

    def abandoned(self, numbers: Iterable[int]) -> None:
        """Somebody asked for these and hung up: each lingers anew, as after any last holder."""
        gone = {self._world.listing.token_of(key_of(number)) for number in numbers}
        self._extra_since = {
            (number, token): since
            for (number, token), since in self._extra_since.items()
            if token not in gone
        }

    # -- Observer -----------------------------------------------------------------------------

    def attempted(self, endpoint: str) -> None:
        """A connect: to the endpoint that is stored, once an edit of it is in force."""
        world = self._world
        known = self.edits.endpoints(world.loop.time())
        if endpoint not in known:
            world.checker.complain(f"connect to {endpoint}, the account's is {sorted(known)}")

    def unsubscribed(self, link: SimulatedLink, token: int) -> None:
        """An instrument was taken off: nobody wants it, or another link carries it.

        Or it is asked for anew: whom a refusal without names is about is not sure where ticks of a
        first subscription may have looked like an answer to a second.
        """
        is_in_doubt = (
            token in link.asked_again and self._world.loop.time() <= link.unnamed_at + DOUBT_SECONDS
        )
        if is_in_doubt or token in link.refused or self._limits_change():
            return
        if self._is_needed(token):
            self._world.checker.complain(f"{link} was told to end {token}, which only it carries")

    def left(self, link: SimulatedLink, how: str) -> None:
        """The pool gave up a link: a silent one, or one that nothing wanted depends on."""
        world = self._world
        silent_for = world.loop.time() - link.heard_at
        if link.modes and not world.exchange.is_open_market and not self.is_closing:
            self.forced += 1
        if link.is_silent or self.is_closing or self._limits_change():
            return
        if how == "aborted" and silent_for < SURELY_HEARD_SECONDS:
            world.checker.complain(f"{link} was dropped though it spoke {silent_for:.1f} s ago")
        if not self._has_reason(link) and any(map(self._is_needed, link.modes)):
            world.checker.complain(f"{link} was given up and carried what is wanted")

    def outlived(self, link: SimulatedLink) -> None:
        """The broker ended a link for its age: the pool was to replace it before."""
        if self._world.plan.is_calm:
            self._world.checker.complain(f"{link} was not replaced before the broker ended it")

    def ticked(self, number: int, delivered: set[int]) -> None:
        """The market ticked: what is told to be live has the tick before, and gets this one."""
        sink, believed = self._world.sink, self._world.clients.believed
        sink.check(believed)
        if self._world.plan.is_calm:
            due = believed  # nothing but the pool itself could lose one
        else:
            name_of = self._world.listing.name_of
            due = {key for key in map(name_of, delivered) if key in believed}
        sink.expect(number, due)

    # -- As time passes -----------------------------------------------------------------------

    def check_now(self) -> None:
        """Check that nothing stays carried twice, or carried and unwanted."""
        world, now = self._world, self._world.loop.time()
        asked = world.clients.wanted.keys() | world.clients.waiting.keys()
        twice: dict[int, float] = {}
        extra: dict[tuple[int, int], float] = {}
        for link in world.exchange.links.values():
            for token in link.modes:
                if len(world.exchange.carriers(token)) > 1:
                    twice[token] = self._twice_since.get(token, now)
                if world.listing.name_of(token) not in asked:
                    at = link.number, token
                    extra[at] = self._extra_since.get(at, now)
        self._twice_since, self._extra_since = twice, extra
        for token, since in twice.items():
            if now - since > TWICE_SECONDS:
                world.checker.complain(f"{token} is carried twice for {now - since:.1f} s")
        self._check_away(now)
        bound = world.plan.linger_seconds + EXTRA_SECONDS
        for (number, token), since in extra.items():
            if now - since > bound:
                world.checker.complain(f"link {number} carries {token}, unwanted for {bound} s")

    def _check_away(self, now: float) -> None:
        """Check that what a dead connection should carry goes where there is room.

        Not while lowered limits have a connection close: that is the newest, also where it is the
        only live one, and nothing new goes to it.
        """
        world = self._world
        exchange, clients = world.exchange, world.clients
        is_plain = world.plan.depth_cost == 1 and exchange.room is None and not exchange.banned
        away = {
            token
            for token in map(
                world.listing.token_of,
                clients.wanted.keys() - clients.displaced - clients.untold,
            )
            if token is not None and not exchange.carriers(token)
        }
        roomy = {
            number
            for number, link in exchange.links.items()
            if is_plain
            and now - link.heard_at < SURELY_HEARD_SECONDS
            and exchange.cost(link) < world.options.symbols_per_connection
            and not self._limits_change()
        }
        if len(world.stats.connections) > world.options.max_connections:
            roomy.clear()
        self._away_since = {token: self._away_since.get(token, now) for token in away}
        self._roomy_since = {number: self._roomy_since.get(number, now) for number in roomy}
        if self._roomy_since and now - min(self._roomy_since.values()) > AWAY_SECONDS:
            for token, since in self._away_since.items():
                if now - since > AWAY_SECONDS:
                    world.checker.complain(f"{token} is carried by nobody, and there is room")

    def _limits_change(self) -> bool:
        return self.edits.limits_change(self._world.loop.time())

    def _is_needed(self, token: int) -> bool:
        clients, listing = self._world.clients, self._world.listing
        key = listing.name_of(token)
        if key not in clients.believed or key in clients.displaced:
            return False
        if listing.token_of(key) != token or not listing.has_settled(key):
            return False  # it has, or had until just now, another token
        others = [link for link in self._world.exchange.carriers(token) if link.is_open]
        return not others

    def _has_reason(self, link: SimulatedLink) -> bool:
        world = self._world
        lifetime, age = world.plan.max_lifetime_seconds, world.loop.time() - link.opened_at
        return self.edits.endpoints(world.loop.time()) != {link.endpoint} or (
            lifetime is not None and age >= EARLIEST_ROTATION * lifetime
        )
