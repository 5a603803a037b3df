"""What fails for a while takes one line of the log a minute, and one line when it works again."""

from __future__ import annotations

from brokers.logs.failing import Failing
from brokers.words import named_error, one_line


def test_a_failure_is_told_once_a_minute_and_its_end_once():
    failing = Failing()

    assert failing.works(1.0) is None
    assert [failing.fails(at) for at in (10.0, 11.0, 69.0, 70.0)] == [True, False, False, True]
    assert failing.works(75.0) == 65.0
    assert failing.works(76.0) is None


def test_the_end_of_a_failure_that_nobody_was_told_of_is_not_told():
    failing = Failing()
    assert failing.fails(10.0)
    assert failing.works(11.0) == 1.0

    assert not failing.fails(12.0)
    assert failing.works(13.0) is None

    assert failing.fails(75.0)
    assert failing.works(76.0) == 1.0


def test_what_a_database_says_is_one_line():
    error = RuntimeError('connection to "x" failed: refused\n\tIs the server running\n on it?\n')

    assert one_line(error) == 'connection to "x" failed: refused Is the server running on it?'
    assert one_line("x" * 900) == "x" * 500
    assert named_error(error).startswith('RuntimeError: connection to "x" failed')
    assert named_error(TimeoutError(), "no answer in time") == "TimeoutError: no answer in time"
    assert named_error(TimeoutError()) == "TimeoutError"
