"""``manage.py``: Django's commands and ours; a database that fails is a sentence in all of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import django
from django.core.management import execute_from_command_line
from django.db import Error

from openalgo_site import __version__

__all__ = ["database_sentence", "run"]


def run(arguments: Sequence[str]) -> None:
    """Run a command line, the program's name first; ends the process with code 1 if it failed."""
    if list(arguments[1:]) in (["--version"], ["version"]):
        sys.stdout.write(f"TickPool {__version__} (Django {django.get_version()})\n")
        return
    try:
        execute_from_command_line(list(arguments))
    except Error as error:
        if "--traceback" in arguments:
            raise
        sys.exit(database_sentence(error))


def database_sentence(error: Exception) -> str:
    """Return what went wrong with the database, and what says more."""
    words = str(error).strip().partition("\n")[0] or type(error).__name__
    return f"The database cannot be used ({words}): `python manage.py pool doctor` says why."
