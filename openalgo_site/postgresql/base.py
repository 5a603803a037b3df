"""Django's PostgreSQL backend, for servers that are started again and for poolers in front of them.

A server that was restarted leaves a pool full of dead connections. psycopg's own check finds one
of them at a time and waits ever longer in between, so that a pool of ten fails its first callers
after ``DB_CONNECTION_TIMEOUT`` though the server has long been back. Here the first dead one that
is found makes the pool look at all others at once.
"""

from __future__ import annotations

import atexit
import time
from typing import Any

from django.db.backends.postgresql import base
from psycopg import Connection, Error, OperationalError
from psycopg_pool import PoolTimeout

__all__ = ["DatabaseWrapper"]

WHY_SECONDS = 2
CLOSE_SECONDS = 1.0


class DatabaseWrapper(base.DatabaseWrapper):
    """Hands out connections that the server answered on a moment ago."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Return a connection of the pool that works, or a new one without a pool.

        Raises:
            OperationalError: none could be had within the pool's time-out, and why.
        """
        try:
            connection = super().get_new_connection(conn_params)
            pool = self.pool
            deadline = time.monotonic() + pool.timeout if pool is not None else 0.0
            while pool is not None and not _answers(connection):
                pool.putconn(connection)  # it sees that it is broken, and makes another
                pool.check()
                connection = pool.getconn(deadline - time.monotonic())
            return connection
        except PoolTimeout as error:
            raise OperationalError(_why(self.Database.connect, conn_params)) from error


def _close_pools() -> None:
    """Close the pools of a process that ends, however it came to that.

    psycopg does it last of all otherwise, when Python 3.14 joins no thread any more.
    """
    pools = base.DatabaseWrapper._connection_pools  # type: ignore[attr-defined]  # not in the stubs
    for pool in pools.values():
        pool.close(timeout=CLOSE_SECONDS)


atexit.register(_close_pools)


def _why(connect: Any, conn_params: dict[str, Any]) -> str:
    """Return why the pool has no connection: it knows, and does not say."""
    try:
        connect(**{**conn_params, "connect_timeout": WHY_SECONDS}).close()
    except Error as error:
        return str(error)
    return "no connection in time: it is busy, or DB_MAX_CONNECTIONS of this process are in use"


def _answers(connection: Connection[Any]) -> bool:
    try:
        connection.execute("")
    except Error:
        return False
    return True
