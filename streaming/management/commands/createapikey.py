"""``manage.py createapikey``: make an API key and print it, this once."""

from __future__ import annotations

import json
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError, CommandParser

from streaming.models import ApiKey

__all__ = ["Command"]


class Command(BaseCommand):
    """Issue a key for a user; only its hash is stored."""

    help = "Make an API key and print it; it cannot be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="user name of its owner")
        parser.add_argument("--name", default="command line", help="what uses it")
        parser.add_argument("--json", action="store_true", help="print JSON instead of the key")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = User.objects.get(username=options["user"])
        except User.DoesNotExist:
            raise CommandError(f"there is no user {options['user']!r}") from None
        key, plaintext = ApiKey.objects.issue(user, options["name"][:64])
        if options["json"]:
            found = {"id": key.pk, "user": user.username, "name": key.name, "api_key": plaintext}
            self.stdout.write(json.dumps(found))
        else:
            self.stdout.write(plaintext)
