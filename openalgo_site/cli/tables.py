"""Test that the database has the tables of this version, and what mends it where it has not."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor

__all__ = ["TablesTrouble", "log_tables_trouble", "tables_trouble"]

logger = logging.getLogger("openalgo_site")

OURS = ("pooling", "streaming")
NAMED = 3


@dataclass(frozen=True, slots=True)
class TablesTrouble:
    """Fault of the tables, and what mends it; both are parts of a sentence.

    ``details`` are for who wants to know more, "" for none.
    """

    what: str
    mends: str
    details: str = ""
    # False: a newer version has migrated it, and this one may go on until it is replaced.
    is_behind: bool = True

    @property
    def sentence(self) -> str:
        """All in one sentence, what mends it before the details."""
        more = f" ({self.details})" if self.details else ""
        return f"{self.what[0].upper()}{self.what[1:]}: {self.mends}{more}."


def tables_trouble() -> TablesTrouble | None:
    """Return what is wrong with the tables, None if they are those of this version.

    Raises:
        django.db.Error: the database does not answer.
    """
    executor = MigrationExecutor(connection)
    loader = executor.loader
    missing = [each for each, _ in executor.migration_plan(loader.graph.leaf_nodes())]
    if missing and not loader.applied_migrations:
        return TablesTrouble(
            "the database has no tables",
            "run `python manage.py migrate` if it is new, or restore it from a backup",
        )
    if missing:
        names = _some([f"{each.app_label}.{each.name}" for each in missing])
        return TablesTrouble(
            "the database is of an older version",
            "run `python manage.py migrate`",
            f"not applied: {names}",
        )
    unknown = sorted(
        f"{app}.{name}"
        for app, name in set(loader.applied_migrations) - set(loader.disk_migrations)
        if app in OURS
    )
    if unknown:
        return TablesTrouble(
            "the database is of a newer version",
            "install that version, or restore a backup of before",
            f"it has {_some(unknown)}",
            is_behind=False,
        )
    return None


def log_tables_trouble() -> None:
    """Write to the log what is wrong with the tables, if anything is; returns at once.

    A database that does not answer is told of by whoever needs it.
    """
    threading.Thread(target=_log_trouble, name="tables", daemon=True).start()


def _log_trouble() -> None:
    try:
        trouble = tables_trouble()
    except Error:
        return
    finally:
        connection.close()
    if trouble is not None:
        logger.error("%s", trouble.sentence)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
