"""Connections that nobody is known behind, from accept on, and which of them have to go. Pure.

What counts is whom we wait for: one that sends nothing costs its place only, but for as long as it
likes. One that waits for us is not held against anybody. Time is passed in as seconds of a
monotonic clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from streaming.addresses import address_group
from streaming.edge_limits import EdgeLimits, Refusal

__all__ = ["Strangers"]

_T = TypeVar("_T")

# So long a client that just came has to say something before its place may be taken: clients that
# all come back at once are served one behind the other.
_GRACE_SECONDS = 3.0
# What goes at least as fast may take longer than the request's time.
_BYTES_PER_SECOND = 16 * 1024
# How many make room at once: looking for them costs a walk over all.
_ROOM_SHARE = 20


@dataclass(slots=True)
class _Stranger:
    """The standing of one connection."""

    group: str | None  # whose address it is; None: of a proxy, behind which anybody may be
    since: float  # from when on we have waited for it
    is_awaited: bool = True
    until: float | None = None  # when it has to have said what is due; None: no end here
    left: float | None = None  # of its seconds, while we read no more of it; None: we read


class Strangers(Generic[_T]):
    """Knows the connections of a process that are not authenticated. Not thread-safe.

    Args:
        limits: ``max_strangers``, ``max_strangers_per_address`` (IPv6: by /64) and
            ``request_timeout_seconds`` count.
    """

    def __init__(self, limits: EdgeLimits) -> None:
        self._limits = limits
        # In the order in which they came.
        self._all: dict[_T, _Stranger] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __repr__(self) -> str:
        return f"<Strangers {len(self._all)}>"

    @property
    def is_full(self) -> bool:
        """Whether another one has a place only if others leave."""
        return len(self._all) >= self._limits.max_strangers

    def enter(self, who: _T, address: str | None, now: float) -> None:
        """Count one in, whose request is due; ``address`` None is that of a proxy."""
        group = None if address is None else address_group(address)
        until = now + self._limits.request_timeout_seconds
        self._all[who] = _Stranger(group, now, until=until)

    def leave(self, who: _T) -> None:
        """Count one out that is gone, or known. Idempotent."""
        self._all.pop(who, None)

    def comes_from(self, who: _T, address: str) -> None:
        """Learn who is behind a proxy; says nothing of one that came itself."""
        stranger = self._all.get(who)
        if stranger is not None and stranger.group is None:
            stranger.group = address_group(address)

    def expect(self, who: _T, now: float) -> None:
        """Wait for a request, a whole one, from ``now`` on."""
        stranger = self._all.get(who)
        if stranger is not None:
            stranger.is_awaited, stranger.since, stranger.left = True, now, None
            stranger.until = now + self._limits.request_timeout_seconds

    def expect_word(self, who: _T) -> None:
        """Wait for a message, since it came; somebody else looks how long."""
        stranger = self._all.get(who)
        if stranger is not None:
            stranger.is_awaited, stranger.until, stranger.left = True, None, None

    def serve(self, who: _T) -> None:
        """Let it wait for us."""
        stranger = self._all.get(who)
        if stranger is not None:
            stranger.is_awaited, stranger.until, stranger.left = False, None, None

    def pause(self, who: _T, now: float) -> None:
        """Read no more of a request for a while: its time stands still."""
        stranger = self._all.get(who)
        if stranger is not None and stranger.until is not None:
            stranger.is_awaited, stranger.left = False, stranger.until - now
            stranger.until = None

    def resume(self, who: _T, now: float) -> None:
        """Read on, and wait for it as long as it had left; nothing for one that was not paused."""
        stranger = self._all.get(who)
        if stranger is not None and stranger.left is not None:
            stranger.is_awaited, stranger.since = True, now
            stranger.until, stranger.left = now + stranger.left, None

    def heard(self, who: _T, *, is_more_due: bool) -> None:
        """Note that something came, which is now looked at; or what it was, and more is due."""
        stranger = self._all.get(who)
        if stranger is not None:
            stranger.is_awaited = is_more_due and stranger.left is None

    def allow_for(self, who: _T, size: int) -> None:
        """Give it the time that so many bytes, of its body or of ours, may take."""
        stranger = self._all.get(who)
        if stranger is not None and stranger.until is not None:
            stranger.until += size / _BYTES_PER_SECOND

    def overdue(self, now: float) -> Sequence[tuple[_T, Refusal]]:
        """Return those that have to go: too late, or too many of one address, the oldest first."""
        late = [
            (who, Refusal.SLOW_REQUEST)
            for who, stranger in self._all.items()
            if stranger.until is not None and now >= stranger.until
        ]
        gone = {who for who, _ in late}
        most = self._limits.max_strangers_per_address
        for group, there in self._silent(now).items():
            staying = [who for who in there if who not in gone]
            if group is not None:
                surplus = max(len(staying) - most, 0)
                late += [(who, Refusal.STRANGERS_OF_ADDRESS) for who in staying[:surplus]]
        return late

    def must_go(self, who: _T, refusal: Refusal, now: float) -> bool:
        """Tell whether one that was found to have to go, a moment ago, still has to."""
        stranger = self._all.get(who)
        if stranger is None:
            return False
        if refusal is Refusal.SLOW_REQUEST:
            return stranger.until is not None and now >= stranger.until
        return stranger.is_awaited

    def making_room(self, now: float) -> Sequence[_T]:
        """Return some that have to go for others: the oldest of the address with most of them."""
        groups = self._silent(now).values()
        there = max(groups, key=len, default=[])
        return there[: max(1, self._limits.max_strangers // _ROOM_SHARE)]

    def _silent(self, now: float) -> dict[str | None, list[_T]]:
        """Return whom we have waited for a while, by address, the oldest first."""
        found: dict[str | None, list[tuple[float, int, _T]]] = {}
        for at, (who, stranger) in enumerate(self._all.items()):
            if stranger.is_awaited and now - stranger.since >= _GRACE_SECONDS:
                found.setdefault(stranger.group, []).append((stranger.since, at, who))
        return {group: [who for *_, who in sorted(there)] for group, there in found.items()}
