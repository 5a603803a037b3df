"""Views of a login at a broker: its beginning, the return, and one that needs no page."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from pooling.exceptions import CommandRefusedError
from pooling.models import BrokerAccount, LoginAttempt
from pooling.operations import logins

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["callback", "callback_url", "going", "log_in", "log_in_now", "page_of", "start"]

LOGGED_OUT = (
    "You were logged out here while you were at the broker, so nothing was stored. Log in here, "
    "then at the broker once more."
)


def callback_url(request: HttpRequest, broker: str) -> str:
    """Return the address that the broker sends browsers back to, as it is registered there.

    It begins with ``PUBLIC_URL``; without one with the host of this request, which is one of
    ``ALLOWED_HOSTS``.
    """
    path = reverse("broker-callback", args=[broker])
    public = settings.PUBLIC_URL
    return f"{public.origin}{path}" if public else request.build_absolute_uri(path)


def page_of(account: BrokerAccount) -> str:
    """Return the address of an account's card."""
    return f"{reverse('brokers')}#account-{account.pk}"


@login_required
@never_cache
@require_POST
def log_in(request: HttpRequest, account_id: int) -> HttpResponse:
    """Begin a login at the broker's page, and send the browser there."""
    account = get_object_or_404(BrokerAccount, pk=account_id, user=_user(request))
    return start(request, account)


def start(request: HttpRequest, account: BrokerAccount) -> HttpResponse:
    """Answer with the page that leads to the broker, or with the card that says why not."""
    if request.session.session_key is None:
        request.session.save()
    try:
        begun = logins.begin_browser(
            account,
            user=_user(request),
            session_key=str(request.session.session_key),
            redirect_uri=callback_url(request, account.broker),
        )
    except CommandRefusedError as error:
        messages.error(request, str(error))
        return redirect(page_of(account))
    context = {
        "account": account,
        "label": account.capabilities().label,
        "url": begun.url,
        "attempt": begun.attempt,
    }
    # A redirect would do, if browsers did not take it for a form that is sent to the broker.
    answer = render(request, "brokers/going.html", context)
    answer["Referrer-Policy"] = "no-referrer"
    return answer


@login_required
@never_cache
@require_GET
def going(request: HttpRequest, attempt_id: int) -> JsonResponse:
    """Say where the browser goes once the worker has asked the broker for it."""
    attempt = get_object_or_404(
        LoginAttempt.objects.select_related("account__login"), pk=attempt_id, user=_user(request)
    )
    return JsonResponse(
        {"is_open": attempt.is_open, "url": logins.go_on(attempt), "result": attempt.result}
    )


@never_cache
@require_GET
def callback(request: HttpRequest, broker: str) -> HttpResponse:
    """Take what the broker sent along, and show a clean address: the code is in no history."""
    if not request.user.is_authenticated:
        messages.warning(request, LOGGED_OUT)
        answer: HttpResponse = redirect_to_login(reverse("brokers"))
    else:
        answer = _come_back(request, broker)
    answer["Referrer-Policy"] = "no-referrer"
    return answer


def _come_back(request: HttpRequest, broker: str) -> HttpResponse:
    query = {name: request.GET.getlist(name) for name in request.GET}
    try:
        attempt = logins.come_back(
            broker,
            query,
            user=_user(request),
            session_key=str(request.session.session_key or ""),
        )
    except CommandRefusedError as error:
        messages.error(request, str(error))
        return redirect("brokers")
    if not attempt.is_open:
        messages.error(request, attempt.result)
    return redirect(page_of(attempt.account))


@login_required
@never_cache
@require_POST
def log_in_now(request: HttpRequest, account_id: int) -> HttpResponse:
    """Log in with the stored PIN and TOTP secret, without a page of the broker's."""
    account = get_object_or_404(BrokerAccount, pk=account_id, user=_user(request))
    try:
        logins.begin_unattended(account, user=_user(request))
    except CommandRefusedError as error:
        messages.error(request, str(error))
    return redirect(page_of(account))


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)
