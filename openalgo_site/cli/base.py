"""Parts that the subcommands of ``manage.py pool`` share: output, exit codes, declaration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from enum import IntEnum
from typing import Any, TextIO

import msgspec
from django.core.management.base import CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from brokers.times.moments import moment_text

__all__ = ["CliError", "Exit", "Options", "Output", "Subcommand", "moment", "read_time"]

Options = Mapping[str, Any]


class Exit(IntEnum):
    """Exit codes of every command of the project."""

    OK = 0
    ERROR = 1
    USAGE = 2
    OWNED_ELSEWHERE = 75
    CONFIGURATION = 78


class CliError(Exception):
    """A subcommand cannot do what was asked; the text is a sentence that says what mends it."""

    def __init__(self, sentence: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(slots=True, kw_only=True)
class Output:
    """Output of a subcommand, for people or as JSON. ``ask`` None: nobody is there to answer."""

    stream: TextIO
    as_json: bool
    ask: Callable[[str], str] | None = field(default=None, repr=False)
    is_terminal: bool = False

    def show(self, value: object, text: str) -> None:
        """Write ``value`` as JSON, or ``text`` for people."""
        self.line(
            msgspec.json.format(msgspec.json.encode(value)).decode() if self.as_json else text
        )

    def line(self, text: str) -> None:
        """Write one line, or several."""
        self.stream.write(text + "\n")

    def confirm(self, question: str) -> None:
        """Ask for a yes. Raises CliError when the answer is another, or nobody can answer."""
        if self.ask is None:
            raise CliError(f"{question} Say --yes to go on.", Exit.USAGE)
        if self.ask(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            raise CliError("Nothing was changed.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """One subcommand: its name, its help, its arguments, and what it does."""

    name: str
    help: str
    run: Callable[[Options, Output], Exit | None]
    arguments: Callable[[CommandParser], None] = lambda parser: None


def moment(value: datetime | None) -> str:
    """Return a time in TIME_ZONE, which it names, as people read it."""
    return "-" if value is None else moment_text(timezone.localtime(value))


def read_time(text: str | None, option: str, *, is_end: bool) -> datetime | None:
    """Return a time in TIME_ZONE, None for none; a date alone as an end includes that day.

    Raises:
        CliError: ``text`` is neither; names ``option``.
    """
    if not text:
        return None
    try:
        day, at = parse_date(text), None
        if day is not None:
            at = datetime.combine(day, time.min) + timedelta(days=1 if is_end else 0)
        else:
            at = parse_datetime(text)
        if at is not None and timezone.is_naive(at):
            at = timezone.make_aware(at)
    except (ValueError, OverflowError):
        at = None
    if at is None:
        raise CliError(
            f"{option} {text!r} is no time: write 2026-01-31 or 2026-01-31T09:15.", Exit.USAGE
        )
    return at
