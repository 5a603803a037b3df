"""``manage.py createapikey``: make an API key and print it, this once."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from openalgo_site.cli.base import CliError, Exit, read_time
from openalgo_site.management.commands.apikeys import key_dict
from streaming.models import ApiKey
from streaming.models.keys import why_no_end
from streaming.scopes import READING, Scope

__all__ = ["Command"]


class Command(BaseCommand):
    """Issue a key for a user; only its hash is stored."""

    help = "Make an API key and print it; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="user name of its owner")
        parser.add_argument("--name", default="command line", help="what uses it")
        parser.add_argument(
            "--scope",
            action="append",
            choices=[each.value for each in Scope],
            help="what it may be used for, once for each (read_ticks and read_status)",
        )
        parser.add_argument(
            "--ends", help="date (inclusive) or time in TIME_ZONE from which it opens nothing"
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of the key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.get(username=options["user"])
        except User.DoesNotExist:
            raise CommandError(f"there is no user {options['user']!r}") from None
        try:
            ends = read_time(options["ends"], "--ends", is_end=True)
        except CliError as error:
            raise CommandError(str(error), returncode=error.code) from None
        if reason := why_no_end(ends, timezone.now()):
            raise CommandError(f"--ends {options['ends']!r}: {reason}", returncode=Exit.USAGE)
        scope = [Scope(each) for each in options["scope"] or ()] or READING
        key, plaintext = ApiKey.objects.issue(user, options["name"][:64], scope=scope, ends=ends)
        if options["json"]:
            self.stdout.write(json.dumps({**key_dict(key), "api_key": plaintext}))
        else:
            self.stdout.write(plaintext)
