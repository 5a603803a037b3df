"""``manage.py``: Django's commands and ours; a database that fails is a sentence in all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import django
from django.core.management import execute_from_command_line
from django.db import Error

from openalgo_site import __version__
from streaming.tables import lacks_tables

__all__ = ["database_code", "database_sentence", "run"]

FAILED = 1
CONFIGURATION = 78  # sysexits.h EX_CONFIG: trying again without a change cannot help


def run(arguments: Sequence[str]) -> None:
    """Run a command line, the program's name first; ends the process with a code if it failed."""
    if list(arguments[1:]) in (["--version"], ["version"]):
        sys.stdout.write(f"TickPool {__version__} (Django {django.get_version()})\n")
        return
    try:
        execute_from_command_line(list(arguments))
    except Error as error:
        if "--traceback" in arguments:
            raise
        sys.stderr.write(f"{database_sentence(error)}\n")
        sys.exit(database_code(error))


def database_code(error: Exception) -> int:
    """Return the exit code for a failure of the database."""
    return CONFIGURATION if lacks_tables(error) else FAILED


def database_sentence(error: Exception) -> str:
    """Return what went wrong with the database, and what mends it or says more."""
    if lacks_tables(error) and (sentence := _about_tables()):
        return sentence
    words = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"The database cannot be used ({words}): `python manage.py pool doctor` says why."


def _about_tables() -> str:
    from openalgo_site.cli.tables import tables_trouble  # noqa: PLC0415  # needs the settings

    try:
        trouble = tables_trouble()
    except Error:
        return ""
    return "" if trouble is None else trouble.sentence
