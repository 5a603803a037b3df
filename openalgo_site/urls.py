"""Addresses of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from openalgo_site.login.locked_out_page import locked_out
from openalgo_site.login.password_change import password_change
from openalgo_site.web.metrics import metrics

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]

handler400 = "openalgo_site.web.failures.bad_request"
handler403 = "openalgo_site.web.failures.forbidden"
handler404 = "openalgo_site.web.failures.not_found"
handler500 = "openalgo_site.web.failures.server_error"

urlpatterns = [
    path("admin/password_change/", password_change),
    path("admin/logins/", locked_out, name="locked-out"),
    path("admin/", admin.site.urls),
    path("api/", include("openalgo_site.web.api")),
    path("metrics", metrics, name="metrics"),
    path("account/", include("openalgo_site.web.account.pages")),
    path("brokers/", include("openalgo_site.web.brokers.pages")),
    path("status/", include("openalgo_site.web.status.pages")),
    path("", include("streaming.urls")),
    path("", include("openalgo_site.web.pages")),
]
