"""Progress of long work on a terminal, or as a line every few seconds where there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TextIO, TypeVar

from pooling.tables import bar

__all__ = ["Progress", "ProgressReporter", "no_progress", "reporting"]

T = TypeVar("T")

TERMINAL_SECONDS = 0.1
LINE_SECONDS = 3.0
BAR_WIDTH = 24
REPORT_EVERY = 500


class Progress(Protocol):
    """Is told how far work has come. Called often, returns at once."""

    def __call__(self, stage: str, done: int, total: int | None, unit: str) -> None:
        """Take note that ``done`` of ``total`` (None: unknown) ``unit`` of a stage are done."""


def no_progress(stage: str, done: int, total: int | None, unit: str) -> None:
    """Tell nobody."""


def reporting(items: Iterable[T], progress: Progress, stage: str, unit: str) -> Iterator[T]:
    """Yield ``items``, telling every few hundred of them how many there were."""
    done = 0
    for done, item in enumerate(items, 1):
        if done % REPORT_EVERY == 0:
            progress(stage, done, None, unit)
        yield item
    progress(stage, done, done, unit)


class ProgressReporter:
    """Writes progress to a stream, at most ten times a second on a terminal.

    Elsewhere it writes a line every three seconds, and none about work that is done before.

    Args:
        stream: where to; standard error keeps standard output for the result.
        is_terminal: whether a line may be drawn over.
        clock: monotonic seconds.
    """

    def __init__(
        self, *, stream: TextIO, is_terminal: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._is_terminal = is_terminal
        self._clock = clock
        self._written_at = -1e9 if is_terminal else clock()
        self._drawn = 0

    def __call__(self, stage: str, done: int, total: int | None, unit: str) -> None:
        """Write how far it is, unless that was said a moment ago."""
        if self._drawn and done == total:
            self.close()  # a log line may follow; nobody needs a full bar
            return
        now = self._clock()
        if now - self._written_at < (TERMINAL_SECONDS if self._is_terminal else LINE_SECONDS):
            return
        self._written_at = now
        text = _text(stage, done, total, unit)
        if self._is_terminal:
            self._stream.write("\r" + text.ljust(self._drawn))
            self._drawn = len(text)
        else:
            self._stream.write(text + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the drawn line away, so that what follows starts on a clean one."""
        if self._drawn:
            self._stream.write("\r" + " " * self._drawn + "\r")
            self._stream.flush()
            self._drawn = 0


def _text(stage: str, done: int, total: int | None, unit: str) -> str:
    if total:
        share = f"{bar(done, total, BAR_WIDTH)} {100 * done // total:3d} %  "
        return f"{stage}: {share}{done:,} of {total:,} {unit}"
    return f"{stage}: {done:,} {unit}"
