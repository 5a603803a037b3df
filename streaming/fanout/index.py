"""The in-process index of the fan-out: topic → line → subscribers. Pure.

A tick of one topic is built once per line and appended to every member of the line. Joining and
leaving cost the same however many clients there are; a client that goes away costs what it held.

A member may read through a relay, which many members share and which is then the one reader of all
of them (see ``streaming/clients/batches.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, Protocol, TypeVar

from streaming.protocol.held import Line

__all__ = ["Group", "Groups", "LineMembers", "Relay"]

Member = TypeVar("Member")

# Up to so many are a tuple, which is looked through.
_FEW = 16
_MANY = 1000


class Relay(Protocol):
    """One member's way through a reader that others share."""

    @property
    def cohort(self) -> Any:
        """The shared reader."""

    def join(self, line: Any) -> bool:
        """Read ``line``; True when the shared reader did not before."""

    def leave(self, line: Any) -> bool:
        """Read ``line`` no more; True when the shared reader need not either."""


class LineMembers(Generic[Member]):
    """The members that read one line of one topic. Also the key of that line in their outboxes.

    ``members`` are all of them; ``readers`` are whom a tick is given to: members, and in place of
    those with a relay its shared reader. Both are one collection until a member has a relay, and a
    tuple while they are few: thousands of topics have a few readers each, and a set of five takes
    seven hundred bytes.
    """

    __slots__ = ("line", "members", "mode", "readers", "topic")

    def __init__(self, topic: bytes, line: Line) -> None:
        self.topic = topic
        self.line = line
        self.mode = int(line.mode)
        # Both as above: changed by ``add`` and ``remove`` only.
        self.members: tuple[Member, ...] | set[Member] = ()
        self.readers: tuple[Any, ...] | set[Any] = self.members

    def add(self, member: Member, relay: Relay | None) -> None:
        """Let one more read the line, which does not yet."""
        is_one = self.readers is self.members
        if relay is None:
            self.members = _with(self.members, member)
            self.readers = self.members if is_one else _with(self.readers, member)
            return
        if is_one and isinstance(self.members, set):
            self.readers = set(self.members)
        self.members = _with(self.members, member)
        if relay.join(self):
            self.readers = _with(self.readers, relay.cohort)

    def remove(self, member: Member, relay: Relay | None) -> None:
        """Let one that reads the line do so no more."""
        is_one = self.readers is self.members
        self.members = _without(self.members, member)
        if is_one:
            self.readers = self.members
        elif relay is None:
            self.readers = _without(self.readers, member)
        elif relay.leave(self):
            self.readers = _without(self.readers, relay.cohort)


def _with(those: tuple[Any, ...] | set[Any], one: Any) -> tuple[Any, ...] | set[Any]:
    """Return ``those`` and ``one``; a set is changed in its place."""
    if isinstance(those, set):
        those.add(one)
        return those
    return (*those, one) if len(those) < _FEW else {*those, one}


def _without(those: tuple[Any, ...] | set[Any], one: Any) -> tuple[Any, ...] | set[Any]:
    """Return ``those`` but ``one``; as ``_with``."""
    if not isinstance(those, set):
        return tuple(each for each in those if each != one)
    those.discard(one)
    return those if len(those) > _FEW // 2 else tuple(those)


class _Lines(Generic[Member]):
    """The lines that one member reads: a list, as a set takes seven times as much.

    What is left is struck out of it once that is the half.
    """

    __slots__ = ("_left", "_lines")

    def __init__(self) -> None:
        # Joined, those that were left included until they are struck out.
        self._lines: list[LineMembers[Member]] = []
        self._left = 0  # entries of lines that were left, those that were joined again included

    def __len__(self) -> int:
        return len(self._lines) - self._left

    def add(self, line_members: LineMembers[Member]) -> None:
        """Note a line that was joined."""
        self._lines.append(line_members)

    def strike(self, member: Member) -> None:
        """Note that ``member``, whose lines these are, has left one of them."""
        self._left += 1
        if 2 * self._left > len(self._lines):
            read = (each for each in self._lines if member in each.members)
            self._lines, self._left = list(dict.fromkeys(read)), 0

    def take(self, member: Member, most: int) -> Iterator[LineMembers[Member]]:
        """Remove and yield lines that ``member`` still reads, having looked at up to ``most``.

        Whoever takes one leaves it before the next.
        """
        for _ in range(min(most, len(self._lines))):
            line_members = self._lines.pop()
            if member in line_members.members:
                yield line_members
            else:
                self._left -= 1


