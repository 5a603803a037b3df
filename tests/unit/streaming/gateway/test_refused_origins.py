"""What the log says of refused origins, and how little of it strangers can write."""

from __future__ import annotations

import logging

import pytest

from streaming.gateway.refused_origins import MAX_PAIRS, RefusedOrigins


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_refused_page_is_told_with_both_values_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    refused = RefusedOrigins(clock=clock)
    with caplog.at_level(logging.WARNING, "streaming"):
        for _ in range(100):
            refused.note("a page's socket", "http://localhost:8080", "localhost")
        assert len(caplog.messages) == 1
        assert "'http://localhost:8080'" in caplog.messages[0]
        assert "'localhost'" in caplog.messages[0]
        clock.now = 60.0
        refused.note("a page's socket", "http://localhost:8080", "localhost")
        assert len(caplog.messages) == 2


def test_strangers_write_a_bounded_number_of_lines_of_bounded_length(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = RefusedOrigins(clock=Clock())
    with caplog.at_level(logging.WARNING, "streaming"):
        for number in range(10 * MAX_PAIRS):
            refused.note(
                "a page's socket", f"http://{number}.example/{'x' * 9000}\n", "h\r\n" * 999
            )
    assert len(caplog.messages) == MAX_PAIRS
    assert max(map(len, caplog.messages)) < 1500
    assert not any("\n" in message for message in caplog.messages)
