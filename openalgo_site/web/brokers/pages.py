"""Brokers page: the cards of a user's own accounts, and adding, changing and pausing one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from brokers.contract import BrokerCapabilities
from brokers.exceptions import BrokerConfigError
from brokers.login.contract import BrokerLogin, LoginKind
from openalgo_site.web.brokers import logging_in
from openalgo_site.web.brokers.cards import cards_of, market_words
from openalgo_site.web.brokers.forms import AddAccountForm, LoginFieldsForm, TokenForm
from pooling import conf
from pooling.exceptions import CommandRefusedError
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.login.states import AttemptKind
from pooling.models import BrokerAccount, LoginSetup, PoolCommand
from pooling.operations import credentials, logins
from pooling.operations.removal import AccountGoneError, plan_removal, remove_account
from pooling.store import commands

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["urlpatterns"]

MOST_ACCOUNTS = 20  # of one user
TOO_MANY = f"You have {MOST_ACCOUNTS} broker accounts, which is the most: remove one first."
_KIND_WORDS = {
    LoginKind.BROWSER: "Log in at the broker's page",
    LoginKind.UNATTENDED: "By itself, with PIN and TOTP",
    LoginKind.LONG_LIVED: "A token that lasts a year",
}
_SAVE_WORDS = {
    LoginKind.BROWSER: "Save and log in",
    LoginKind.UNATTENDED: "Save and log in now",
    LoginKind.LONG_LIVED: "Save and try it",
}


@login_required
@never_cache
@require_GET
def brokers(request: HttpRequest) -> HttpResponse:
    """Page of the user's own accounts."""
    now = timezone.now()
    context = {
        "cards": cards_of(_user(request), now),
        "choices": _choices(),
        "market": market_words(now),
    }
    return render(request, "brokers/brokers.html", context)


@login_required
@never_cache
@require_GET
def cards_json(request: HttpRequest) -> JsonResponse:
    """What changes on the page while somebody looks at it."""
    return JsonResponse(
        {"cards": [each.as_json() for each in cards_of(_user(request), timezone.now())]}
    )


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def add(request: HttpRequest, broker: str) -> HttpResponse:
    """Add an account of one broker: only what that broker asks for."""
    capabilities, login = _known(broker)
    user = _user(request)
    if BrokerAccount.objects.filter(user=user).count() >= MOST_ACCOUNTS:
        messages.error(request, TOO_MANY)
        return redirect("brokers")
    kind = _kind(request, login)
    form = AddAccountForm(
        request.POST if request.method == "POST" else None,
        user=user,
        broker=broker,
        kind=kind or LoginKind.BROWSER,
        fields=login.fields[kind] if login and kind else (),
    )
    if request.method == "POST" and form.is_valid():
        account = _added(user, broker, kind, form)
        if account is not None:
            return _proceed(request, account, kind, form)
    return render(
        request, "brokers/fields.html", _context(request, capabilities, login, kind, form, None)
    )


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def login_fields(request: HttpRequest, account_id: int) -> HttpResponse:
    """Change what an account keeps for its login."""
    account = _own(request, account_id)
    capabilities, login = _known(account.broker)
    kind = _kind(request, login)
    if login is None or kind is None:
        raise Http404
    setup = logins.login_setup(account)
    form = LoginFieldsForm(
        request.POST if request.method == "POST" else None,
        kind=kind,
        fields=login.fields[kind],
        setup=setup,
    )
    if request.method == "POST" and form.is_valid() and _kept(account, kind, form):
        return _proceed(request, account, kind, form)
    return render(
        request, "brokers/fields.html", _context(request, capabilities, login, kind, form, account)
    )


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def token(request: HttpRequest, account_id: int) -> HttpResponse:
    """Paste a credential: it is tried where that is possible, and stored if the broker takes it."""
    account = _own(request, account_id)
    fields = account.capabilities().credential_fields
    if not fields:
        raise Http404
    form = TokenForm(
        request.POST if request.method == "POST" else None, account=account, fields=fields
    )
    if request.method == "POST" and form.is_valid():
        try:
            values = credentials.checked(account, form.values())
            entry = credentials.enter(account, values, user=_user(request), wait_seconds=0)
        except (credentials.CredentialError, CommandRefusedError) as error:
            form.add_error(None, str(error))
        else:
            if entry.attempt is None:
                messages.info(request, entry.sentence)
            return redirect(logging_in.page_of(account))
    context = {"account": account, "label": account.capabilities().label, "form": form}
    return render(request, "brokers/token.html", context)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def remove(request: HttpRequest, account_id: int) -> HttpResponse:
    """Remove an account, once its owner has seen what goes with it."""
    account = _own(request, account_id)
    if request.method == "GET":
        return render(request, "brokers/remove.html", {"plan": plan_removal(account)})
    try:
        plan = remove_account(account, by=f"{_user(request)} on the Brokers page")
        messages.info(request, f"{plan.name} was removed.")
    except AccountGoneError as error:
        messages.error(request, str(error))
    return redirect("brokers")


@login_required
@never_cache
@require_POST
def test(request: HttpRequest, account_id: int) -> HttpResponse:
    """Have the stored credential tried at the broker; it stays, whatever comes of it."""
    account = _own(request, account_id)
    try:
        logins.test_credential(account, user=_user(request))
    except CommandRefusedError as error:
        messages.error(request, str(error))
    return redirect(logging_in.page_of(account))


