"""Places of large messages: so many of a user under way, a few wait, the rest is refused."""

from __future__ import annotations

import random

from streaming.edge.large_messages import LargeMessages, Place
from streaming.limits import EdgeLimits

LIMITS = EdgeLimits(user_large_messages=2, user_large_messages_waiting=2)


def test_so_many_are_under_way_some_wait_and_the_next_is_refused() -> None:
    places: LargeMessages[str] = LargeMessages(LIMITS)
    asked = [places.ask(1, who) for who in "abcde"]
    assert asked == [Place.TAKEN] * 2 + [Place.AWAITED] * 2 + [Place.REFUSED]
    assert [places.ask(1, who) for who in "ac"] == [Place.TAKEN, Place.AWAITED], "asked again"
    assert places.ask(2, "x") is Place.TAKEN, "another user's"


def test_whoever_waits_longest_has_the_place_that_is_left() -> None:
    places: LargeMessages[str] = LargeMessages(LIMITS)
    for who in "abcd":
        places.ask(1, who)
    assert places.leave(1, "a") == "c"
    assert places.ask(1, "c") is Place.TAKEN
    assert places.leave(1, "d") is None, "it waited only"
    assert places.leave(1, "b") is None
    assert places.leave(1, "b") is None
    assert places.leave(1, "c") is None
    assert repr(places) == "<LargeMessages taken=0 waiting=0>"


def test_chance_finds_no_place_that_is_lost_or_given_twice() -> None:
    chance, places = random.Random(5), LargeMessages[int](LIMITS)
    taken: set[int] = set()
    waiting: list[int] = []
    for _ in range(5000):
        who = chance.randrange(6)
        if chance.random() < 0.5:
            place = places.ask(1, who)
            if who in taken or (who not in waiting and len(taken) < 2):
                taken.add(who)
                assert place is Place.TAKEN
            elif who in waiting or len(waiting) < 2:
                waiting += [who] if who not in waiting else []
                assert place is Place.AWAITED
            else:
                assert place is Place.REFUSED
        elif who in taken:
            taken.remove(who)
            heir = waiting.pop(0) if waiting else None
            taken |= {heir} if heir is not None else set()
            assert places.leave(1, who) == heir
        else:
            assert places.leave(1, who) is None
            waiting = [each for each in waiting if each != who]
    for who in range(6):
        places.leave(1, who)
    assert repr(places) == "<LargeMessages taken=0 waiting=0>"
