"""Connections of the database that this thread does not need for now."""

from __future__ import annotations

from django.db import connections
from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

__all__ = ["IdleConnectionsMiddleware", "give_back"]


def give_back() -> None:
    """Give them to whoever waits for one; the next query takes another.

    One with a transaction under way stays: Django's ``close_old_connections`` would end that. So
    does one to SQLite, which nobody waits for: each thread opens the file for itself.
    """
    for connection in connections.all(initialized_only=True):
        if connection.vendor != "sqlite" and not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


class IdleConnectionsMiddleware(MiddlewareMixin):
    """Gives them back once an answer is made; it stands first. Works sync and async.

    Django keeps them until the last byte has left, and whoever reads slowly takes its time.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Return the response as it is."""
        give_back()
        return response
