"""Proxies that send requests on and are not trusted: told in the log, and kept for the doctor."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from django.conf import settings

__all__ = ["ProxyNotes", "proxy_notes"]

logger = logging.getLogger("openalgo_site")

NOTED_EVERY_SECONDS = 60.0
TOLD_EVERY_SECONDS = 3600.0
KEPT_SECONDS = 24 * 3600.0
MOST_ADDRESSES = 20


class ProxyNotes:
    """Times at which each address was last seen as that of a proxy. Safe from any thread.

    Args:
        path: a file that all processes of the installation share.
        clock: seconds since the epoch.
        run: calls what writes the file, one after the other; an event loop must not wait for it.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        run: Callable[[Callable[[], None]], object] = lambda write: write(),
    ) -> None:
        self._path = path
        self._clock = clock
        self._run = run
        self._lock = threading.Lock()  # guards the two below
        # When each address was written last, of at most ``MOST_ADDRESSES``.
        self._noted_at: dict[str, float] = {}
        # When the log was told of each.
        self._told_at: dict[str, float] = {}

    def note(self, address: str) -> None:
        """Note that a proxy at ``address`` sent a request on; writes at most once a minute."""
        now = self._clock()
        with self._lock:
            noted_at = self._noted_at.get(address)
            is_new = noted_at is None
            if not is_new and now - (noted_at or 0.0) < NOTED_EVERY_SECONDS:
                return
            if is_new and len(self._noted_at) >= MOST_ADDRESSES:
                return
            self._noted_at[address] = now
            is_told = now - self._told_at.get(address, float("-inf")) < TOLD_EVERY_SECONDS
            if not is_told:
                self._told_at[address] = now
        self._run(partial(self._keep, address, now))
        if not is_told:
            logger.warning(
                "requests come through a proxy at %s that is not trusted, so all of its users "
                "count as one address: name it in TRUSTED_PROXIES if it is yours",
                address,
            )

    def seen(self) -> Mapping[str, float]:
        """Return the addresses of the last day, with when they were seen last."""
        oldest = self._clock() - KEPT_SECONDS
        try:
            found = json.loads(self._path.read_text())
            return {str(name): float(at) for name, at in found.items() if float(at) > oldest}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _keep(self, address: str, now: float) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):  # the doctor then knows less
            temporary.write_text(json.dumps({**self.seen(), address: now}))
            temporary.replace(self._path)


def proxy_notes(
    run: Callable[[Callable[[], None]], object] = lambda write: write(),
) -> ProxyNotes:
    """Return the notes of this installation; ``run`` as ``ProxyNotes`` has it."""
    return ProxyNotes(Path(settings.DATA_DIR) / "proxies-seen.json", run=run)
