"""Checks of the settings as a whole, run by ``manage.py check`` and before commands."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import Error as DatabaseError

from brokers.endpoints.addresses import is_loopback
from openalgo_site.login.demo_user import DEMO_USER_LEFT, MENDS, has_demo_user

__all__ = ["check_debug", "check_demo_user"]


@register()
def check_debug(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """DEBUG shows code and settings with every error: never to other machines."""
    if settings.DEBUG and not is_loopback(settings.ENV.host):
        return [
            Error(
                f"DEBUG is on while HOST={settings.ENV.host} is open to other machines.",
                hint="Set DEBUG=false, or HOST=127.0.0.1.",
                id="openalgo_site.E001",
            )
        ]
    return []


@register(deploy=True)
def check_demo_user(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """The demo's user must not be there where others can log in."""
    try:
        is_left = has_demo_user()
    except DatabaseError:
        return []  # not migrated, or away: a deployment has more to do than this
    if not is_left:
        return []
    words = f"{DEMO_USER_LEFT[0].upper()}{DEMO_USER_LEFT[1:]}."
    return [Error(words, hint=f"{MENDS[0].upper()}{MENDS[1:]}.", id="openalgo_site.E002")]
