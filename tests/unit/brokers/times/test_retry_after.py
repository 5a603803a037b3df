"""How long a broker's answer asks us to wait, in each form that HTTP allows, and in none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokers.times.retry_after import MAX_RETRY_AFTER_SECONDS, retry_after_seconds

DATE = "Sun, 06 Nov 1994 08:49:07 GMT"


def asked(text: str, date: str = DATE) -> float | None:
    return retry_after_seconds({"Retry-After": text, "Date": date})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 30.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 30.0),
        ("Sun Nov  6 08:49:37 1994", 30.0),
    ],
)
def test_seconds_and_each_form_of_a_date_are_read(text: str, seconds: float) -> None:
    assert asked(text) == seconds


def test_a_date_that_is_over_asks_for_no_wait() -> None:
    assert asked("Sun, 06 Nov 1994 08:48:37 GMT") == 0.0


@pytest.mark.parametrize("text", ["86400", "9" * 6000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_far_end_is_bounded(text: str) -> None:
    assert asked(text) == MAX_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    "text", ["", "soon", "-5", "1.5", "²", "Wed, 99 Foo 1994", "Sun, 06 Nov 1994 08:49:99 GMT"]
)
def test_what_makes_no_sense_is_no_answer(text: str) -> None:
    assert asked(text) is None


def test_a_date_needs_the_date_of_the_answer() -> None:
    assert asked("Sun, 06 Nov 1994 08:49:37 GMT", date="yesterday") is None
    assert retry_after_seconds({"Date": DATE}) is None


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,4} [A-Z][a-z]{2} \d{1,6} [\d:]{1,9} \S*"))
def test_no_text_raises_or_exceeds_the_bound(text: str) -> None:
    seconds = asked(text)
    assert seconds is None or 0.0 <= seconds <= MAX_RETRY_AFTER_SECONDS
    assert asked("60", date=text) == 60.0
