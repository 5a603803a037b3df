"""Waits of fractions of a millisecond on an event loop, whose own timers count whole ones."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

__all__ = ["ShortWait"]

_NONBLOCKING_CLOSED_ON_EXEC = 0o2004000  # TFD_NONBLOCK | TFD_CLOEXEC, the same on every Linux
_LEAST_SECONDS = 1e-6  # zero would mean never
_COUNT_BYTES = 8


class _TimerSpec(ctypes.Structure):
    """``struct itimerspec``: an interval of repetition, and the time until the first."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("ns", ctypes.c_long),
    )


class ShortWait:
    """One wait at a time, by a timer of the kernel where it has one to read from (Linux).

    Elsewhere it is the loop's own, which is late by up to a millisecond. Belongs to the running
    loop.

    Args:
        on_end: called on the loop when a wait is over.
    """

    def __init__(self, on_end: Callable[[], None]) -> None:
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._spec = _TimerSpec()
        self._handle: asyncio.TimerHandle | None = None  # of a wait by the loop's own timer
        self._descriptor = _make_timer()
        if self._descriptor is not None:
            self._loop.add_reader(self._descriptor, self._on_timer)

    def begin(self, seconds: float) -> None:
        """Wait for ``seconds`` from now; a wait under way ends without a call."""
        if self._descriptor is None:
            if self._handle is not None:
                self._handle.cancel()
            self._handle = self._loop.call_later(seconds, self._on_end)
            return
        whole = int(seconds)
        self._spec.seconds = whole
        self._spec.ns = int((max(seconds, _LEAST_SECONDS) - whole) * 1e9)
        _set_timer(self._descriptor, 0, ctypes.byref(self._spec), None)

    def close(self) -> None:
        """Give the timer back; a wait under way ends without a call. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _on_timer(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(BlockingIOError):  # begun again since it ended
                os.read(self._descriptor, _COUNT_BYTES)
                self._on_end()


def _nothing(*_arguments: object) -> int:
    return -1


_libc = ctypes.CDLL(None)
_create_timer = getattr(_libc, "timerfd_create", _nothing)
_set_timer = getattr(_libc, "timerfd_settime", _nothing)


def _make_timer() -> int | None:
    descriptor = int(_create_timer(time.CLOCK_MONOTONIC, _NONBLOCKING_CLOSED_ON_EXEC))
    return descriptor if descriptor >= 0 else None
