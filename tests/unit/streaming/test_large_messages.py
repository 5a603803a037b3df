"""Places of large messages: so many of a user under way, a few wait, the rest is refused."""

from __future__ import annotations

import random

from streaming.edge.large_messages import LargeMessages, Place
from streaming.edge_limits import EdgeLimits

LIMITS = EdgeLimits(user_large_messages=2, user_large_messages_waiting=2)


def test_so_many_are_under_way_some_wait_and_the_next_is_refused() -> None:
    places: LargeMessages[str] = LargeMessages(LIMITS)
    asked = [places.ask(1, who) for who in "abcde"]
    assert asked == [Place.TAKEN] * 2 + [Place.AWAITED] * 2 + [Place.REFUSED]
    assert [places.ask(1, who) for who in "cc"] == [Place.AWAITED] * 2, "asked again"
    assert places.ask(2, "x") is Place.TAKEN, "another user's"


def test_whoever_waits_longest_has_the_place_that_is_left() -> None:
    places: LargeMessages[str] = LargeMessages(LIMITS)
    for who in "abcd":
        places.ask(1, who)
    assert places.leave(1, "a") == "c"
    assert places.leave(1, "d") is None, "it waited only"
    assert places.ask(1, "c") is Place.TAKEN
    assert places.leave(1, "b") is None
    assert places.leave(1, "b") is None
    assert places.leave(1, "c") is None
    assert repr(places) == "<LargeMessages taken=0 waiting=0>"


def test_whoever_sends_one_behind_the_other_lets_those_go_first_that_wait() -> None:
    places: LargeMessages[str] = LargeMessages(LIMITS)
    assert [places.ask(1, who) for who in "aaab"] == [Place.TAKEN] * 4, "nobody waits"
    assert [places.ask(1, who) for who in "cda"] == [Place.AWAITED] * 3, "beyond those that may"
    assert places.served(1, "a") == "c"
    assert places.served(1, "a") is None, "it waits only"
    assert places.served(1, "c") == "d"
    assert places.served(1, "b") == "a"
    assert places.ask(1, "a") is Place.TAKEN
    assert places.ask(1, "b") is Place.AWAITED
    assert places.ask(1, "d") is Place.AWAITED
    assert places.leave(1, "d") == "b", "which gives up its wait, too"
    assert [places.leave(1, who) for who in "ab"] == [None, None]
    assert repr(places) == "<LargeMessages taken=0 waiting=0>"


def test_chance_finds_no_place_that_is_lost_or_given_twice() -> None:
    chance, places = random.Random(5), LargeMessages[int](LIMITS)
    taken: set[int] = set()
    waiting: list[int] = []
    for _ in range(5000):
        who = chance.randrange(6)
        if chance.random() < 0.5:
            place = places.ask(1, who)
            if not waiting and (who in taken or len(taken) < 2):
                taken.add(who)
                assert place is Place.TAKEN
            elif who in waiting or who in taken or len(waiting) < 2:
                waiting += [who] if who not in waiting else []
                assert place is Place.AWAITED
            else:
                assert place is Place.REFUSED
            continue
        is_gone = chance.random() < 0.5
        if is_gone:
            waiting = [each for each in waiting if each != who]
        heir = None
        if who in taken:
            taken.remove(who)
            heir = waiting.pop(0) if waiting else None
            taken |= {heir} if heir is not None else set()
        assert (places.leave if is_gone else places.served)(1, who) == heir
    for who in range(6):
        places.leave(1, who)
    assert repr(places) == "<LargeMessages taken=0 waiting=0>"
