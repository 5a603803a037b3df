"""What Dhan's requests change: each instrument under one code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.dhan.encoder import DhanCode, DhanName
from brokers.simulator.dhan.subscriptions import (
    BadRequestError,
    DhanBook,
    DhanChange,
    DhanRequest,
    parse_request,
)

KNOWN = {
    (segment, str(number)): DhanName(segment, str(number), code)
    for segment, code in (("NSE_EQ", 1), ("BSE_EQ", 4))
    for number in range(10)
}
FEED = (DhanCode.TICKER, DhanCode.QUOTE, DhanCode.FULL)
TICKER, QUOTE, FULL = 15, 17, 21


def names(*numbers: int, segment: str = "NSE_EQ") -> tuple[DhanName, ...]:
    return tuple(KNOWN[segment, str(number)] for number in numbers)


def message(code: int, *numbers: int, segment: str = "NSE_EQ", **changes: Any) -> str:
    listed = [{"ExchangeSegment": segment, "SecurityId": str(number)} for number in numbers]
    request = {"RequestCode": code, "InstrumentCount": len(listed), "InstrumentList": listed}
    return json.dumps(request | changes)


def parse(text: str | bytes) -> DhanRequest:
    return parse_request(text, codes=FEED, most=100)


def apply(book: DhanBook, code: int, *numbers: int, segment: str = "NSE_EQ") -> DhanChange:
    return book.apply(parse(message(code, *numbers, segment=segment)))


def book_of(limit: int = 3) -> DhanBook:
    return DhanBook(limit=limit, known=KNOWN)


def test_a_second_code_takes_the_place_of_the_first_and_no_room() -> None:
    book = book_of(limit=1)
    assert apply(book, TICKER, 1) == DhanChange(added=names(1))
    assert apply(book, QUOTE, 1) == DhanChange(added=names(1))
    assert dict(book.codes) == {names(1)[0]: DhanCode.QUOTE}
    assert apply(book, TICKER + 1, 1) == DhanChange(not_subscribed=1)
    assert apply(book, QUOTE + 1, 1) == DhanChange(ended=names(1))
    assert len(book) == 0


def test_a_request_over_the_limit_is_refused_as_a_whole_and_the_rest_stays() -> None:
    book = book_of(limit=3)
    apply(book, TICKER, 1, 2)
    assert apply(book, TICKER, 3, 4) == DhanChange(over_limit=2)
    assert apply(book, TICKER, 3) == DhanChange(added=names(3))
    assert apply(book, FULL, 1, 2, 3) == DhanChange(added=names(1, 2, 3))


def test_duplicates_and_unknown_instruments_take_no_room() -> None:
    book = book_of(limit=3)
    apply(book, FULL, 1)
    change = apply(book, FULL, 1, 2, 2, 77)
    assert change == DhanChange(added=names(2), duplicates=2, unknown=1)
    assert apply(book, FULL + 1, 2, 5, 77) == DhanChange(ended=names(2), not_subscribed=2)


def test_a_security_id_belongs_to_its_segment() -> None:
    book = book_of()
    assert apply(book, TICKER, 1, segment="BSE_EQ").added == names(1, segment="BSE_EQ")
    assert apply(book, TICKER, 1).added == names(1)


def test_a_message_may_ask_to_end_the_connection() -> None:
    request = parse('{"RequestCode":12}')
    assert request == DhanRequest(None)
    assert book_of().apply(request) == DhanChange()


def test_two_hundred_levels_are_asked_for_without_a_list() -> None:
    text = '{"RequestCode":23,"ExchangeSegment":"NSE_EQ","SecurityId":"1"}'
    request = parse_request(text, codes=(DhanCode.DEEP,), most=1, is_single=True)
    assert request == DhanRequest(DhanCode.DEEP, (("NSE_EQ", "1"),))
    with pytest.raises(BadRequestError):
        parse_request(message(23, 1), codes=(DhanCode.DEEP,), most=1, is_single=True)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        b"\x0c\x53\x00" + bytes(80),
        message(19, 1),
        message(23, 1),
        message(99, 1),
        message(TICKER),
        message(TICKER, 1, InstrumentCount=2),
        message(TICKER, *range(101)),
        message(TICKER, 1).replace('"1"', "1"),
        '{"RequestCode":15,"ExchangeSegment":"NSE_EQ","SecurityId":"1"}',
        "[" * 200_000,
    ],
)
def test_what_is_no_request_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(text)


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        book_of(limit=0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from((15, 16, 17, 18, 21, 22)),
            st.lists(st.integers(0, 12), min_size=1, max_size=6),
        ),
        max_size=30,
    )
)
def test_instruments_never_exceed_the_limit(steps: list[tuple[int, list[int]]]) -> None:
    book = book_of(limit=4)
    for code, numbers in steps:
        apply(book, code, *numbers)
        assert len(book) == len(book.codes) <= 4
