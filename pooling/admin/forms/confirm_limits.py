"""The question before limits are saved that would take the place of something.

It is asked once: what was confirmed is sent back as a number of symbols, and the question comes
again only when the limits would by then drop more than that. A credential that was typed beside
the limits is never put on the page; it is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import flatten_fieldsets, unquote
from django.forms import all_valid
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from brokers.words import counted, verb
from pooling.admin.forms.broker_settings import SETTING_PREFIX, setting_in_words
from pooling.admin.forms.credentials import CREDENTIAL_PREFIX
from pooling.admin.forms.limits import limit_in_words
from pooling.admin.lists.changes import field_changes
from pooling.admin.lists.numbers import whole_number
from pooling.exceptions import CommandRefusedError
from pooling.models import BrokerAccount, PoolCommand, PoolConfig, PoolStatus
from pooling.store import commands as command_queue
from pooling.subscriptions.capacity import effective_limits

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

__all__ = ["CONFIRMED", "Drop", "confirm_lowering", "estimate_drop"]

CONFIRMED = "limits_confirmed_drop"
NOT_SENT_BACK = frozenset({"csrfmiddlewaretoken", CONFIRMED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Loss by saving: symbols beyond those that wait already, and the whole in words.

    ``is_exact`` tells whether the worker tried the limits itself.
    """

    symbols: int
    sentence: str
    is_exact: bool


def estimate_drop(config: PoolConfig, status: PoolStatus) -> Drop:
    """Return what ``config`` would drop, from the numbers that a worker told last."""
    options = config.to_options()
    held = status.symbols + status.waiting
    without = max(held - options.max_connections * options.symbols_per_connection, 0)
    capabilities = config.account.capabilities()
    units = effective_limits(
        symbols_per_connection=options.symbols_per_connection,
        max_connections=options.max_connections,
        capabilities=capabilities,
    ).capacity
    counts_otherwise = capabilities.unit != "symbols" or bool(capabilities.category_limits)
    if counts_otherwise and status.used > units:
        # In its own units the broker allows less: the same share of the symbols has to go.
        without = max(without, ceil(held * (status.used - units) / status.used))
    what = f"{options.max_connections:,} x {options.symbols_per_connection:,}"
    if not without:
        sentence = f"{what} has a place for {_all(held)}."
    else:
        sentence = (
            f"{what} leaves {without:,} of {counted(held, 'symbol')} without a place; the newest "
            f"are dropped first; up to {counted(status.clients, 'client')} "
            f"{verb(status.clients, 'is', 'are')} affected."
        )
    return Drop(symbols=max(without - status.waiting, 0), sentence=sentence, is_exact=False)


def _all(held: int) -> str:
    return "its 1 symbol" if held == 1 else f"all {held:,} symbols"


def confirm_lowering(
    model_admin: ModelAdmin[BrokerAccount], request: HttpRequest, object_id: str
) -> HttpResponse | None:
    """Return the question, or None where there is nothing to ask: Django goes on then.

    What is invalid or not permitted is left to Django, which says so.
    """
    account = model_admin.get_object(request, unquote(object_id))
    if account is None or not model_admin.has_change_permission(request, account):
        return None
    status = PoolStatus.objects.filter(account=account).first()
    if status is None:
        return None
    fields = flatten_fieldsets(model_admin.get_fieldsets(request, account))
    form = model_admin.get_form(request, account, change=True, fields=fields)(
        request.POST, instance=account
    )
    formsets, _ = model_admin._create_formsets(request, form.instance, change=True)  # type: ignore[attr-defined]
    if not form.is_valid() or not all_valid(formsets):
        return None
    row = _limits_row(formsets)
    settings = [name for name in form.changed_data if name.startswith(SETTING_PREFIX)]
    if row is None or not (row.has_changed() or settings):
        return None
    drop = estimate_drop(row.instance, status)
    if drop.symbols <= _confirmed(request):
        return None
    if status.is_alive():
        drop = _asked(request, account, row.instance, drop, are_settings_changed=bool(settings))
    return _question(model_admin, request, account, form, row, drop, status)


def _limits_row(formsets: list[Any]) -> Any:
    """Return the form of the limits; None where the page has none."""
    rows = (row for formset in formsets if formset.model is PoolConfig for row in formset.forms)
    return next(rows, None)


def _asked(
    request: HttpRequest,
    account: BrokerAccount,
    config: PoolConfig,
    estimate: Drop,
    *,
    are_settings_changed: bool,
) -> Drop:
    """Have the worker try the limits on what is held; the estimate stands where it does not."""
    options = config.to_options()
    limits: dict[str, Any] = {
        "max_connections": options.max_connections,
        "symbols_per_connection": options.symbols_per_connection,
    }
    if are_settings_changed:
        limits["settings"] = config.account.broker_settings
    try:
        command = command_queue.submit(
            account,
            PoolCommand.Verb.PREVIEW,
            argument=limits,
            user=request.user,  # type: ignore[arg-type]
            source=PoolCommand.Source.ADMIN,
        )
    except CommandRefusedError:
        return estimate
    command = command_queue.wait_for(command)
    if command.state != PoolCommand.State.DONE:
        return estimate
    return replace(estimate, sentence=command.result, is_exact=True)


def _limit_changes(row: Any) -> Iterator[str]:
    return field_changes(row, words=limit_in_words, is_secret=lambda name: False)


def _setting_changes(form: Any) -> Iterator[str]:
    names = [name for name in form.changed_data if name.startswith(SETTING_PREFIX)]
    for name in names:
        old, new = form[name].initial, form.cleaned_data.get(name)
        yield f"{form.fields[name].label}: {setting_in_words(old)} → {setting_in_words(new)}"


def _confirmed(request: HttpRequest) -> int:
    return whole_number(request.POST.get(CONFIRMED)) or 0


def _question(
    model_admin: ModelAdmin[BrokerAccount],
    request: HttpRequest,
    account: BrokerAccount,
    form: Any,
    row: Any,
    drop: Drop,
    status: PoolStatus,
) -> HttpResponse:
    posted = [
        (name, value)
        for name, values in request.POST.lists()
        for value in values
        if name not in NOT_SENT_BACK and not name.startswith(CREDENTIAL_PREFIX)
    ]
    secrets = [
        form[name]
        for name, value in request.POST.items()
        if name.startswith(CREDENTIAL_PREFIX) and value and name in form.fields
    ]
    context = {
        **model_admin.admin_site.each_context(request),
        "title": "Lower the limits?",
        "opts": model_admin.opts,
        "account": BrokerAccount.objects.select_related("user").get(pk=account.pk),
        "changes": [*_setting_changes(form), *_limit_changes(row)],
        "drop": drop,
        "status": status,
        "is_alive": status.is_alive(),
        "posted": posted,
        "secrets": secrets,
        "confirmed_name": CONFIRMED,
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "pooling/admin/confirm_limits.html", context)