class Group(Generic[Member]):
    """All lines of one topic, and when it last ticked (seconds of the hub's clock; None: never).

    ``since_seconds`` is when the first line was joined. ``busy_looks`` and ``busy_until`` belong to
    ``streaming/fanout/quiet_lines.py``: looks in a row before each of which it ticked, and its last
    tick while those were enough.
    """

    __slots__ = ("busy_looks", "busy_until", "last_tick_seconds", "lines", "since_seconds")

    def __init__(self) -> None:
        self.lines: dict[Line, LineMembers[Member]] = {}  # that somebody reads
        self.last_tick_seconds: float | None = None
        self.since_seconds: float | None = None
        self.busy_looks = 0
        self.busy_until: float | None = None


class Groups(Generic[Member]):
    """The index of all topics: who reads what. Not thread-safe."""

    def __init__(self) -> None:
        self._groups: dict[bytes, Group[Member]] = {}  # by topic
        self._held: dict[Member, _Lines[Member]] = {}  # without empty ones
        self._relays: dict[Member, Relay] = {}  # of members that have one

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"<Groups topics={len(self._groups)} members={len(self._held)}>"

    @property
    def has_direct(self) -> bool:
        """Whether any member reads without a relay, so that each tick goes out at once."""
        return len(self._held) > len(self._relays)

    @property
    def by_topic(self) -> dict[bytes, Group[Member]]:
        """The index itself, for the fan-out loop; read only."""
        return self._groups

    def join(
        self, topic: bytes, line: Line, member: Member, relay: Relay | None = None
    ) -> LineMembers[Member]:
        """Add ``member``, always with the same relay if any; joining twice changes nothing."""
        group = self._groups.get(topic)
        if group is None:
            group = self._groups[topic] = Group()
        line_members = group.lines.get(line)
        if line_members is None:
            line_members = group.lines[line] = LineMembers(topic, line)
        if relay is not None:
            self._relays[member] = relay
        if member not in line_members.members:
            line_members.add(member, relay)
            held = self._held.get(member)
            if held is None:
                held = self._held[member] = _Lines()
            held.add(line_members)
        return line_members

    def leave(self, topic: bytes, line: Line, member: Member) -> LineMembers[Member] | None:
        """Remove ``member``; returns the line that it left, None when it was not there."""
        group = self._groups.get(topic)
        line_members = group.lines.get(line) if group is not None else None
        if line_members is None or member not in line_members.members:
            return None
        self._remove(line_members, member)
        held = self._held[member]
        held.strike(member)
        self._tidy(member, held)
        return line_members

    def leave_all(self, member: Member) -> None:
        """Remove ``member`` from everything that it reads."""
        while self.leave_some(member, _MANY):
            pass

    def leave_some(self, member: Member, most: int) -> bool:
        """Remove ``member`` from up to so many of its lines; True while there are further ones."""
        held = self._held.get(member)
        if held is None:
            return False
        for line_members in held.take(member, most):
            self._remove(line_members, member)
        return self._tidy(member, held)

    def _tidy(self, member: Member, held: _Lines[Member]) -> bool:
        """Keep nothing of a member that reads nothing; True where it reads something."""
        if held:
            return True
        del self._held[member]
        self._relays.pop(member, None)
        return False

    def _remove(self, line_members: LineMembers[Member], member: Member) -> None:
        line_members.remove(member, self._relays.get(member))
        if line_members.members:
            return
        group = self._groups[line_members.topic]
        del group.lines[line_members.line]
        if not group.lines:
            del self._groups[line_members.topic]
