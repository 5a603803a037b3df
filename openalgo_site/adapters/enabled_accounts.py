"""Number of accounts that should have a worker, for health checks and metrics."""

from __future__ import annotations

from pooling.models import BrokerAccount

__all__ = ["count_enabled_accounts"]


def count_enabled_accounts() -> int:
    """Return how many accounts are enabled, of users that are not locked; blocking."""
    return BrokerAccount.objects.filter(enabled=True, user__is_active=True).count()
