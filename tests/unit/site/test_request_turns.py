"""Which request is served next: few at a time, each client in its turn, strangers in a part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openalgo_site.turns.requests import Crowd, Place, RequestTurns, TurnRefusedError, Visitor
from streaming.edge_limits import Refusal


class Line:
    """Turns, and what they said of each request."""

    def __init__(self, **bounds: Any) -> None:
        known = Crowd(at_once=bounds.pop("known", 6), most=bounds.pop("most_known", 100))
        strangers = Crowd(at_once=bounds.pop("strangers", 3), most=bounds.pop("most", 50))
        defaults: dict[str, Any] = {
            "at_once": 6,
            "client_at_once": 3,
            "most_of_client": 20,
            "refusal": Refusal.LOGINS,
        }
        self.turns = RequestTurns(known=known, strangers=strangers, **(defaults | bounds))
        self.served: list[str] = []
        self.displaced: list[str] = []

    def come(self, name: str, share: str | None = None, *, is_known: bool = True) -> Place:
        """Let a request come and wait; its share is its name's first letter."""
        visitor = Visitor(share or name[0], is_known)
        place = self.turns.enter(
            visitor, lambda: self.served.append(name), lambda: self.displaced.append(name)
        )
        self.turns.wait(place)
        return place

    def refused(self, share: str, *, is_known: bool = True) -> Refusal:
        with pytest.raises(TurnRefusedError) as caught:
            self.come(share, is_known=is_known)
        return caught.value.refusal


def test_so_many_are_served_at_a_time_of_all_and_of_one_client() -> None:
    line = Line()
    mine = [line.come(f"a{n}") for n in range(5)]
    assert line.served == ["a0", "a1", "a2"]
    others = [line.come(f"{share}0") for share in "bcde"]
    assert line.served[3:] == ["b0", "c0", "d0"]
    line.turns.leave(mine[0])
    assert line.served[6:] == ["e0"], "who had no turn yet comes first"
    line.turns.answered(others[0])
    assert line.served[7:] == ["a3"]
    for place in mine + others:
        line.turns.leave(place)
    assert line.served[8:] == ["a4"]
    assert len(line.turns) == 0


def test_strangers_share_a_part_of_the_turns() -> None:
    line = Line()
    places = [line.come(f"{share}0", is_known=False) for share in "rstuv"]
    assert line.served == ["r0", "s0", "t0"]
    for n in range(3):
        line.come(f"a{n}")
    assert line.served[3:] == ["a0", "a1", "a2"]
    mine = line.come("b0")
    line.turns.leave(places[0])
    assert line.served[6:] == ["u0"], "those who have fewer turns come first"
    line.turns.leave(places[1])
    assert line.served[7:] == ["v0"]
    line.turns.leave(places[2])
    assert line.served[8:] == ["b0"]
    assert mine.is_served


def test_known_clients_keep_strangers_waiting_no_longer_than_others() -> None:
    line = Line()
    places = [line.come(f"{share}0") for share in "abcdefgh"]
    line.come("s0", is_known=False)
    line.turns.leave(places[0])
    assert line.served[6:] == ["s0"]


def test_each_client_is_served_in_its_turn() -> None:
    line = Line(at_once=1, client_at_once=1)
    places = {name: line.come(name) for name in ("a0", "a1", "a2", "b0", "b1", "c0")}
    while len(line.served) < len(places):
        line.turns.leave(places[line.served[-1]])
    assert line.served == ["a0", "b0", "c0", "a1", "b1", "a2"]


def test_an_answer_that_is_being_read_takes_no_turn_but_counts() -> None:
    line = Line(at_once=1, client_at_once=1, most_of_client=2)
    first = line.come("a0")
    line.turns.answered(first)
    line.turns.answered(first)
    second = line.come("a1")
    assert line.served == ["a0", "a1"]
    assert line.refused("a") is Refusal.LOGINS
    line.turns.leave(first)
    line.turns.leave(first)
    line.turns.leave(second)
    assert len(line.turns) == 0


def test_a_client_has_so_many_and_so_have_all() -> None:
    line = Line(most_of_client=3, most=5, most_known=4)
    for n in range(3):
        line.come(f"s{n}", is_known=False)
    assert line.refused("s", is_known=False) is Refusal.LOGINS
    line.come("t0", is_known=False)
    line.come("u0", is_known=False)
    assert line.refused("v", is_known=False) is Refusal.LOGINS
    # Strangers take no place of those who are known.
    for share in "abcd":
        line.come(f"{share}0")
    assert line.refused("e") is Refusal.LOGINS


