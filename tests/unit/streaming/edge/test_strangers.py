"""Which connections without authentication keep their places."""

from __future__ import annotations

import resource

import pytest

from streaming.edge.files import connections_allowed, raise_file_limit
from streaming.edge.strangers import Strangers
from streaming.edge_limits import EdgeLimits, Refusal

LIMITS = EdgeLimits(max_strangers=40, max_strangers_per_address=3, request_timeout_seconds=10.0)
LATE, SURPLUS = Refusal.SLOW_REQUEST, Refusal.STRANGERS_OF_ADDRESS


@pytest.fixture
def strangers() -> Strangers[str]:
    return Strangers(LIMITS)


def test_a_whole_request_is_due_in_time(strangers: Strangers[str]) -> None:
    strangers.enter("silent", "192.0.2.1", 0.0)
    strangers.enter("asks", "192.0.2.1", 0.0)
    strangers.serve("asks")
    assert strangers.overdue(9.9) == []
    assert strangers.overdue(10.0) == [("silent", LATE)]
    strangers.expect("asks", 100.0)
    assert strangers.overdue(109.0) == [("silent", LATE)]
    assert strangers.overdue(110.0) == [("silent", LATE), ("asks", LATE)]


def test_a_body_that_comes_steadily_has_its_time(strangers: Strangers[str]) -> None:
    """A quarter of a mebibyte over a line of 200 kbit/s."""
    strangers.enter("curl", "192.0.2.1", 0.0)
    for second in range(1, 12):
        strangers.allow_for("curl", 25_000)
        assert strangers.overdue(float(second)) == []
    assert strangers.overdue(60.0) == [("curl", LATE)]


def test_a_body_that_waits_for_us_loses_no_time(strangers: Strangers[str]) -> None:
    strangers.enter("curl", "192.0.2.1", 0.0)
    strangers.allow_for("curl", 16 * 1024)
    strangers.pause("curl", 4.0)
    strangers.heard("curl", is_more_due=True)
    assert strangers.overdue(1000.0) == []
    assert strangers.making_room(1000.0) == []
    strangers.resume("curl", 1000.0)
    strangers.resume("curl", 1003.0)
    assert strangers.overdue(1006.9) == []
    assert strangers.overdue(1007.0) == [("curl", LATE)]
    strangers.pause("curl", 1000.0)
    strangers.serve("curl")
    strangers.resume("curl", 1001.0)
    assert strangers.overdue(5000.0) == [], "a whole request waits for nothing more of its sender"


def test_a_socket_that_waits_for_its_key_has_no_end_here(strangers: Strangers[str]) -> None:
    strangers.enter("socket", "192.0.2.1", 0.0)
    strangers.expect_word("socket")
    assert strangers.overdue(1000.0) == []


def test_too_many_of_one_address_lose_the_oldest(strangers: Strangers[str]) -> None:
    for number in range(5):
        strangers.enter(f"bad{number}", "192.0.2.1", number / 10)
        strangers.expect_word(f"bad{number}")
    strangers.enter("good", "192.0.2.2", 0.0)
    assert strangers.overdue(2.9) == []
    assert strangers.overdue(4.0) == [("bad0", SURPLUS), ("bad1", SURPLUS)]
    strangers.leave("bad0")
    strangers.leave("bad1")
    assert strangers.overdue(4.0) == []


def test_whoever_waits_for_us_counts_against_nobody(strangers: Strangers[str]) -> None:
    """As many as there are come back at once: their keys are looked up one behind the other."""
    for number in range(40):
        strangers.enter(f"client{number}", "192.0.2.1", 0.0)
        strangers.serve(f"client{number}")
    assert strangers.is_full
    assert strangers.overdue(5.0) == []
    assert strangers.making_room(5.0) == []


def test_whoever_has_just_come_is_no_surplus(strangers: Strangers[str]) -> None:
    for number in range(40):
        strangers.enter(f"client{number}", "192.0.2.1", 100.0)
    assert strangers.overdue(102.9) == []
    assert strangers.making_room(102.9) == []


def test_what_was_sent_and_not_looked_at_yet_is_held_against_nobody(
    strangers: Strangers[str],
) -> None:
    for number in range(5):
        strangers.enter(f"c{number}", "192.0.2.1", 0.0)
        strangers.heard(f"c{number}", is_more_due=False)
    assert strangers.overdue(9.0) == []
    for number in range(4):
        strangers.heard(f"c{number}", is_more_due=True)
    assert strangers.overdue(9.0) == [("c0", SURPLUS)]
    assert [who for who, _ in strangers.overdue(10.0)] == [f"c{number}" for number in range(5)]


def test_an_ipv6_network_is_one_address(strangers: Strangers[str]) -> None:
    for number in range(5):
        strangers.enter(f"n{number}", f"2001:db8::{number}", 0.0)
    strangers.enter("other", "2001:db8:0:1::1", 0.0)
    assert strangers.overdue(3.0) == [("n0", SURPLUS), ("n1", SURPLUS)]


def test_clients_of_a_proxy_count_by_their_own_address(strangers: Strangers[str]) -> None:
    for number in range(10):
        strangers.enter(f"c{number}", None, 0.0)
    assert strangers.overdue(5.0) == []
    for number in range(4):
        strangers.comes_from(f"c{number}", "192.0.2.1")
        strangers.comes_from(f"c{number}", "192.0.2.2")  # it cannot move
    assert strangers.overdue(5.0) == [("c0", SURPLUS)]


def test_room_is_made_where_most_are(strangers: Strangers[str]) -> None:
    strangers.enter("alone", "192.0.2.1", 0.0)
    for number in range(3):
        strangers.enter(f"crowd{number}", "192.0.2.2", 1.0)
    assert strangers.making_room(5.0) == ["crowd0", "crowd1"]


def test_nothing_is_kept_of_those_that_left(strangers: Strangers[str]) -> None:
    strangers.enter("gone", "192.0.2.1", 0.0)
    strangers.leave("gone")
    strangers.leave("gone")
    for act in (strangers.serve, strangers.expect_word):
        act("gone")
    strangers.expect("gone", 1.0)
    strangers.allow_for("gone", 10)
    strangers.comes_from("gone", "192.0.2.1")
    assert len(strangers) == 0
    assert strangers.overdue(100.0) == []


def test_some_files_are_no_connections() -> None:
    limits = EdgeLimits(reserved_files=200)
    assert connections_allowed(1024, limits) == 824
    assert connections_allowed(256, limits) == 128


def test_the_limit_of_files_is_raised() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (700, hard))
        assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 700
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
