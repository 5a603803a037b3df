"""The status page and the history of a pool, for people."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from streaming.pages import TICKS_PATH

__all__ = ["StatusPageView", "urlpatterns"]


@method_decorator(never_cache, name="dispatch")
class StatusPageView(LoginRequiredMixin, TemplateView):
    """How every pool is now. The figures come over the page's socket, which asks who sees what."""

    template_name = "status/status.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Tell the page where its socket is, and in which zone a day begins."""
        return super().get_context_data(
            ticks_path=TICKS_PATH, time_zone=settings.TIME_ZONE, **kwargs
        )


urlpatterns = [
    path("", StatusPageView.as_view(), name="status"),
]
