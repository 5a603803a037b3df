"""What Kite's three messages change."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.zerodha.encoder import Mode
from brokers.simulator.zerodha.subscriptions import (
    Change,
    MalformedMessageError,
    SubscriptionBook,
    parse_message,
)


def book_of(*tokens: int, limit: int = 3) -> SubscriptionBook:
    book = SubscriptionBook(limit=limit, known=range(100))
    book.apply(parse_message(json.dumps({"a": "subscribe", "v": tokens})))
    return book


def apply(book: SubscriptionBook, action: str, value: object) -> Change:
    return book.apply(parse_message(json.dumps({"a": action, "v": value})))


def test_a_bare_subscription_is_in_quote_mode():
    book = book_of(1)
    assert book.mode(1) is Mode.QUOTE
    assert book.mode(2) is None


def test_over_the_limit_the_excess_is_refused_and_the_rest_taken():
    book = book_of(limit=3)
    change = apply(book, "subscribe", [1, 2, 3, 4, 5])
    assert change == Change(refreshed=(1, 2, 3), over_limit=2)
    assert apply(book, "unsubscribe", [1]).ended == (1,)
    assert apply(book, "subscribe", [5]).refreshed == (5,)


def test_duplicates_and_unknown_tokens_take_no_room_and_keep_the_mode():
    book = book_of(1)
    apply(book, "mode", ["full", [1]])
    change = apply(book, "subscribe", [1, 200, 2, 2])
    assert change == Change(refreshed=(2,), duplicates=2, unknown=1)
    assert (len(book), book.mode(1)) == (2, Mode.FULL)


def test_mode_needs_a_subscription():
    book = book_of(1)
    assert apply(book, "mode", ["ltp", [1, 1, 2]]) == Change(refreshed=(1,), not_subscribed=1)
    assert list(book) == [1]


def test_unsubscribing_what_is_not_subscribed_is_noticed():
    assert apply(book_of(1), "unsubscribe", [1, 1, 2]) == Change(ended=(1,), not_subscribed=2)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "null",
        "[]",
        "{",
        b"\xff\xfe",
        '{"a":"buy","v":[1]}',
        '{"a":"subscribe"}',
        '{"a":"subscribe","v":["408065"]}',
        '{"a":"subscribe","v":[1.5]}',
        '{"a":"subscribe","v":[true]}',
        '{"a":"mode","v":["best",[1]]}',
        '{"a":"mode","v":[[1],"full"]}',
        '{"x":' + "[" * 100_000,
    ],
    ids=lambda message: str(message)[:30],
)
def test_other_messages_are_malformed(message: str | bytes):
    with pytest.raises(MalformedMessageError):
        parse_message(message)


@given(st.binary(max_size=60))
def test_no_bytes_raise_anything_else(message: bytes):
    with pytest.raises(MalformedMessageError):
        parse_message(message)


def test_a_limit_must_be_positive():
    with pytest.raises(ValueError, match="limit must be positive"):
        SubscriptionBook(limit=0, known=())
