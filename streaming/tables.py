"""The error of a database where it lacks a table or a column. Pure."""

from __future__ import annotations

from django.db import OperationalError, ProgrammingError

__all__ = ["NOT_MIGRATED", "lacks_tables"]

NOT_MIGRATED = (
    "the database's tables are missing or of another version: run `python manage.py migrate`, or "
    "bring the database back if it was lost"
)
# SQLite's words; PostgreSQL has an error class of its own for them.
_SQLITE = ("no such table", "no such column", "has no column named")
_UNDEFINED = ("42P01", "42703")  # table, column


def lacks_tables(error: BaseException) -> bool:
    """Tell whether a failure, or what it came from, means that a table or column is not there."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OperationalError) and any(each in str(cause) for each in _SQLITE):
            return True
        if isinstance(cause, ProgrammingError):
            return getattr(cause.__cause__, "sqlstate", None) in _UNDEFINED
        cause = cause.__cause__
    return False
