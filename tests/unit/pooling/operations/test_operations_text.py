"""Tables, bars and progress, as people read them."""

from __future__ import annotations

import io

import pytest

from pooling.progress import ProgressReporter, reporting
from pooling.tables import age, bar, cut, pairs, table


def test_columns_are_aligned_and_numbers_flush_right() -> None:
    shown = table(("ID", "NAME"), [("7", "a"), ("1,000", "long")], right=(0,))
    assert shown.splitlines() == ["   ID  NAME", "    7  a", "1,000  long"]


def test_wide_and_combining_signs_count_as_the_terminal_counts() -> None:
    shown = table(("A", "B"), [("日本", "x"), ("e\u0301", "x")])
    assert shown.splitlines()[1:] == ["日本  x", "e\u0301     x"]


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in table(("A",), [("\x1b[2J",)])
    assert "\x1b" not in pairs([("a", "\x1b[2J")])
    assert "\n" not in cut("a\nb", 10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (-1, "0.0 s"), (0.42, "0.4 s"), (9.96, "10 s"), (119, "119 s"), (300, "5 min"),
     (7200, "2 h"), (3 * 86400, "3 d")],
)  # fmt: skip
def test_ages_are_said_briefly(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


@pytest.mark.parametrize(
    ("used", "capacity", "text"),
    [(0, 10, "[----]"), (1, 1000, "[#---]"), (5, 10, "[##--]"), (10, 10, "[####]"),
     (11, 10, "[!!!!]"), (0, 0, "[----]")],
)  # fmt: skip
def test_bars(used: int, capacity: int, text: str) -> None:
    assert bar(used, capacity, 4) == text


def test_cut_says_that_something_is_missing() -> None:
    assert cut("abcdef", 4) == "abc…"
    assert cut("abcd", 4) == "abcd"
    assert cut("abc", 0) == ""


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_line_every_three_seconds() -> None:
    out, clock = io.StringIO(), Clock()
    report = ProgressReporter(stream=out, is_terminal=False, clock=clock)
    for second in range(10):
        clock.now = second
        report("storing", second * 10, 100, "rows")
    report.close()
    lines = out.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0] == "storing: [#######-----------------]  30 %  30 of 100 rows"
    assert "\r" not in out.getvalue()


def test_on_a_terminal_one_line_is_drawn_over_and_taken_away() -> None:
    out, clock = io.StringIO(), Clock()
    report = ProgressReporter(stream=out, is_terminal=True, clock=clock)
    report("downloading", 10, None, "bytes")
    report("downloading", 11, None, "bytes")  # too soon
    clock.now = 1.0
    report("downloading", 2_000, None, "bytes")
    assert "11 bytes" not in out.getvalue()
    report("storing", 5, 5, "rows")
    assert out.getvalue().endswith("\r")
    assert "\n" not in out.getvalue()


def test_counting_passes_everything_on() -> None:
    told: list[int] = []
    items = reporting(range(1_200), lambda stage, done, total, unit: told.append(done), "x", "rows")
    assert list(items) == list(range(1_200))
    assert told == [500, 1_000, 1_200]
