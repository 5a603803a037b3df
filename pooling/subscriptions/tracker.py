"""References of clients to instruments, and how much of each the broker has confirmed. Pure.

Per instrument there is one upstream level: the highest that anyone wants, or wanted within the
last ``linger_seconds``. Raising it is at once; lowering or dropping it waits for the linger to end,
so a page that reloads costs the broker nothing.

References are counted by holder (a client of a gateway). Releasing a client or a whole gateway
costs as much as it held, not as much as there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from heapq import heappop, heappush
from itertools import islice
from typing import NamedTuple

from brokers.pool_service import Holder
from brokers.types import FeedMode, Instrument, InstrumentKey

__all__ = ["Interest", "Level", "Lowered", "SubscriptionState", "Tracker"]


class Level(NamedTuple):
    """Amount of one instrument that is wanted. Levels compare: a greater one covers a smaller.

    ``depth_levels`` is 0 below ``FeedMode.DEPTH``, where it means nothing.
    """

    mode: FeedMode
    depth_levels: int = 0

    @classmethod
    def of(cls, mode: FeedMode, depth_levels: int) -> Level:
        """Return the level of a want."""
        return cls(mode, depth_levels if mode is FeedMode.DEPTH else 0)


class SubscriptionState(StrEnum):
    """Progress of an instrument's upstream level at the broker."""

    WANTED = "wanted"  # somebody holds it, the broker confirmed nothing yet
    PENDING = "pending"  # a lower level is confirmed, the present one is not
    CONFIRMED = "confirmed"


class Interest:
    """One instrument: its holders, the level asked of the broker, and the level confirmed."""

    __slots__ = ("age", "confirmed", "holders", "instrument", "levels", "lower_at", "upstream")

    def __init__(self, instrument: Instrument, upstream: Level, age: int) -> None:
        self.instrument = instrument
        self.age = age  # counts up: the greater, the newer
        self.holders: dict[Holder, Level] = {}
        self.levels: dict[Level, int] = {}  # how many hold each
        self.upstream = upstream  # asked of the broker: the highest held, or what lingers
        self.confirmed: Level | None = None
        self.lower_at: float | None = None  # the end of the linger, monotonic; None: none

    @property
    def highest(self) -> Level | None:
        """The highest level held now; None when nobody holds it."""
        return max(self.levels) if self.levels else None

    @property
    def state(self) -> SubscriptionState:
        """Progress of the upstream level."""
        if self.confirmed is None:
            return SubscriptionState.WANTED
        if self.confirmed < self.upstream:
            return SubscriptionState.PENDING
        return SubscriptionState.CONFIRMED

    def is_active(self, level: Level) -> bool:
        """Tell whether what is confirmed covers ``level``."""
        return self.confirmed is not None and self.confirmed >= level


class Lowered(NamedTuple):
    """A linger ended: the instrument is wanted at ``level`` only, or (None) by nobody."""

    key: InstrumentKey
    level: Level | None


