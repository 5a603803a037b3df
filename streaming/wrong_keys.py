"""API keys that were refused of late, remembered for both doors by which keys come in."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable

from streaming.edge_limits import AuthFailures

__all__ = ["WrongKeys"]


class WrongKeys:
    """Keys that were refused within the last minute, and the addresses that they came from.

    Bounded, and safe from any thread. Nothing here keeps a valid key out.

    Args:
        per_minute: how many wrong keys an address has a minute.
        clock: monotonic seconds.
    """

    def __init__(self, *, per_minute: int, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Keys are remembered as salted digests: a typo of a real key is almost that key.
        self._salt = os.urandom(16)
        self._lock = threading.Lock()
        self._failures = AuthFailures(per_minute=per_minute)  # guarded by the lock

    def was_refused(self, key: str) -> bool:
        """Tell whether this key was refused a moment ago: then nobody need look it up again."""
        digest = self._digest(key)
        with self._lock:
            return self._failures.failed_recently(digest, self._clock())

    def refuse(self, key: str, address: str) -> int:
        """Note that a key is refused; how many seconds its address has to wait, 0 within limits."""
        digest, now = self._digest(key), self._clock()
        with self._lock:
            is_over = self._failures.record(address, digest, now)
            return self._failures.retry_after_seconds(address, now) if is_over else 0

    def _digest(self, key: str) -> bytes:
        text = key.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._salt, digest_size=16).digest()
