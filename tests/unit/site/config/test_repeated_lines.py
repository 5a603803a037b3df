"""Whatever repeats itself costs the log a few lines a minute, and its number is told."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import RequestFactory

from openalgo_site.config.repeated_lines import MOST_A_MINUTE, RepeatedLines
from tests.support import AgingClock


@pytest.fixture
def clock() -> AgingClock:
    return AgingClock()


@pytest.fixture
def logged(clock: AgingClock) -> Iterator[Callable[[str], tuple[logging.Logger, io.StringIO]]]:
    made: list[logging.Logger] = []
    lines = RepeatedLines(("ours",), clock=clock)

    def make(name: str) -> tuple[logging.Logger, io.StringIO]:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.addFilter(lines)
        logger = logging.Logger(name, logging.DEBUG)  # noqa: LOG001 - outside of the tree
        logger.addHandler(handler)
        made.append(logger)
        return logger, out

    yield make
    for logger in made:
        logger.handlers.clear()


Make = Callable[[str], tuple[logging.Logger, io.StringIO]]


def test_equal_lines_pass_five_times_and_their_number_is_told(
    logged: Make, clock: AgingClock
) -> None:
    logger, out = logged("ours.part")
    for _ in range(1000):
        logger.warning("pool %s: no route", "x")
    logger.warning("pool %s: no route", "y")
    assert out.getvalue() == "pool x: no route\n" * MOST_A_MINUTE + "pool y: no route\n"
    clock.added_seconds = 61
    logger.warning("pool %s: no route", "x")
    logger.warning("pool %s: no route", "x")
    assert out.getvalue().splitlines()[-2:] == [
        "pool x: no route (995 more like it since the last one)", "pool x: no route",
    ]  # fmt: skip


def test_lines_of_ours_that_differ_all_pass(logged: Make) -> None:
    logger, out = logged("ours")
    for number in range(100):
        logger.error("pool %d: stale", number)
    assert len(out.getvalue().splitlines()) == 100


def test_what_is_no_trouble_is_not_counted(logged: Make) -> None:
    logger, out = logged("ours")
    for _ in range(100):
        logger.info("opened")
    assert len(out.getvalue().splitlines()) == 100


@pytest.mark.parametrize("name", ["uvicorn.error", "asyncio", "django.request"])
def test_a_library_fills_no_disk_with_what_clients_send(logged: Make, name: str) -> None:
    logger, out = logged(name)
    for number in range(1000):
        try:
            raise OSError(number)
        except OSError:
            logger.exception("Not this: %s", number)
    assert out.getvalue().count("Traceback") == MOST_A_MINUTE
    try:
        raise KeyError
    except KeyError:
        logger.exception("Not this: %s", "of another kind")
    assert "of another kind" in out.getvalue()


def test_a_clients_mistake_has_no_traceback(logged: Make) -> None:
    from django.core.exceptions import DisallowedHost

    logger, out = logged("django.security.DisallowedHost")
    for number in range(1000):
        request = RequestFactory(HTTP_HOST=f"evil{number}.example").get("/")
        try:
            request.get_host()
        except DisallowedHost as error:
            logger.error(str(error), exc_info=error, extra={"status_code": 400})
    assert "Traceback" not in out.getvalue()
    assert len(out.getvalue().splitlines()) == MOST_A_MINUTE


def test_a_line_that_does_not_fit_its_arguments_passes(logged: Make) -> None:
    filtered = RepeatedLines(("ours",))
    record: Any = logging.LogRecord("ours", logging.ERROR, "", 1, "%d", ("x",), None)
    assert all(filtered.filter(record) for _ in range(MOST_A_MINUTE))
    assert not filtered.filter(record)


def test_so_many_kinds_are_remembered_and_no_more(logged: Make) -> None:
    lines = RepeatedLines(("ours",))
    for number in range(5000):
        lines.filter(logging.LogRecord("ours", logging.ERROR, "", 1, f"n {number}", (), None))
    assert len(lines._kinds) == 1000
