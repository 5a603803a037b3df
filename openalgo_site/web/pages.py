"""Pages for people: the market watch, the console, and logging in and out.

The templates hold the structure, ``static/streaming/js`` the behaviour; a view only says who may
see the page. ``urlpatterns`` is made for ``include`` at the site's root.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.templatetags.static import static
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.generic import RedirectView, TemplateView

__all__ = [
    "PROGRAM_PATH",
    "TICKS_PATH",
    "ConsoleView",
    "MarketWatchView",
    "PageLoginView",
    "PageLogoutView",
    "urlpatterns",
]

TICKS_PATH = "/ws/ticks/"
PROGRAM_PATH = "/ws"


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class MarketWatchView(LoginRequiredMixin, TemplateView):
    """The list of instruments with their live prices.

    Never cached: the browser's copy would show a logged-out user's page on the way back. The CSRF
    cookie is what the page saves its list with.
    """

    template_name = "streaming/market_watch.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Tell the page where its socket is."""
        return super().get_context_data(ticks_path=TICKS_PATH, **kwargs)


@method_decorator([never_cache, ensure_csrf_cookie], name="dispatch")
class ConsoleView(LoginRequiredMixin, TemplateView):
    """The client protocol by hand: frames as they are, and the code that gets the same.

    What it shows is what the user's own session may see; it knows no key.
    """

    template_name = "streaming/console.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Tell the page where its socket is, and where that of programs is."""
        return super().get_context_data(ticks_path=TICKS_PATH, program_path=PROGRAM_PATH, **kwargs)


class PageLoginView(LoginView):
    """Log in with user name and password; someone already logged in goes on to the watch."""

    redirect_authenticated_user = True


class PageLogoutView(LogoutView):
    """Log out, by POST only, and say so on the login page."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """End the session first: the message would end with it otherwise."""
        response = super().post(request, *args, **kwargs)
        messages.info(request, "You are logged out.")
        return response


class FaviconView(RedirectView):
    """Pages that name no icon of their own (the admin's) make browsers ask here."""

    def get_redirect_url(self, *args: Any, **kwargs: Any) -> str:
        """Return where the icon is."""
        return static("streaming/favicon.svg")


urlpatterns = [
    path("", MarketWatchView.as_view(), name="market-watch"),
    path("console/", ConsoleView.as_view(), name="console"),
    path("login/", PageLoginView.as_view(), name="login"),
    path("logout/", PageLogoutView.as_view(), name="logout"),
    path("favicon.ico", FaviconView.as_view(), name="favicon"),
]
