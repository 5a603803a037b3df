"""What Angel One's requests change: pairs of token and mode."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.angel.encoder import AngelMode, AngelName
from brokers.simulator.angel.subscriptions import (
    AngelBook,
    AngelChange,
    BadRequestError,
    parse_request,
)

KNOWN = {AngelName(1, str(number)) for number in range(10)} | {AngelName(3, "1")}
LTP, QUOTE, SNAP = 1, 2, 3


def names(*numbers: int) -> tuple[AngelName, ...]:
    return tuple(AngelName(1, str(number)) for number in numbers)


def message(action: int, mode: int, *numbers: int, kind: int = 1) -> str:
    group = {"exchangeType": kind, "tokens": [str(number) for number in numbers]}
    params = {"mode": mode, "tokenList": [group]}
    return json.dumps({"correlationID": "abcde12345", "action": action, "params": params})


def book_of(limit: int = 3) -> AngelBook:
    return AngelBook(limit=limit, known=KNOWN)


def subscribe(book: AngelBook, mode: int, *numbers: int) -> AngelChange:
    return book.apply(parse_request(message(1, mode, *numbers)))


def unsubscribe(book: AngelBook, mode: int, *numbers: int) -> AngelChange:
    return book.apply(parse_request(message(0, mode, *numbers)))


def test_the_same_token_in_two_modes_is_two_pairs() -> None:
    book = book_of()
    subscribe(book, LTP, 1)
    assert subscribe(book, QUOTE, 1) == AngelChange(added=names(1))
    assert len(book) == 2
    assert book.modes[names(1)[0]] == {AngelMode.LTP, AngelMode.QUOTE}
    assert unsubscribe(book, LTP, 1).ended == ()
    assert unsubscribe(book, QUOTE, 1).ended == names(1)
    assert len(book) == 0


def test_a_request_over_the_limit_is_refused_as_a_whole_and_the_rest_stays() -> None:
    book = book_of(limit=3)
    subscribe(book, LTP, 1, 2)
    assert subscribe(book, LTP, 3, 4) == AngelChange(over_limit=2)
    assert len(book) == 2
    assert subscribe(book, LTP, 3) == AngelChange(added=names(3))


def test_duplicates_and_unknown_tokens_take_no_room() -> None:
    book = book_of(limit=3)
    subscribe(book, SNAP, 1)
    change = subscribe(book, SNAP, 1, 2, 2, 77)
    assert change == AngelChange(added=names(2), duplicates=2, unknown=1)
    assert len(book) == 2


def test_a_token_belongs_to_its_segment() -> None:
    book = book_of()
    change = book.apply(parse_request(message(1, LTP, 1, kind=3)))
    assert change.added == (AngelName(3, "1"),)
    assert subscribe(book, LTP, 1).added == names(1)


def test_unsubscribing_another_mode_is_noticed_and_changes_nothing() -> None:
    book = book_of()
    subscribe(book, LTP, 1)
    assert unsubscribe(book, QUOTE, 1, 5) == AngelChange(not_subscribed=2)
    assert len(book) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"action":1}',
        message(2, LTP, 1),
        message(1, 5, 1),
        message(1, LTP, 1).replace('"1"', "1"),
        message(1, LTP, 1).replace("abcde12345", "abcde123456"),
        message(1, LTP, 1).replace("abcde12345", "abc-e12345"),
        "[" * 200_000,
    ],
)
def test_what_is_no_request_is_refused(text: str) -> None:
    with pytest.raises(BadRequestError):
        parse_request(text)


@pytest.mark.parametrize(("count", "kind"), [(51, 1), (1, 3)])
def test_twenty_levels_are_of_fifty_shares_of_the_nse(count: int, kind: int) -> None:
    parse_request(message(1, 4, *range(50)))
    with pytest.raises(BadRequestError) as refused:
        parse_request(message(1, 4, *range(count), kind=kind))
    assert refused.value.correlation_id == "abcde12345"


def test_a_bad_request_still_says_which_it_was() -> None:
    with pytest.raises(BadRequestError) as refusal:
        parse_request(message(9, LTP, 1))
    assert refusal.value.correlation_id == "abcde12345"


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        book_of(limit=0)


@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(1, 3), st.lists(st.integers(0, 12), max_size=6)),
        max_size=30,
    )
)
def test_pairs_are_counted_and_never_exceed_the_limit(
    steps: list[tuple[int, int, list[int]]],
) -> None:
    book = book_of(limit=8)
    for action, mode, numbers in steps:
        book.apply(parse_request(message(action, mode, *numbers)))
        assert len(book) == sum(map(len, book.modes.values())) <= 8
        assert all(book.modes.values())
