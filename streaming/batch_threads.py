"""Threads that let the one that wakes them go on first, where the system can do that (Linux)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["batch_threads"]


@contextlib.contextmanager
def batch_threads() -> Iterator[None]:
    """Have threads that the calling one starts within be scheduled in batches.

    One that sends what another queues is woken by the first message of a burst. Scheduled as usual
    it takes the core from who queues, sends that message alone, and sleeps again, many times a
    burst; in batches it runs on an idle core at once, else when the other waits or its slice ends.
    A thread has the policy of who starts it, so the calling one has it meanwhile. Where it cannot,
    or somebody chose another policy for this process, nothing changes.
    """
    if not _follow_batches():
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _follow_batches() -> bool:
    """Change the calling thread's policy; False: it stays as it was."""
    if not (hasattr(os, "SCHED_BATCH") and hasattr(os, "sched_setscheduler")):
        return False
    with contextlib.suppress(OSError):  # as a container's rules may have it
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            return True
    return False
