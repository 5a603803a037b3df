"""The index of the fan-out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokers.types import FeedMode
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
    assert first.members == {"a", "b"}
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
    assert groups.by_topic[b"t"].lines[QUOTE].members == {"a"}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["join", "leave", "leave_all"]),
            st.sampled_from([b"t", b"u", b"v"]),
            st.sampled_from([QUOTE, DEPTH, Line(FeedMode.DEPTH, ":20")]),
            st.sampled_from(["a", "b", "c"]),
        ),
        max_size=60,
    )
)
def test_the_index_equals_a_plain_set_of_memberships(
    steps: list[tuple[str, bytes, Line, str]],
) -> None:
    groups: Groups[str] = Groups()
    expected: set[tuple[bytes, Line, str]] = set()
    for verb, topic, line, member in steps:
        if verb == "join":
            groups.join(topic, line, member)
            expected.add((topic, line, member))
        elif verb == "leave":
            groups.leave(topic, line, member)
            expected.discard((topic, line, member))
        else:
            groups.leave_all(member)
            expected = {entry for entry in expected if entry[2] != member}
        found = {
            (topic, line, member)
            for topic, group in groups.by_topic.items()
            for line, line_members in group.lines.items()
            for member in line_members.members
        }
        assert found == expected
        assert all(
            group.lines and all(line.members for line in group.lines.values())
            for group in groups.by_topic.values()
        ), "empty groups are removed"
        for name in "abc":
            assert len(groups._held.get(name, ())) == sum(e[2] == name for e in expected)


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
    assert groups.by_topic[b"0"].lines[QUOTE].members == {"b"}
    assert not groups.leave_some("batched", 1)
    assert groups.leave(b"0", QUOTE, "b") is not None
    assert len(groups) == 0
