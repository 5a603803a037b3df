"""Words of uvicorn on requests that strangers spoil: once a minute, and how often since."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["STRANGERS_WORDS", "StrangersWords"]

SILENCE_SECONDS = 60.0
_WORDS = ("Invalid HTTP request received.", "Unsupported upgrade request.")


class StrangersWords(logging.Filter):
    """Lets each of uvicorn's sentences about a spoiled request pass once a minute.

    uvicorn logs one for each, before anybody is known, which a stranger could fill a disk with.
    Other records are not touched. Safe from any thread.

    Args:
        clock: seconds; None takes the time of each record.
    """

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        # When each sentence passed last, and how many have not since. Guarded by the lock.
        self._passed: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; one that does says how many did not."""
        words = record.msg
        if not isinstance(words, str) or words not in _WORDS:
            return True
        now = record.created if self._clock is None else self._clock()
        with self._lock:
            at, held = self._passed.get(words, (float("-inf"), 0))
            if now - at < SILENCE_SECONDS:
                self._passed[words] = (at, held + 1)
                return False
            self._passed[words] = (now, 0)
        if held:
            record.msg = f"{words} {held:,} more since the last time."
        return True


STRANGERS_WORDS = StrangersWords()
