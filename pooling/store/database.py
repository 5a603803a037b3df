"""The way from the event loop to the ORM and back: one lane for what writes, another for look-ups.

Somebody always waits for a look-up; nobody waits for what is written. A database that is locked for
writing, as SQLite's is by any writer, must therefore not hold look-ups up.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async
from django.db import connections

__all__ = ["from_database", "in_database", "keep_connections"]

P = ParamSpec("P")
T = TypeVar("T")

# As many look-ups as run at the same time; each takes milliseconds, or hangs with the database.
_READERS = ThreadPoolExecutor(max_workers=4, thread_name_prefix="look-up")

# A file that was put in the database's place is noticed this soon, too.
_KEPT_SECONDS = 5


def keep_connections() -> None:
    """Have every thread of this process use a connection to SQLite for 5 s, not for one call.

    To open the file costs several times what most calls of a worker do with it. For a process of a
    few threads that live as long as it does, and before they begin: one that ends would leave its
    connection open. PostgreSQL's come from a pool, which is given each back after the call.
    """
    for one in connections.settings.values():
        if one["ENGINE"] == "django.db.backends.sqlite3":
            one["CONN_MAX_AGE"] = _KEPT_SECONDS


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
