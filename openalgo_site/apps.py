"""Django's entry to the site as a whole."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin import site

__all__ = ["SiteConfig"]


class SiteConfig(AppConfig):
    """What joins pooling and streaming: notices between them, and checks of the settings."""

    name = "openalgo_site"
    verbose_name = "TickPool"

    def ready(self) -> None:
        """Connect the signals and register the checks; both need the apps to be loaded."""
        import_module("openalgo_site.checks")
        import_module("openalgo_site.adapters.notices").connect()
        import_module("openalgo_site.login.login_limits").connect()
        site.site_header = site.site_title = "TickPool administration"
        site.index_title = "Broker accounts, limits and keys"
        site.index_template = "logins/admin_index.html"
