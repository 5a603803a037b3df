"""Django's entry to the pooling app."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig

__all__ = ["PoolingConfig"]


class PoolingConfig(AppConfig):
    """Broker accounts, pool limits, usage history and instruments."""

    name = "pooling"
    verbose_name = "Broker pools"

    def ready(self) -> None:
        """Register the system checks."""
        import_module("pooling.checks")
