"""Failure that ended a group of tasks which were to run for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

__all__ = ["first_failure"]


def first_failure(tasks: Sequence[asyncio.Task[None]]) -> BaseException:
    """Return what ended the first of ``tasks`` that is done; none of them should be."""
    for task in tasks:
        if task.done() and not task.cancelled():
            error = task.exception()
            return error or RuntimeError(f"task {task.get_name()} ended by itself")
    return RuntimeError("a task of the connection was cancelled from outside")