def test_who_has_more_than_others_makes_room() -> None:
    line = Line(at_once=1, client_at_once=1, strangers=1, most=5)
    for n in range(5):
        line.come(f"s{n}", is_known=False)
    line.come("t0", is_known=False)
    line.come("u0", is_known=False)
    assert line.displaced == ["s4", "s3"]
    assert line.refused("s", is_known=False) is Refusal.LOGINS
    assert line.served == ["s0"]


def test_who_had_a_turn_makes_room_for_one_who_had_none() -> None:
    line = Line(at_once=1, client_at_once=1, strangers=1, most=3)
    first = line.come("s0", is_known=False)
    line.come("s1", is_known=False)
    line.come("t0", is_known=False)
    line.come("u0", is_known=False)
    assert line.displaced == ["s1"]
    line.turns.leave(first)
    assert line.served == ["s0", "t0"]
    line.come("s2", is_known=False)
    line.come("v0", is_known=False)
    assert line.displaced == ["s1", "s2"]
    # Where nobody waits any more, nobody has had one.
    assert line.refused("s", is_known=False) is Refusal.LOGINS


def test_nobody_is_served_twice_or_out_of_turn() -> None:
    line = Line()
    place = line.come("a0")
    with pytest.raises(RuntimeError, match="SERVED cannot be WAITING"):
        line.turns.wait(place)
    assert repr(line.turns) == "<RequestTurns served=1 known=1 strangers=0>"


def test_those_that_take_long_let_one_more_begin_up_to_a_bound() -> None:
    line = Line(at_once=2, most_at_once=4, client_at_once=2, strangers=2)
    mine = [line.come(f"a{n}") for n in range(4)]
    others = [line.come(f"{share}{n}") for n in range(2) for share in "bcd"]
    assert line.served == ["a0", "a1"]
    for _ in range(50):
        line.turns.serve_one_more()
    assert line.served == ["a0", "a1", "b0", "c0"], "four are served, and two of a client"
    line.turns.leave(mine[0])
    assert len(line.served) == 4, "it is one of those beyond the usual"
    line.turns.serve_one_more()
    assert line.served[4:] == ["d0"]
    for place in mine + others:
        line.turns.leave(place)
    assert not line.turns.is_waited_for


@pytest.mark.parametrize("bounds", [{"at_once": 0}, {"client_at_once": 0}, {"most_of_client": 0}])
def test_bounds_are_positive(bounds: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Line(**bounds)
    with pytest.raises(ValueError, match="at least 1"):
        Crowd(at_once=0, most=1)


@given(
    st.lists(st.tuples(st.sampled_from(["come", "wait", "answer", "leave"]), st.integers(0, 40))),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_bounds_hold_whatever_comes_and_goes(
    steps: list[tuple[str, int]], at_once: int, of_client: int
) -> None:
    turns = RequestTurns(
        at_once=at_once,
        client_at_once=of_client,
        known=Crowd(at_once=at_once, most=8),
        strangers=Crowd(at_once=max(1, at_once // 2), most=6),
        most_of_client=5,
        refusal=Refusal.LOGINS,
    )
    served: set[int] = set()
    places: dict[int, Place] = {}
    arriving: set[int] = set()
    for number, (what, at) in enumerate(steps):
        if what == "come":
            visitor = Visitor(at % 4, at % 2 == 0)

            def displaced(number: int = number) -> None:
                assert number not in served
                places.pop(number)

            def on_turn(number: int = number) -> None:
                served.add(number)

            try:
                places[number] = turns.enter(visitor, on_turn, displaced)
                arriving.add(number)
            except TurnRefusedError:
                continue
            continue
        key = next(iter(list(places)[at:]), None)
        if key is None:
            continue
        if what == "wait" and key in arriving:
            arriving.discard(key)
            turns.wait(places[key])
        elif what == "answer":
            turns.answered(places[key])
        elif what == "leave":
            turns.leave(places.pop(key))
        running = [each for each in places.values() if each.is_served]
        assert len(running) <= at_once
        assert sum(not each.visitor.is_known for each in running) <= max(1, at_once // 2)
        for share in range(4):
            assert sum(each.visitor.share == share for each in running) <= of_client
        assert len(turns) == len(places)
    # Nobody is forgotten: as others leave, everybody who waits is served.
    for key in arriving & set(places):
        turns.wait(places[key])
    while places:
        done = [each for each, place in places.items() if place.is_served]
        done = done or [each for each in places if each in served]
        assert done
        for each in done:
            turns.leave(places.pop(each))
