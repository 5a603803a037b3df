"""The limit of open files: as many as the system lets a gateway have, some for no connections."""

from __future__ import annotations

import resource

from streaming.edge_limits import EdgeLimits

__all__ = ["connections_allowed", "raise_file_limit"]

# Beyond what any process needs; some systems name a billion, for which others keep tables.
_ENOUGH = 1_048_576


def raise_file_limit() -> int:
    """Raise the process's limit of open files to its hard one; return what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < most:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        except (OSError, ValueError):
            return soft  # the system has a bound of its own, as macOS does
        return most
    return most if soft == resource.RLIM_INFINITY else soft


def connections_allowed(files: int, limits: EdgeLimits) -> int:
    """Return how many connections leave ``reserved_files``, but half of the files at least."""
    return max(files - limits.reserved_files, files // 2)
