"""The way from the event loop to the ORM and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

__all__ = ["in_database"]

P = ParamSpec("P")
T = TypeVar("T")


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in Django's thread and give its database connection back afterwards.

    Calls run one after the other. A cancelled call may still finish what it writes.
    """
    return cast(T, await database_sync_to_async(function)(*args, **kwargs))
