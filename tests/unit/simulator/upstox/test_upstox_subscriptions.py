"""What an Upstox user holds: methods, modes, and limits over all connections."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.simulator.upstox.encoder import UpstoxMode
from brokers.simulator.upstox.subscriptions import (
    KEY_LIMITS,
    BadRequestError,
    UpstoxBook,
    UpstoxChange,
    UpstoxLimits,
    UpstoxPlan,
    parse_request,
)

KNOWN = frozenset(f"NSE_FO|{number}" for number in range(7_000))
LTPC, FULL, D30 = UpstoxMode.LTPC, UpstoxMode.FULL, UpstoxMode.FULL_D30
SMALL = {LTPC: (4, 2), UpstoxMode.OPTION_GREEKS: (3, 2), FULL: (3, 1), D30: (0, 0)}


def keys(*numbers: int) -> tuple[str, ...]:
    return tuple(f"NSE_FO|{number}" for number in numbers)


def message(method: str, mode: str | None, *numbers: int) -> bytes:
    data = {"instrumentKeys": list(keys(*numbers))} | ({} if mode is None else {"mode": mode})
    return json.dumps({"guid": "g", "method": method, "data": data}).encode()


def ask(book: UpstoxBook, method: str, mode: str | None, *numbers: int) -> UpstoxChange:
    return book.apply(parse_request(message(method, mode, *numbers)))


def book_of(limits: UpstoxLimits | None = None) -> UpstoxBook:
    return UpstoxBook(limits=UpstoxLimits(SMALL) if limits is None else limits, known=KNOWN)


def test_a_key_has_one_mode_and_changes_it_in_place() -> None:
    book = book_of()
    assert ask(book, "sub", None, 1, 2) == UpstoxChange(added=keys(1, 2))
    assert book.modes == dict.fromkeys(keys(1, 2), LTPC), "which is the one by default"
    assert ask(book, "change_mode", "full", 1) == UpstoxChange(added=keys(1))
    assert book.modes == {keys(1)[0]: FULL, keys(2)[0]: LTPC}
    assert ask(book, "unsub", None, 1, 2) == UpstoxChange(ended=keys(1, 2))
    assert len(book) == 0


def test_bad_manners_are_told_and_change_nothing() -> None:
    book = book_of()
    ask(book, "sub", "ltpc", 1)
    assert ask(book, "sub", "full", 1) == UpstoxChange(duplicates=1)
    assert ask(book, "sub", "ltpc", 2, 2, 9_000) == UpstoxChange(
        added=keys(2), duplicates=1, unknown=1
    )
    assert ask(book, "unsub", None, 3) == UpstoxChange(not_subscribed=1)
    assert ask(book, "change_mode", "full", 3) == UpstoxChange(not_subscribed=1)


@pytest.mark.parametrize("mode", list(KEY_LIMITS))
def test_a_normal_account_has_so_many_keys_of_a_mode(mode: UpstoxMode) -> None:
    alone, _ = KEY_LIMITS[mode]
    book = UpstoxBook(limits=UpstoxLimits(), known=KNOWN)
    assert len(ask(book, "sub", mode, *range(alone)).added) == alone
    assert ask(book, "sub", mode, alone) == UpstoxChange(over_limit=1)


def test_a_plus_account_has_five_connections_and_fifty_keys_of_thirty_levels() -> None:
    assert (UpstoxPlan.NORMAL.connections, UpstoxPlan.PLUS.connections) == (2, 5)
    assert UpstoxPlan.NORMAL.key_limits == KEY_LIMITS
    limits = UpstoxLimits(UpstoxPlan.PLUS.key_limits)
    book = UpstoxBook(limits=limits, known=KNOWN)
    ask(book, "sub", "full", 60)
    assert len(ask(book, "sub", "full_d30", *range(50)).added) == 50
    assert ask(book, "sub", "full_d30", 50) == UpstoxChange(over_limit=1)
    assert ask(book, "change_mode", "full_d30", 60) == UpstoxChange(over_limit=1)
    assert len(ask(book, "sub", "full", *range(61, 1_560)).added) == 1_499
    assert ask(book, "sub", "full", 1_560) == UpstoxChange(over_limit=1)


def test_beside_another_mode_each_has_less_also_on_another_connection() -> None:
    limits = UpstoxLimits(SMALL)
    one, other = book_of(limits), book_of(limits)
    ask(one, "sub", "ltpc", 1, 2)
    assert ask(other, "sub", "full", 3).added == keys(3)
    assert ask(other, "sub", "full", 4) == UpstoxChange(over_limit=1)
    assert ask(one, "sub", "ltpc", 4) == UpstoxChange(over_limit=1)
    assert ask(one, "change_mode", "full", 1) == UpstoxChange(over_limit=1)
    other.clear()
    assert ask(one, "sub", "ltpc", 4).added == keys(4)
    assert len(limits) == len(one) == 3


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b"[]",
        b'{"guid":"g","method":"sub"}',
        message("sub", "quote", 1),
        message("subscribe", "full", 1),
        message("change_mode", None, 1),
        message("sub", "full", 1).replace(b'"g"', b'""'),
        message("sub", "full", 1).decode(),  # text
        b"[" * 200_000,
        b"\xff",
    ],
)
def test_what_is_no_request_is_refused(text: str | bytes) -> None:
    with pytest.raises(BadRequestError):
        parse_request(text)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(["sub", "change_mode", "unsub"]),
            st.sampled_from(["ltpc", "full", "option_greeks"]),
            st.lists(st.integers(0, 8), max_size=4),
        ),
        max_size=30,
    )
)
def test_limits_hold_whatever_is_asked(
    steps: list[tuple[int, str, str, list[int]]],
) -> None:
    limits = UpstoxLimits(SMALL)
    books = (book_of(limits), book_of(limits))
    for which, method, mode, numbers in steps:
        ask(books[which], method, mode, *numbers)
        held = [each for book in books for each in book.modes.values()]
        assert len(limits) == len(held)
        for each in set(held):
            assert held.count(each) <= SMALL[each][len(set(held)) > 1]
