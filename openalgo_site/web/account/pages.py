"""Pages of one's own account. A new key is shown in the answer that makes it, and nowhere else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import PasswordChangeView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path, reverse_lazy
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from brokers.words import counted, verb
from openalgo_site.login.password_change import CountedPasswordChangeForm
from openalgo_site.web.account.forms import ExchangeForm, KeyForm
from openalgo_site.web.account.sessions import end_other_sessions
from openalgo_site.web.preferences import exchanges_of, preferred_exchange
from streaming.models import ApiKey, UserPreferences
from streaming.scopes import scope_text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["MOST_KEYS", "urlpatterns"]

logger = logging.getLogger("openalgo_site")

MOST_KEYS = 50  # that open the door, of one user
_MOST_SHOWN = 200  # the newest, those that opened it once included
_TOO_MANY = (
    f"You have {MOST_KEYS} API keys that open the door, which is the most: revoke one first."
)


@login_required
@never_cache
@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Page of everything that is one's own beside broker accounts."""
    return _page(request)


@login_required
@never_cache
@require_POST
def make_key(request: HttpRequest) -> HttpResponse:
    """Make an API key and show it, this once."""
    user, form, now = _user(request), KeyForm(request.POST), timezone.now()
    if not form.is_valid():
        return _page(request, key_form=form)
    if ApiKey.objects.valid().filter(user=user).count() >= MOST_KEYS:
        form.add_error(None, _TOO_MANY)
        return _page(request, key_form=form)
    name = form.cleaned_data["name"]
    key, plaintext = ApiKey.objects.issue(user, name, scope=form.scope(), ends=form.ends(now))
    logger.info("user %s made the API key %s", user.pk, key.pk)
    return _page(request, made=key, plaintext=plaintext)


@login_required
@never_cache
@require_POST
def revoke_key(request: HttpRequest, key_id: int) -> HttpResponse:
    """End one of one's own keys, and the connections of who came in with it."""
    key = get_object_or_404(ApiKey, pk=key_id, user=_user(request))
    key.revoke()
    logger.info("user %s revoked the API key %s", key.user_id, key.pk)
    messages.info(request, f"The key {key} is revoked: it opens nothing any more.")
    return redirect("account")


@login_required
@never_cache
@require_POST
def end_sessions(request: HttpRequest) -> HttpResponse:
    """End all of one's own sessions but this one."""
    ended = end_other_sessions(_user(request), request.session.session_key)
    is_are = verb(ended, "is", "are")
    words = f"{counted(ended, 'other session')} {is_are} ended." if ended else "There is no other."
    messages.info(request, words)
    return redirect("account")


@login_required
@never_cache
@require_POST
def prefer(request: HttpRequest) -> HttpResponse:
    """Change what comes first in one's searches."""
    user = _user(request)
    form = ExchangeForm(request.POST, exchanges=exchanges_of(user))
    if not form.is_valid():
        return _page(request, exchange_form=form)
    wanted = form.cleaned_data["preferred_exchange"]
    UserPreferences.objects.update_or_create(user=user, defaults={"preferred_exchange": wanted})
    messages.info(request, "Saved.")
    return redirect("account")


@method_decorator([sensitive_post_parameters(), login_required, never_cache], name="dispatch")
class PasswordPage(PasswordChangeView):
    """Change one's own password; other sessions end with the old one."""

    form_class = CountedPasswordChangeForm
    template_name = "account/password.html"
    success_url = reverse_lazy("account")

    def form_valid(self, form: Any) -> Any:
        """Save, and say so."""
        answer = super().form_valid(form)
        messages.info(self.request, "Your password is changed; your other sessions are ended.")
        return answer


def _page(
    request: HttpRequest,
    *,
    key_form: KeyForm | None = None,
    exchange_form: ExchangeForm | None = None,
    made: ApiKey | None = None,
    plaintext: str = "",
) -> HttpResponse:
    user, now = _user(request), timezone.now()
    keys = ApiKey.objects.filter(user=user).order_by("-created", "-pk")[:_MOST_SHOWN]
    rows = [(key, _state(key, now), scope_text(key.scope)) for key in keys]
    context = {
        "keys": sorted(rows, key=lambda row: row[1] != "valid"),
        "key_form": key_form or KeyForm(),
        "exchange_form": exchange_form
        or ExchangeForm(
            initial={"preferred_exchange": preferred_exchange(user)}, exchanges=exchanges_of(user)
        ),
        "made": made,
        "plaintext": plaintext,
    }
    return render(request, "account/account.html", context)


def _state(key: ApiKey, now: Any) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "ended" if key.has_ended(now) else "valid"


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)


urlpatterns = [
    path("", account, name="account"),
    path("keys/", make_key, name="account-make-key"),
    path("keys/<int:key_id>/revoke/", revoke_key, name="account-revoke-key"),
    path("sessions/", end_sessions, name="account-end-sessions"),
    path("preferences/", prefer, name="account-prefer"),
    path("password/", PasswordPage.as_view(), name="account-password"),
]
