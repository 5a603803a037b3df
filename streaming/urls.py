"""URLs that the gateway answers itself."""

from __future__ import annotations

from django.urls import path

from streaming.gateway.health import livez, readyz

__all__ = ["urlpatterns"]

urlpatterns = [
    path("livez", livez, name="livez"),
    path("readyz", readyz, name="readyz"),
]
