"""Django's entry to the pooling app."""

from django.apps import AppConfig

__all__ = ["PoolingConfig"]


class PoolingConfig(AppConfig):
    """Broker accounts, pool limits, usage history and instruments."""

    name = "pooling"
    verbose_name = "Broker pools"
