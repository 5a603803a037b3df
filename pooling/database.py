"""The way from the event loop to the ORM and back: one lane for what writes, another for look-ups.

Somebody always waits for a look-up; nobody waits for what is written. A database that is locked for
writing, as SQLite's is by any writer, must therefore not hold look-ups up.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

__all__ = ["from_database", "in_database"]

P = ParamSpec("P")
T = TypeVar("T")

# As many look-ups as run at the same time; each takes milliseconds, or hangs with the database.
_READERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="look-up")


async def in_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in Django's thread and give its database connection back afterwards.

    Calls run one after the other. A cancelled call may still finish what it writes.
    """
    return cast(T, await database_sync_to_async(function)(*args, **kwargs))


async def from_database(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function``, which only reads, in a thread that no writing call ever holds up.

    A few run at the same time. A cancelled call that waits for its turn is not made; one under way
    goes on for as long as the database keeps it.
    """
    call = database_sync_to_async(function, thread_sensitive=False, executor=_READERS)
    return cast(T, await call(*args, **kwargs))
