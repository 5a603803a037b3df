"""A look whether the database can be read, for supervisors who ask every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from django.db import Error, close_old_connections

from streaming.tables import NOT_MIGRATED, lacks_tables

__all__ = ["DatabaseLook", "DatabaseProbe"]

PROBE_SECONDS = 1.5
SILENT = "the database does not answer"


class DatabaseLook(NamedTuple):
    """The find of a look: ``trouble`` in words, "" for none, and the enabled accounts, if told."""

    trouble: str = ""
    accounts: int | None = None


class DatabaseProbe:
    """Looks whether a table can be read: one look at a time, and nobody waits for it for long.

    A database that hangs keeps a look for as long as it hangs; until then it is in trouble.

    Args:
        count: blocking; reads the number of enabled accounts, None: it does not know them. Raises
            what the database raises.
    """

    def __init__(self, count: Callable[[], int | None]) -> None:
        self._count = count
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database probe")
        # The look under way, or the last one.
        self._looking: Future[DatabaseLook] | None = None

    async def look(self) -> DatabaseLook:
        """Return how the database is, within two seconds."""
        if self._looking is None or self._looking.done():
            self._looking = self._executor.submit(self._try)
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                return await asyncio.shield(asyncio.wrap_future(self._looking))
        except TimeoutError:
            return DatabaseLook(SILENT)

    def _try(self) -> DatabaseLook:
        try:
            return DatabaseLook(accounts=self._count())
        except Error as error:
            return DatabaseLook(NOT_MIGRATED if lacks_tables(error) else SILENT)
        finally:
            close_old_connections()
