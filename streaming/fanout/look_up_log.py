"""The log's word, once a minute, that look-ups of requests in the directory fail."""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum

from brokers.logs.failing import Failing
from brokers.words import one_line
from streaming.exceptions import DirectoryUnavailableError

__all__ = ["LookUp", "LookUpLog"]

logger = logging.getLogger("streaming")


class LookUp(StrEnum):
    """The parts that are looked up of a request's symbols, as a line of the log names it."""

    EXACT_NAMES = "symbols"
    NEAREST_NAMES = "the nearest symbols"


class LookUpLog:
    """Says once a minute that look-ups fail, however many requests ask. For one event loop.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By what fails by itself: the one query may be too slow while the other is answered.
        self._failing = {each: Failing() for each in LookUp}

    def __repr__(self) -> str:
        failures = {each.name: failing.failures for each, failing in self._failing.items()}
        return f"<LookUpLog {failures}>"

    def failed(self, what: LookUp, error: Exception) -> None:
        """Note that a look-up failed, one that nobody foresaw with its traceback."""
        if self._failing[what].fails(self._clock()):
            is_known = isinstance(error, DirectoryUnavailableError | TimeoutError)
            logger.warning(
                "gateway: %s cannot be looked up%s",
                what,
                f": {one_line(error) or 'too slow'}" if is_known else "",
                exc_info=None if is_known else error,
            )

    def worked(self, what: LookUp) -> None:
        """Note that the directory answered; says so where it was said that it did not."""
        if (away := self._failing[what].works(self._clock())) is not None:
            logger.info("gateway: %s are looked up again, after %.0f s", what, away)
