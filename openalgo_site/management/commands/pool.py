"""``manage.py pool``: look at pools, change their limits, and ask their workers for something."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import Error

from openalgo_site.cli.base import CliError, Exit, Output
from openalgo_site.cli.changing import CHANGING
from openalgo_site.cli.command_line import database_code, database_sentence
from openalgo_site.cli.credentials import CREDENTIALS
from openalgo_site.cli.reading import READING
from openalgo_site.cli.top import TOP
from openalgo_site.doctor.main import DOCTOR
from pooling.exceptions import PoolingError
from pooling.operations.naming import AccountNameError

__all__ = ["Command"]

SUBCOMMANDS = {each.name: each for each in (*READING, TOP, *CHANGING, *CREDENTIALS, DOCTOR)}


class Command(BaseCommand):
    """Finds the subcommand, runs it, and turns what it raises into a sentence and an exit code."""

    help = "Look at pools, change their limits, log in, pause, reconnect, export, diagnose."
    requires_system_checks = ()  # `pool doctor` says more than they do, and mends nothing first

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
        for each in SUBCOMMANDS.values():
            child = subparsers.add_parser(each.name, help=each.help, description=each.help)
            child.add_argument("--json", action="store_true", help="print JSON instead of text")
            each.arguments(child)

    def handle(self, *args: Any, **options: Any) -> None:
        stream: Any = self.stdout
        out = Output(
            stream=stream,
            as_json=options["json"],
            ask=input if sys.stdin is not None and sys.stdin.isatty() else None,
            is_terminal=stream.isatty(),
        )
        try:
            code = SUBCOMMANDS[options["subcommand"]].run(options, out)
            stream.flush()
        except BrokenPipeError:
            # Whoever read has seen enough, as `pool list | head` has; the rest goes nowhere.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return
        except AccountNameError as error:
            raise CommandError(str(error), returncode=Exit.USAGE) from None
        except CliError as error:
            raise CommandError(str(error), returncode=error.code) from None
        except PoolingError as error:
            raise CommandError(str(error), returncode=Exit.ERROR) from None
        except Error as error:
            raise CommandError(database_sentence(error), returncode=database_code(error)) from None
        if code:
            sys.exit(int(code))
