"""The log's word about pages that were refused for their origin: once a minute a pair, bounded."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["REFUSED_ORIGINS", "RefusedOrigins"]

logger = logging.getLogger("streaming")

SILENCE_SECONDS = 60.0
MAX_PAIRS = 32
MAX_SHOWN = 200


class RefusedOrigins:
    """Says which origin met which ``Host``, because the two differ where a proxy changes one.

    A pair is told once a minute, and at most 32 pairs a minute: strangers choose both values, and
    must not fill a disk. Safe from any thread.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # When each pair was told last, oldest first. Guarded by the lock.
        self._told: dict[tuple[str, str], float] = {}

    def note(self, what: str, origin: str | None, host: str) -> None:
        """Log that ``what`` was refused, unless this pair was told a moment ago."""
        pair = ((origin or "none")[:MAX_SHOWN], host[:MAX_SHOWN])
        now = self._clock()
        with self._lock:
            for each in [one for one, at in self._told.items() if now - at >= SILENCE_SECONDS]:
                del self._told[each]
            if pair in self._told or len(self._told) >= MAX_PAIRS:
                return
            self._told[pair] = now
        logger.warning(
            "%s was refused: its Origin is %r, the request's Host is %r. If both are this site, "
            "let the proxy pass the Host on as it came (nginx: proxy_set_header Host $http_host), "
            "or set PUBLIC_URL to that origin",
            what,
            *pair,
        )


REFUSED_ORIGINS = RefusedOrigins()
