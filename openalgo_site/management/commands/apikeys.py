"""``manage.py apikeys``: list API keys, which shows none of them."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from openalgo_site.cli.base import moment
from pooling.tables import table
from streaming.models import ApiKey
from streaming.scopes import Scope, scope_text

__all__ = ["Command", "key_dict"]


class Command(BaseCommand):
    """One key a line, by owner, the newest first."""

    help = "List API keys: whose, what they may do, when they end and were last used."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", help="only this user's")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        keys = ApiKey.objects.select_related("user").order_by("user__username", "-created")
        if options["user"]:
            keys = keys.filter(user__username=options["user"])
        if options["json"]:
            self.stdout.write(json.dumps({"keys": [key_dict(each) for each in keys]}))
        else:
            self.stdout.write(_table(list(keys)) if keys else "No such key.")


def key_dict(key: ApiKey) -> dict[str, Any]:
    """Return a key as it is printed in JSON; times are ISO 8601 in TIME_ZONE."""
    times = {name: getattr(key, name) for name in ("created", "ends", "last_used")}
    return {
        "id": key.pk,
        "user": key.user.get_username(),
        "name": key.name,
        "begins_with": key.prefix,
        "state": _state(key),
        "scope": [each for each in Scope if each in key.scope],
        **{
            name: None if at is None else timezone.localtime(at).isoformat()
            for name, at in times.items()
        },
    }


def _table(keys: list[ApiKey]) -> str:
    return table(
        ("USER", "NAME", "BEGINS WITH", "STATE", "MAY", "ENDS", "LAST USED"),
        [
            (
                key.user.get_username(),
                key.name,
                f"{key.prefix}...",
                _state(key),
                scope_text(key.scope),
                moment(key.ends),
                "never" if key.last_used is None else moment(key.last_used),
            )
            for key in keys
        ],
    )


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.has_ended(timezone.now()):
        return "ended"
    return "valid" if key.user.is_active else "user inactive"
