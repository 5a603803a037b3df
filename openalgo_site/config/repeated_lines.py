"""Log lines that repeat themselves: a few a minute, and then how many more there were."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

__all__ = ["MOST_A_MINUTE", "RepeatedLines"]

MOST_A_MINUTE = 5
_WINDOW_SECONDS = 60.0
_MOST_KINDS = 1000
# Libraries write into a line what the client sent, or where an object lies; it begins alike.
_ALIKE_CHARS = 40


class RepeatedLines(logging.Filter):
    """Lets the first five of equal lines pass in a minute; the next one says how many did not.

    Lines of ours are equal when their text is. Those of libraries are when they begin alike, before
    anything is filled in, and have the same kind of exception; answers to a client's mistakes
    (status 400 to 499) when they have the same status: whoever connects decides what is in them,
    and could fill a disk. Such an answer has no traceback either: nothing of ours failed. Keeps a
    thousand kinds, and forgets the oldest. Safe from any thread.

    Args:
        ours: names of our loggers.
        clock: seconds; None takes the time of each record.
    """

    def __init__(
        self, ours: tuple[str, ...] = (), *, clock: Callable[[], float] | None = None
    ) -> None:
        super().__init__()
        self._ours = frozenset(ours)
        self._clock = clock
        self._lock = threading.Lock()
        # When the minute of each kind began, how many passed in it, and how many were held since
        # one passed. Guarded by the lock.
        self._kinds: OrderedDict[Hashable, tuple[float, int, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; one that does says how many did not. Never raises."""
        if record.levelno < logging.WARNING:
            return True
        if _is_clients_mistake(record):
            record.exc_info = record.exc_text = None
        now = record.created if self._clock is None else self._clock()
        held = self._count(self._kind(record), now)
        if held is None:
            return False
        if held:
            record.msg = f"{_text(record)} ({held:,} more like it since the last one)"
            record.args = ()
        return True

    def _count(self, kind: Hashable, now: float) -> int | None:
        """Count one; None when it is held, otherwise how many were held before it."""
        with self._lock:
            began, passed, held = self._kinds.pop(kind, (now, 0, 0))
            if now - began >= _WINDOW_SECONDS:
                began, passed = now, 0
            if passed >= MOST_A_MINUTE:
                self._kinds[kind] = (began, passed, held + 1)
                return None
            self._kinds[kind] = (began, passed + 1, 0)
            if len(self._kinds) > _MOST_KINDS:
                self._kinds.popitem(last=False)
        return held

    def _kind(self, record: logging.LogRecord) -> Hashable:
        name = record.name
        if name.partition(".")[0] in self._ours:
            return name, record.levelno, _text(record)
        if _is_clients_mistake(record):
            return name, getattr(record, "status_code", 0)
        failed = record.exc_info[0] if record.exc_info else None
        return name, record.levelno, str(record.msg)[:_ALIKE_CHARS], failed


def _is_clients_mistake(record: logging.LogRecord) -> bool:
    status = getattr(record, "status_code", None)
    return isinstance(status, int) and 400 <= status < 500


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} {record.args}"  # they do not fit each other; the line says so
