"""Addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from openalgo_site.locked_out_page import locked_out
from openalgo_site.metrics_page import metrics
from openalgo_site.password_change import password_change

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

handler400 = "openalgo_site.failures.bad_request"
handler403 = "openalgo_site.failures.forbidden"
handler404 = "openalgo_site.failures.not_found"
handler500 = "openalgo_site.failures.server_error"

urlpatterns = [
    path("admin/password_change/", password_change),
    path("admin/logins/", locked_out, name="locked-out"),
    path("admin/", admin.site.urls),
    path("api/", include("openalgo_site.api")),
    path("metrics", metrics, name="metrics"),
    path("status/", include("openalgo_site.status_page.pages")),
    path("", include("streaming.urls")),
    path("", include("streaming.pages")),
]
