"""The in-process index of the fan-out: topic → line → subscribers. Pure.

A tick of one topic is built once per line and appended to every member of the line. Joining and
leaving cost the same however many clients there are; a client that goes away costs what it held.

A member may read through a relay, which many members share and which is then the one reader of all
of them (see ``streaming/clients/batches.py``).
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar

from streaming.protocol.held import Line

__all__ = ["Group", "Groups", "LineMembers", "Relay"]

Member = TypeVar("Member")


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
    those with a relay its shared reader.
    """

    __slots__ = ("line", "members", "mode", "readers", "topic")

    def __init__(self, topic: bytes, line: Line) -> None:
        self.topic = topic
        self.line = line
        self.mode = int(line.mode)
        self.members: set[Member] = set()
        self.readers: set[Any] = set()


class Group(Generic[Member]):
    """All lines of one topic, and when it last ticked (seconds of the hub's clock; None: never).

    ``since_seconds`` is when the first line was joined. ``busy_looks`` and ``busy_until`` belong to
    ``streaming/fanout/quiet_lines.py``: looks in a row before each of which it ticked, and its last
    tick while those were enough.
    """

    __slots__ = ("busy_looks", "busy_until", "last_tick_seconds", "lines", "since_seconds")

    def __init__(self) -> None:
        self.lines: dict[Line, LineMembers[Member]] = {}
        self.last_tick_seconds: float | None = None
        self.since_seconds: float | None = None
        self.busy_looks = 0
        self.busy_until: float | None = None


class Groups(Generic[Member]):
    """Who reads what. Not thread-safe."""

    def __init__(self) -> None:
        self._groups: dict[bytes, Group[Member]] = {}
        self._held: dict[Member, set[LineMembers[Member]]] = {}
        self._relays: dict[Member, Relay] = {}

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
        line_members.members.add(member)
        if relay is None:
            line_members.readers.add(member)
        else:
            self._relays[member] = relay
            if relay.join(line_members):
                line_members.readers.add(relay.cohort)
        self._held.setdefault(member, set()).add(line_members)
        return line_members

    def leave(self, topic: bytes, line: Line, member: Member) -> LineMembers[Member] | None:
        """Remove ``member``; returns the line that it left, None when it was not there."""
        group = self._groups.get(topic)
        line_members = group.lines.get(line) if group is not None else None
        if line_members is None or member not in line_members.members:
            return None
        held = self._held[member]
        held.discard(line_members)
        relay = self._relays.get(member)
        if not held:
            del self._held[member]
            self._relays.pop(member, None)
        self._remove(line_members, member, relay)
        return line_members

    def leave_all(self, member: Member) -> None:
        """Remove ``member`` from everything that it reads."""
        relay = self._relays.pop(member, None)
        for line_members in self._held.pop(member, set()):
            self._remove(line_members, member, relay)

    def leave_some(self, member: Member, most: int) -> bool:
        """Remove ``member`` from up to so many of its lines; True while there are further ones."""
        held = self._held.get(member, set())
        if len(held) <= most:
            self.leave_all(member)
            return False
        relay = self._relays.get(member)
        for _ in range(most):
            self._remove(held.pop(), member, relay)
        return True

    def _remove(
        self, line_members: LineMembers[Member], member: Member, relay: Relay | None
    ) -> None:
        line_members.members.discard(member)
        if relay is None:
            line_members.readers.discard(member)
        elif relay.leave(line_members):
            line_members.readers.discard(relay.cohort)
        if line_members.members:
            return
        group = self._groups[line_members.topic]
        del group.lines[line_members.line]
        if not group.lines:
            del self._groups[line_members.topic]
