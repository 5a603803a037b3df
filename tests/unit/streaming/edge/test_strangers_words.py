"""A stranger's spoiled requests cost the log a line a minute, whatever their number."""

from __future__ import annotations

import logging

from streaming.edge.strangers_words import StrangersWords


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


SPOILED = "Invalid HTTP request received."


def record(words: str) -> logging.LogRecord:
    return logging.LogRecord("uvicorn.error", logging.WARNING, __file__, 1, words, (), None)


def test_of_a_thousand_in_a_minute_one_passes_and_the_next_minutes_tells_their_number() -> None:
    clock = Clock()
    words = StrangersWords(clock=clock)
    assert sum(words.filter(record(SPOILED)) for _ in range(1000)) == 1
    clock.now += 60
    later = record(SPOILED)
    assert words.filter(later)
    assert later.getMessage() == f"{SPOILED} 999 more since the last time."
    clock.now += 60
    last = record(SPOILED)
    assert words.filter(last)
    assert last.getMessage() == SPOILED


def test_sentences_are_counted_apart_and_others_pass() -> None:
    words = StrangersWords(clock=Clock())
    assert words.filter(record(SPOILED))
    assert words.filter(record("Unsupported upgrade request."))
    assert all(words.filter(record("Exception in ASGI application")) for _ in range(5))