@login_required
@never_cache
@require_POST
def switch(request: HttpRequest, account_id: int, verb: str) -> HttpResponse:
    """Pause or resume the pool of an account."""
    account = _own(request, account_id)
    try:
        command = commands.submit(
            account,
            PoolCommand.Verb.PAUSE if verb == "pause" else PoolCommand.Verb.RESUME,
            user=_user(request),
            source=PoolCommand.Source.PAGE,
        )
        messages.info(request, commands.wait_for(command).result)
    except CommandRefusedError as error:
        messages.error(request, str(error))
    return redirect(logging_in.page_of(account))


def _choices() -> list[tuple[str, str]]:
    return conf.broker_choices()


def _own(request: HttpRequest, account_id: int) -> BrokerAccount:
    """Return an account of the user's own. Raises Http404, for anybody else's, too."""
    account: BrokerAccount = get_object_or_404(
        BrokerAccount.objects.select_related("login", "user"), pk=account_id, user=_user(request)
    )
    return account


def _known(broker: str) -> tuple[BrokerCapabilities, BrokerLogin | None]:
    try:
        return conf.broker_capabilities(broker), conf.login_of(broker)
    except BrokerConfigError:
        raise Http404 from None


def _kind(request: HttpRequest, login: BrokerLogin | None) -> LoginKind | None:
    """Return the kind that is asked for, the recommended one where none is. Raises Http404."""
    if login is None:
        return None
    asked = request.GET.get("kind")
    if asked is None:
        return next(iter(login.fields))
    try:
        kind = LoginKind(asked)
    except ValueError:
        raise Http404 from None
    if kind not in login.fields:
        raise Http404
    return kind


def _added(
    user: User, broker: str, kind: LoginKind | None, form: AddAccountForm
) -> BrokerAccount | None:
    """Store a new account and what its login needs; None where the form says what is wrong."""
    places = settings.LOCAL_EXCHANGES.get(broker)
    account = BrokerAccount(
        user=user,
        broker=broker,
        label=form.cleaned_data["label"],
        endpoint=places.feed if places else "",
    )
    try:
        with transaction.atomic():
            account.full_clean()
            account.save()
            setup = LoginSetup(account=account, endpoint=places.login if places else "")
            if kind is not None:
                _keep(setup, kind, form)
    except (ValidationError, IntegrityError, KeyFileError) as error:
        words = error.messages if isinstance(error, ValidationError) else [str(error)]
        form.add_error(None, words)
        return None
    return account


def _kept(account: BrokerAccount, kind: LoginKind, form: LoginFieldsForm) -> bool:
    try:
        with transaction.atomic():
            current = BrokerAccount.objects.select_for_update().get(pk=account.pk)
            setup = logins.login_setup(current)
            _keep(setup, kind, form)
    except KeyFileError as error:
        form.add_error(None, str(error))
        return False
    account.login = setup
    return True


def _keep(setup: LoginSetup, kind: LoginKind, form: LoginFieldsForm) -> None:
    """Keep what was typed. A long-lived token is a credential, and tried first."""
    if kind is not LoginKind.LONG_LIVED:
        setup.keep(form.values(), load_sealer(conf.key_file()))
    if kind is LoginKind.UNATTENDED:
        setup.unattended = form.cleaned_data["unattended"]
        setup.unattended_at = form.cleaned_data["unattended_at"]
    setup.kind = kind
    setup.save_settings()


def _proceed(
    request: HttpRequest, account: BrokerAccount, kind: LoginKind | None, form: LoginFieldsForm
) -> HttpResponse:
    """Go on from the saved form to the login itself."""
    if kind is LoginKind.BROWSER:
        return logging_in.start(request, account)
    try:
        if kind is LoginKind.UNATTENDED:
            logins.begin_unattended(account, user=_user(request))
        elif kind is LoginKind.LONG_LIVED:
            logins.prove(account, form.values(), user=_user(request), kind=AttemptKind.LONG_LIVED)
        else:
            messages.info(request, "The account was added.")
    except CommandRefusedError as error:
        messages.error(request, str(error))
    return redirect(logging_in.page_of(account))


def _context(
    request: HttpRequest,
    capabilities: BrokerCapabilities,
    login: BrokerLogin | None,
    kind: LoginKind | None,
    form: LoginFieldsForm,
    account: BrokerAccount | None,
) -> dict[str, Any]:
    kinds = [(each, _KIND_WORDS[each]) for each in login.fields] if login else []
    return {
        "account": account,
        "broker": capabilities.name,
        "label": capabilities.label,
        "form": form,
        "kind": kind,
        "kinds": kinds,
        "save": _SAVE_WORDS[kind] if kind else "Save",
        "callback": logging_in.callback_url(request, capabilities.name)
        if kind is LoginKind.BROWSER
        else "",
    }


def _user(request: HttpRequest) -> User:
    return cast("User", request.user)


urlpatterns = [
    path("", brokers, name="brokers"),
    path("cards.json", cards_json, name="broker-cards"),
    path("add/<slug:broker>/", add, name="broker-add"),
    path("<int:account_id>/login/", logging_in.log_in, name="broker-log-in"),
    path("<int:account_id>/login-now/", logging_in.log_in_now, name="broker-log-in-now"),
    path("<int:account_id>/setup/", login_fields, name="broker-setup"),
    path("<int:account_id>/token/", token, name="broker-token"),
    path("<int:account_id>/test/", test, name="broker-test"),
    path("<int:account_id>/remove/", remove, name="broker-remove"),
    path("<int:account_id>/pause/", switch, {"verb": "pause"}, name="broker-pause"),
    path("<int:account_id>/resume/", switch, {"verb": "resume"}, name="broker-resume"),
    path("attempts/<int:attempt_id>.json", logging_in.going, name="broker-going"),
    path("<slug:broker>/callback/", logging_in.callback, name="broker-callback"),
]
