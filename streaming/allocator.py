"""Memory between the process and the system: what is large goes back at once, the rest when asked.

Elsewhere than on glibc only a part of it is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Callable

__all__ = ["LARGE_BYTES", "give_free_back", "return_large_pieces"]

# Longer than what ticks are read and written in, so that none of those costs a call to the system.
LARGE_BYTES = 272 * 1024
# What may be free at the end of the heap before it is given back: more than turns of ticks take.
_FREE_BYTES = 8 * 1024 * 1024
# Names of glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_clear_caches: Callable[[], object] = getattr(
    sys, "_clear_internal_caches", getattr(sys, "_clear_type_cache", lambda: None)
)


def return_large_pieces() -> None:
    """Let the system have each large piece of memory back as soon as it is free. Once.

    By itself glibc does so with the first one only, and puts those that follow, as the lists and
    answers of thousands of symbols, between small ones that last.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc alone has it
        set_option = ctypes.CDLL(None).mallopt
        set_option(_M_MMAP_THRESHOLD, LARGE_BYTES)
        set_option(_M_TRIM_THRESHOLD, _FREE_BYTES)


def give_free_back() -> None:
    """Give the system what is free, which takes some ten milliseconds per hundred megabytes.

    Python's cache of attributes is emptied before. It keeps the texts by which attributes were
    looked up, and where those are made each time (Django's compilers and the library's time zones
    do so), up to four thousand of them lie scattered over all memory that was ever in use.
    """
    _clear_caches()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
