"""Uses of API keys: noted in memory, written now and then, and never before an answer."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime

from django.utils import timezone

__all__ = ["KEY_USES", "KeyUses"]

WRITTEN_EVERY_SECONDS = 60.0
MOST_KEYS = 10_000


class KeyUses:
    """Uses that are not written yet, at most one a minute of each key. Safe from any thread.

    What is left when the process ends is lost: a use of its last seconds.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards the two below
        # When a use of each key was noted last, the longest ago first; at most ``MOST_KEYS``.
        self._noted_at: OrderedDict[int, float] = OrderedDict()
        # The last use of each key that the database does not know yet.
        self._unwritten: dict[int, datetime] = {}

    def note(self, key_id: int) -> None:
        """Note that a key was used now."""
        now = self._clock()
        with self._lock:
            noted_at = self._noted_at.get(key_id)
            if noted_at is not None and now - noted_at < WRITTEN_EVERY_SECONDS:
                return
            self._noted_at[key_id] = now
            self._noted_at.move_to_end(key_id)
            self._unwritten[key_id] = timezone.now()
            if len(self._noted_at) > MOST_KEYS:
                oldest, _ = self._noted_at.popitem(last=False)
                self._unwritten.pop(oldest, None)

    def take(self) -> Mapping[int, datetime]:
        """Return what is to be written; ``give_back`` what could not be."""
        with self._lock:
            taken, self._unwritten = self._unwritten, {}
        return taken

    def give_back(self, taken: Mapping[int, datetime]) -> None:
        """Keep uses that could not be written for the next time."""
        with self._lock:
            self._unwritten = {**taken, **self._unwritten}


# Of this process: the pages, the API and the sockets note uses, the gateway's presence writes them.
KEY_USES = KeyUses()
