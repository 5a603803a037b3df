"""Changing one's password in the admin, where guessing the old one is counted as at the login.

Whoever finds a browser that is logged in must not find its password out, too.
"""

from __future__ import annotations

from django.contrib.admin import site
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.urls import reverse

from openalgo_site.login.login_limits import login_gate

__all__ = ["CountedPasswordChangeForm", "password_change"]


class CountedPasswordChangeForm(AdminPasswordChangeForm):
    """Django's own form, which takes so many wrong old passwords of a user a minute."""

    def clean_old_password(self) -> str:
        """Return the old password. Raises ValidationError where it is wrong, or the limit is met.

        The count is this user's own: strangers at the login keep nobody from changing a password.
        """
        gate = login_gate()
        attempt = gate.enter(self.user.get_username(), "", f"inside-{self.user.pk}")
        old: str = super().clean_old_password()
        gate.withdraw(attempt)
        return old


def _password_change(request: HttpRequest) -> HttpResponseBase:
    request.current_app = site.name
    view = PasswordChangeView.as_view(
        form_class=CountedPasswordChangeForm,
        success_url=reverse("admin:password_change_done", current_app=site.name),
        extra_context=site.each_context(request),
    )
    return view(request)


password_change = site.admin_view(_password_change, cacheable=True)
