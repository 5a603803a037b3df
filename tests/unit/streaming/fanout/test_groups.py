"""The index of the fan-out."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.types import FeedMode
from streaming.fanout import index
from streaming.fanout.index import Groups
from streaming.protocol.held import Line

QUOTE = Line(FeedMode.QUOTE)
DEPTH = Line(FeedMode.DEPTH)


class SharedReader:
    """A relay that is its own shared reader, with one member."""

    @property
    def cohort(self) -> SharedReader:
        return self

    def join(self, line: object) -> bool:
        return True

    def leave(self, line: object) -> bool:
        return True


def test_members_of_a_line_share_it() -> None:
    groups: Groups[str] = Groups()
    first = groups.join(b"t", QUOTE, "a")
    assert groups.join(b"t", QUOTE, "b") is first
    assert set(first.members) == {"a", "b"}
    assert groups.join(b"t", DEPTH, "a") is not first


def test_joining_twice_is_joining_once() -> None:
    groups: Groups[str] = Groups()
    groups.join(b"t", QUOTE, "a")
    groups.join(b"t", QUOTE, "a")
    assert groups.leave(b"t", QUOTE, "a") is not None
    assert len(groups) == 0


def test_whether_anybody_reads_each_tick_at_once() -> None:
    groups: Groups[str] = Groups()
    relay = SharedReader()
    assert not groups.has_direct
    groups.join(b"t", QUOTE, "batched", relay)
    assert not groups.has_direct
    groups.join(b"t", QUOTE, "direct")
    groups.join(b"u", QUOTE, "batched", relay)
    assert groups.has_direct
    groups.leave_all("batched")
    assert groups.has_direct
    groups.leave(b"t", QUOTE, "direct")
    assert not groups.has_direct


def test_leaving_what_was_not_joined_does_nothing() -> None:
    groups: Groups[str] = Groups()
    groups.join(b"t", QUOTE, "a")
    assert groups.leave(b"t", DEPTH, "a") is None
    assert groups.leave(b"t", QUOTE, "b") is None
    assert groups.leave(b"u", QUOTE, "a") is None
    groups.leave_all("b")
    assert groups.by_topic[b"t"].lines[QUOTE].members == ("a",)


class Relayed:
    """One member's relay to a shared reader, which reads a line while any of its members does."""

    def __init__(self, cohort: Counter[object]) -> None:
        self._readers = cohort
        self._lines: set[object] = set()

    @property
    def cohort(self) -> str:
        return "shared"

    def join(self, line: object) -> bool:
        assert line not in self._lines
        self._lines.add(line)
        self._readers[line] += 1
        return self._readers[line] == 1

    def leave(self, line: object) -> bool:
        self._lines.remove(line)
        self._readers[line] -= 1
        return not self._readers[line]


@pytest.mark.parametrize("few", [1, 2, 16])
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["join", "join", "leave", "leave_all"]),
            st.sampled_from([b"t", b"u", b"v"]),
            st.sampled_from([QUOTE, DEPTH, Line(FeedMode.DEPTH, ":20")]),
            st.sampled_from(["a", "b", "c", "relayed", "relayed too"]),
        ),
        max_size=60,
    )
)
def test_the_index_equals_a_plain_set_of_memberships(
    few: int, steps: list[tuple[str, bytes, Line, str]]
) -> None:
    """Whether those who read a line are few or many, and whoever of them shares a reader."""
    groups: Groups[str] = Groups()
    cohort: Counter[object] = Counter()
    relays = {name: Relayed(cohort) for name in ("relayed", "relayed too")}
    expected: set[tuple[bytes, Line, str]] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_FEW", few)
        for verb, topic, line, member in steps:
            if verb == "join":
                groups.join(topic, line, member, relays.get(member))
                expected.add((topic, line, member))
            elif verb == "leave":
                was_there = (topic, line, member) in expected
                assert (groups.leave(topic, line, member) is not None) == was_there
                expected.discard((topic, line, member))
            else:
                groups.leave_all(member)
                expected = {entry for entry in expected if entry[2] != member}
            check(groups, expected, relays)


def check(
    groups: Groups[str], expected: set[tuple[bytes, Line, str]], relays: dict[str, Relayed]
) -> None:
    read = [
        (topic, line, line_members)
        for topic, group in groups.by_topic.items()
        for line, line_members in group.lines.items()
    ]
    found = [(topic, line, each) for topic, line, it in read for each in it.members]
    assert len(found) == len(set(found))
    assert set(found) == expected
    for _, _, line_members in read:
        assert line_members.members, "empty groups are removed"
        readers = ["shared" if each in relays else each for each in line_members.members]
        assert sorted(line_members.readers) == sorted(set(readers))
    for name in ["a", "b", "c", *relays]:
        assert len(groups._held.get(name, ())) == sum(entry[2] == name for entry in expected)
    direct = {entry[2] for entry in expected} - set(relays)
    assert groups.has_direct == bool(direct)


def test_what_is_read_by_a_few_takes_little_memory() -> None:
    """So that the 100,000 instruments that a user may hold fit the process."""
    topics, members = [b"%d" % number for number in range(1000)], range(1, 12)
    groups: Groups[int] = Groups()
    for topic in topics:
        groups.join(topic, QUOTE, 0)
    gc.collect()
    tracemalloc.start()
    try:
        for member in members:
            for topic in topics:
                groups.join(topic, QUOTE, member)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / (len(topics) * len(members)) < 30  # bytes; by sets it was 126


def test_who_comes_and_goes_leaves_nothing_in_its_list() -> None:
    groups: Groups[str] = Groups()
    groups.join(b"kept", QUOTE, "a")
    groups.join(b"t", QUOTE, "b")
    for _ in range(1000):
        groups.join(b"t", QUOTE, "a")
        groups.leave(b"t", QUOTE, "a")
    assert len(groups._held["a"]) == 1
    assert len(groups._held["a"]._lines) <= 3
    groups.leave_all("a")
    assert list(groups.by_topic) == [b"t"]


def test_who_holds_much_may_leave_a_part_at_a_time() -> None:
    groups: Groups[str] = Groups()
    for number in range(5):
        groups.join(b"%d" % number, QUOTE, "a")
    groups.join(b"0", QUOTE, "b")
    groups.join(b"0", DEPTH, "batched", SharedReader())
    left = []
    while groups.leave_some("a", 2):
        left.append(len(groups._held["a"]))
    assert left == [3, 1]
    assert "a" not in groups._held
    assert not groups.leave_some("a", 2)
    assert len(groups) == 1
    assert groups.by_topic[b"0"].lines[QUOTE].members == ("b",)
    assert not groups.leave_some("batched", 1)
    assert groups.leave(b"0", QUOTE, "b") is not None
    assert len(groups) == 0
