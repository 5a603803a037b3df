"""Checks of the settings as a whole, run by ``manage.py check`` and before commands."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from brokers.addresses import is_loopback

__all__ = ["check_debug"]


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