class Tracker:
    """Counts references and remembers confirmations. Not thread-safe: its owner holds the lock.

    Args:
        linger_seconds: how long an upstream level outlives its last holder. May be changed; what
            already lingers keeps its deadline.
    """

    def __init__(self, *, linger_seconds: float) -> None:
        if linger_seconds < 0:
            raise ValueError("linger_seconds must not be negative")
        self.linger_seconds = linger_seconds
        # All that is wanted or lingers; what a holder holds, and a gateway's holders; what lingers
        # held by nobody. All under the pool's lock.
        self._interests: dict[InstrumentKey, Interest] = {}
        # Dictionaries, not sets: what is released at once is released in the order of its taking.
        self._held: dict[Holder, dict[InstrumentKey, None]] = {}
        self._gateways: dict[str, dict[Holder, None]] = {}
        self._unheld: dict[InstrumentKey, None] = {}
        self._names: dict[str, InstrumentKey] = {}  # by the broker's token: one name at a time
        self._deadlines: list[tuple[float, InstrumentKey]] = []  # a heap; some are outlived
        self._confirmed = 0  # how many interests are confirmed
        self._ages = 0  # the newest one's age

    def __len__(self) -> int:
        return len(self._interests)

    def __iter__(self) -> Iterator[InstrumentKey]:
        return iter(self._interests)

    def __contains__(self, key: object) -> bool:
        return key in self._interests

    @property
    def clients(self) -> int:
        """Number of holders that hold anything."""
        return len(self._held)

    @property
    def held(self) -> int:
        """Number of instruments that somebody holds; lingering ones do not count."""
        return len(self._interests) - len(self._unheld)

    @property
    def confirmed(self) -> int:
        """Number of instruments confirmed at any level."""
        return self._confirmed

    @property
    def has_unheld(self) -> bool:
        """Whether anything lingers that nobody holds."""
        return bool(self._unheld)

    def age_of(self, key: InstrumentKey) -> int:
        """Return a number that is greater for an instrument that was wanted later."""
        interest = self._interests.get(key)
        return 0 if interest is None else interest.age

    def get(self, key: InstrumentKey) -> Interest | None:
        """Return what is known about an instrument; not to be changed by the caller."""
        return self._interests.get(key)

    def name_of(self, token: str) -> InstrumentKey | None:
        """Return under which name the broker's ``token`` is wanted, or lingers."""
        return self._names.get(token)

    def rename(self, instrument: Instrument) -> None:
        """Note that the broker calls a known instrument by another token from now on."""
        interest = self._interests[instrument.key]
        self._forget_name(interest)
        interest.instrument = instrument
        self._names[instrument.broker_token] = instrument.key

    def target(self, key: InstrumentKey, level: Level) -> Level:
        """Return the upstream level that is needed once somebody wants ``level``."""
        interest = self._interests.get(key)
        return level if interest is None else max(interest.upstream, level)

    def hold(self, holder: Holder, instrument: Instrument, level: Level, now: float) -> Interest:
        """Take a reference, or change the holder's earlier one. Idempotent."""
        interest = self._interests.get(instrument.key)
        if interest is None:
            self._ages += 1
            interest = Interest(instrument, level, self._ages)
            self._interests[instrument.key] = interest
            self._names[instrument.broker_token] = instrument.key
        before = interest.holders.get(holder)
        if before != level:
            interest.holders[holder] = level
            interest.levels[level] = interest.levels.get(level, 0) + 1
            if before is None:
                self._index(holder, instrument.key)
            else:
                _forget_level(interest, before)
            interest.upstream = max(interest.upstream, level)
            self._rearm(interest, now)
        return interest

    def release(
        self, holder: Holder, keys: Iterable[InstrumentKey] | None, now: float
    ) -> list[InstrumentKey]:
        """Give up references (None: all of the holder's); returns those that were held."""
        held = self._held.get(holder)
        if held is None:
            return []
        gone = list(held) if keys is None else [key for key in dict.fromkeys(keys) if key in held]
        for key in gone:
            interest = self._interests[key]
            self._drop_holder(interest, holder)
            self._rearm(interest, now)
        return gone

    def release_gateway(self, gateway: str, now: float, most: int | None = None) -> list[Holder]:
        """Give up what any client of the gateway holds; returns the clients that are done.

        With ``most``, at most so many references: called until the gateway is unknown.
        """
        done: list[Holder] = []
        for holder in list(self._gateways.get(gateway, ())):
            keys = None if most is None else list(islice(self._held[holder], most))
            released = self.release(holder, keys, now)
            if holder not in self._held:
                done.append(holder)
            if most is not None and (most := most - len(released)) <= 0:
                break
        return done

    def knows_gateway(self, gateway: str) -> bool:
        """Tell whether any client of the gateway holds anything."""
        return gateway in self._gateways

    def holds(self, holder: Holder, key: InstrumentKey, level: Level) -> bool:
        """Tell whether a client holds an instrument at ``level`` or a greater one."""
        interest = self._interests.get(key)
        held = None if interest is None else interest.holders.get(holder)
        return held is not None and level <= held

    def held_by(self, holder: Holder) -> list[InstrumentKey]:
        """Return what a client holds."""
        return list(self._held.get(holder, ()))

    def expire(self, now: float) -> list[Lowered]:
        """Lower or drop every level whose linger has ended."""
        lowered: list[Lowered] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, key = heappop(self._deadlines)
            interest = self._interests.get(key)
            if interest is not None and interest.lower_at == deadline:
                lowered.append(self._lower(interest))
        return lowered

    def next_deadline(self) -> float | None:
        """Return when ``expire`` may next have something to do, or None."""
        while self._deadlines:
            deadline, key = self._deadlines[0]
            interest = self._interests.get(key)
            if interest is not None and interest.lower_at == deadline:
                return deadline
            heappop(self._deadlines)
        return None

    def evict_unheld(self) -> InstrumentKey | None:
        """Drop the instrument that has gone unheld the longest before its linger ends, if any."""
        key = next(iter(self._unheld), None)
        if key is not None:
            self._lower(self._interests[key])
        return key

    def end_linger(self, key: InstrumentKey) -> None:
        """Want a held instrument only at the highest level held, from now on."""
        self._lower(self._interests[key])

    def keep(self, key: InstrumentKey, level: Level) -> None:
        """Note that a level had to be kept upstream although only a lower one is held."""
        self._interests[key].upstream = level

    def confirm(self, key: InstrumentKey, level: Level) -> list[Level]:
        """Note that the broker carries ``level``; returns the held levels that became active."""
        interest = self._interests.get(key)
        if interest is None:
            return []
        before, now = interest.confirmed, min(level, interest.upstream)
        if before is not None and before >= now:
            return []
        interest.confirmed = now
        self._confirmed += before is None
        return [lv for lv in interest.levels if lv <= now and (before is None or lv > before)]

    def unconfirm(self, keys: Iterable[InstrumentKey]) -> list[InstrumentKey]:
        """Forget confirmations; returns the instruments that had one."""
        lost: list[InstrumentKey] = []
        for key in keys:
            interest = self._interests.get(key)
            if interest is not None and interest.confirmed is not None:
                interest.confirmed = None
                lost.append(key)
        self._confirmed -= len(lost)
        return lost

    def reject(self, key: InstrumentKey) -> tuple[Sequence[Level], Level | None]:
        """Drop every reference above what is confirmed, at once.

        Returns:
            The held levels that were refused, and the upstream level that remains (None: nothing).
        """
        interest = self._interests.get(key)
        if interest is None:
            return (), None
        refused = [level for level in interest.levels if not interest.is_active(level)]
        for holder, level in list(interest.holders.items()):
            if not interest.is_active(level):
                self._drop_holder(interest, holder)
        return refused, self._lower(interest).level

    def expel(self, key: InstrumentKey) -> Sequence[Level]:
        """Drop every reference to an instrument, at once; returns the levels that were held."""
        interest = self._interests.get(key)
        if interest is None:
            return ()
        levels = list(interest.levels)
        for holder in list(interest.holders):
            self._drop_holder(interest, holder)
        self._lower(interest)
        return levels

    def _index(self, holder: Holder, key: InstrumentKey) -> None:
        self._held.setdefault(holder, {})[key] = None
        self._gateways.setdefault(holder.gateway, {})[holder] = None
        self._unheld.pop(key, None)

    def _forget_name(self, interest: Interest) -> None:
        token = interest.instrument.broker_token
        # Where tokens are exchanged, it may be another's already.
        if self._names.get(token) == interest.instrument.key:
            del self._names[token]

    def _drop_holder(self, interest: Interest, holder: Holder) -> None:
        key = interest.instrument.key
        _forget_level(interest, interest.holders.pop(holder))
        held = self._held[holder]
        held.pop(key, None)
        if not held:
            del self._held[holder]
            clients = self._gateways[holder.gateway]
            clients.pop(holder, None)
            if not clients:
                del self._gateways[holder.gateway]
        if not interest.holders:
            self._unheld[key] = None

    def _rearm(self, interest: Interest, now: float) -> None:
        """Start, keep or stop the linger after the holders changed.

        One that runs keeps its deadline while somebody holds a lower level, so that a client which
        comes and goes cannot keep a level alive that nobody wants. It starts over when the last
        holder goes.
        """
        highest = interest.highest
        if highest == interest.upstream:
            interest.lower_at = None
        elif interest.lower_at is None or highest is None:
            interest.lower_at = now + self.linger_seconds
            heappush(self._deadlines, (interest.lower_at, interest.instrument.key))

    def _lower(self, interest: Interest) -> Lowered:
        key = interest.instrument.key
        interest.lower_at = None
        highest = interest.highest
        if highest is None:
            del self._interests[key]
            self._forget_name(interest)
            self._unheld.pop(key, None)
            self._confirmed -= interest.confirmed is not None
        else:
            interest.upstream = highest
            if interest.confirmed is not None:
                interest.confirmed = min(interest.confirmed, highest)
        return Lowered(key, highest)


def _forget_level(interest: Interest, level: Level) -> None:
    count = interest.levels[level] - 1
    if count:
        interest.levels[level] = count
    else:
        del interest.levels[level]
