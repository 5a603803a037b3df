"""Operating pools from the admin: ask, do, wait for the worker's answer, and say what it was.

Every operation leaves a ``PoolCommand`` (where a worker does it) and an entry in the account's
history. Staff need ``pooling.operate_pool``; without it they neither see nor can post one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone

from brokers.batching import portions
from pooling.admin.lists.numbers import whole_number
from pooling.admin.operations import OPERATIONS, Operation, PoolFacts
from pooling.exceptions import CommandRefusedError
from pooling.models import BrokerAccount, Instrument, PoolCommand, PoolStatus, SearchTier
from pooling.store import commands as command_queue

if TYPE_CHECKING:
    OperateBase = admin.ModelAdmin[BrokerAccount]
else:
    OperateBase = object

__all__ = ["OPERATE", "OperateMixin", "OperationForm", "facts_of"]

OPERATE = "pooling.operate_pool"
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.1
MAX_POOLS = 200  # at once
MAX_LINES = 10  # of results in one message
_NOT_SERVED = "Switched on, but no worker serves it yet; start one with `python manage.py runpool`."


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of an operation on one pool."""

    account: BrokerAccount
    text: str
    level: int


class OperationForm(forms.Form):
    """Questions that an operation asks first: a connection, or instruments.

    Args:
        operation: what is to be done.
        account: to whose pool.
        slots: the connections that it has now.
    """

    def __init__(
        self,
        *args: Any,
        operation: Operation,
        account: BrokerAccount,
        slots: Mapping[int, int],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._account = account
        if operation.takes_slot:
            choices = [
                (str(slot), f"connection {slot}: {symbols:,} used")
                for slot, symbols in sorted(slots.items())
            ]
            if not operation.needs_slot:
                choices.insert(0, ("", "all connections"))
            self.fields["slot"] = forms.ChoiceField(
                label="Connection", choices=choices, required=operation.needs_slot
            )
        if operation.takes_symbols:
            self.fields["symbols"] = forms.CharField(
                label="Symbols",
                widget=forms.Textarea(attrs={"rows": 6, "placeholder": "NSE:INFY"}),
                help_text="One a line, as EXCHANGE:SYMBOL; at most "
                f"{command_queue.MAX_KEYS:,} at a time.",
                max_length=command_queue.MAX_KEYS * 130,
            )

    def clean_symbols(self) -> list[list[str]]:
        """Return [exchange, symbol] pairs; refuse what is not an instrument of the broker."""
        lines = self.cleaned_data["symbols"].replace(",", "\n").splitlines()
        keys = [_key(line.strip()) for line in lines if line.strip()]
        if len(keys) > command_queue.MAX_KEYS:
            raise forms.ValidationError(
                f"Name at most {command_queue.MAX_KEYS:,} symbols at a time."
            )
        known = _known(self._account.broker, keys)
        unknown = [
            f"{exchange}:{symbol}" for exchange, symbol in keys if (exchange, symbol) not in known
        ]
        if unknown:
            more = f" and {len(unknown) - 5:,} more" if len(unknown) > 5 else ""
            raise forms.ValidationError(
                f"Not an instrument of {self._account.broker}: {', '.join(unknown[:5])}{more}."
            )
        return [list(key) for key in dict.fromkeys(keys)]

    def argument(self) -> dict[str, Any]:
        """Return the argument of the command."""
        cleaned = self.cleaned_data
        if cleaned.get("slot"):
            return {"slot": int(cleaned["slot"])}
        if "symbols" in cleaned:
            return {"keys": cleaned["symbols"]}
        return {}


class OperateMixin(OperateBase):
    """The operations of ``BrokerAccountAdmin``: as actions of the list, and as pages of a pool."""

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether this person may operate pools."""
        return bool(request.user.has_perm(OPERATE)) and self.has_view_permission(request)

    def get_actions(self, request: HttpRequest) -> Any:
        """Offer the operations that work on several pools to those who may use them."""
        actions = super().get_actions(request)
        if self.has_operate_permission(request):
            for operation in OPERATIONS.values():
                if operation.is_for_many:
                    words = f"{operation.label} the selected pools"
                    act: Any = partial(_act_on_many, operation=operation)
                    actions[operation.name] = (act, operation.name, words)
        return actions

    def get_urls(self) -> Any:
        """Give each operation a page below its account."""
        view = self.admin_site.admin_view(self.operate_view)
        name = "pooling_brokeraccount_operate"
        return [path("<path:object_id>/operate/<slug:name>/", view, name=name), *super().get_urls()]

    def operations_for(self, request: HttpRequest, account: BrokerAccount) -> list[Operation]:
        """Return what this person may do to this pool now."""
        if not self.has_operate_permission(request):
            return []
        if not account.enabled:
            return [OPERATIONS["start"]]
        hidden = {"start", "pause" if account.paused else "resume"}
        if account.paused:
            hidden |= {"reconnect", "drain", "rebalance"}
        return [each for each in OPERATIONS.values() if each.name not in hidden]

    def operate_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Show what an operation will do; do it when that was confirmed."""
        if not self.has_operate_permission(request):
            raise PermissionDenied
        account = self.get_object(request, unquote(object_id))
        operation = OPERATIONS.get(name)
        if account is None or operation is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        facts = facts_of(account)
        posted = request.POST if request.method == "POST" else None
        form = OperationForm(
            posted,
            initial=request.GET.dict(),
            operation=operation,
            account=account,
            slots=facts.slots,
        )
        if request.method == "POST" and form.is_valid():
            self.tell(request, operation, run(request, operation, [account], form.argument()))
            return HttpResponseRedirect(self._change_url(account))
        slot = whole_number(request.GET.get("slot"))
        chosen = slot if slot in facts.slots else None
        effects = [(account, operation.effect(facts_of(account, slot=chosen)))]
        return self.confirmation(request, operation, effects, form=form, account=account)

    def confirmation(
        self,
        request: HttpRequest,
        operation: Operation,
        effects: Sequence[tuple[BrokerAccount, str]],
        *,
        form: OperationForm | None = None,
        account: BrokerAccount | None = None,
    ) -> HttpResponse:
        """Return the page that asks."""
        back = self._change_url(account) if account else reverse(f"{self._names}_changelist")
        context = {
            **self.admin_site.each_context(request),
            "title": f"{operation.label}: are you sure?",
            "opts": self.opts,
            "account": account,
            "operation": operation,
            "effects": effects,
            "form": form,
            "back": back,
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
            "media": self.media,
            "dead": sum(not facts_of(each).is_alive for each, _ in effects),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "pooling/admin/operate.html", context)

    def tell(self, request: HttpRequest, operation: Operation, answers: Sequence[Answer]) -> None:
        """Log what was done and show the worker's words."""
        for answer in answers:
            self.log_change(request, answer.account, f"{operation.label}: {answer.text}")
        if len(answers) > 1:
            done = sum(answer.level == messages.SUCCESS for answer in answers)
            level = messages.SUCCESS if done == len(answers) else messages.WARNING
            text = f"{operation.label}: {done:,} of {len(answers):,} pools done."
            self.message_user(request, text, level)
        # What went wrong comes first; the rest is in each pool's history.
        ordered = sorted(answers, key=lambda each: each.level, reverse=True)
        for answer in ordered[:MAX_LINES]:
            self.message_user(request, f"{answer.account}: {answer.text}", answer.level)

    @property
    def _names(self) -> str:
        return f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}"

    def _change_url(self, account: BrokerAccount) -> str:
        return reverse(f"{self._names}_change", args=(account.pk,))


def facts_of(account: BrokerAccount, slot: int | None = None) -> PoolFacts:
    """Return the numbers of an account's pool as its worker last told them."""
    status: PoolStatus | None = getattr(account, "status", None)
    if status is None or not status.is_alive():
        return PoolFacts(
            is_alive=False, is_enabled=account.enabled, is_paused=account.paused, slot=slot
        )
    return PoolFacts(
        is_alive=True,
        is_enabled=account.enabled,
        is_paused=account.paused,
        symbols=status.symbols,
        clients=status.clients,
        slots={int(each["slot"]): int(each["used"]) for each in status.connection_stats},
        slot=slot,
    )


def run(
    request: HttpRequest,
    operation: Operation,
    accounts: Iterable[BrokerAccount],
    argument: Mapping[str, Any] | None = None,
) -> list[Answer]:
    """Do an operation on pools and return the answers; under ``WAIT_SECONDS`` for all together."""
    if operation.verb is None:
        return _start(request, list(accounts))
    asked: list[tuple[BrokerAccount, PoolCommand | str]] = []
    for account in accounts:
        try:
            command = command_queue.submit(
                account,
                operation.verb,
                argument=argument,
                user=request.user,  # type: ignore[arg-type]
                source=PoolCommand.Source.ADMIN,
            )
        except CommandRefusedError as error:
            asked.append((account, str(error)))
        else:
            asked.append((account, command))
    deadline = time.monotonic() + WAIT_SECONDS
    return [_answer(account, outcome, deadline) for account, outcome in asked]


def _answer(account: BrokerAccount, outcome: PoolCommand | str, deadline: float) -> Answer:
    if isinstance(outcome, str):
        return Answer(account, outcome, messages.ERROR)
    left = max(deadline - time.monotonic(), 0.0)
    command = command_queue.wait_for(outcome, left)
    levels = {PoolCommand.State.DONE: messages.SUCCESS, PoolCommand.State.FAILED: messages.ERROR}
    level = levels.get(PoolCommand.State(command.state), messages.WARNING)
    return Answer(account, command.result, level)


def _start(request: HttpRequest, accounts: Sequence[BrokerAccount]) -> list[Answer]:
    """Switch accounts on, end their pause, and wait until a worker serves them."""
    before = timezone.now()
    for account in accounts:
        account.enabled = True
        account.save(update_fields=["enabled"])
    paused = [account for account in accounts if account.paused]
    resumed = run(request, OPERATIONS["resume"], paused) if paused else []
    refused = [answer for answer in resumed if answer.level == messages.ERROR]
    accounts = [each for each in accounts if each not in {answer.account for answer in refused}]
    missing = {account.pk for account in accounts}
    deadline = time.monotonic() + WAIT_SECONDS
    while missing and time.monotonic() < deadline:
        served = PoolStatus.objects.filter(account__in=missing, heartbeat__gt=before)
        missing -= set(served.values_list("account_id", flat=True))
        if missing:
            time.sleep(POLL_SECONDS)
    return [
        *refused,
        *(
            Answer(account, _NOT_SERVED, messages.WARNING)
            if account.pk in missing
            else Answer(account, "Switched on, and served by a worker.", messages.SUCCESS)
            for account in accounts
        ),
    ]


def _act_on_many(
    model_admin: OperateMixin,
    request: HttpRequest,
    queryset: QuerySet[BrokerAccount],
    *,
    operation: Operation,
) -> HttpResponse | None:
    """Ask about the selected pools; do it when that was confirmed."""
    if not model_admin.has_operate_permission(request):
        raise PermissionDenied
    accounts = list(queryset.select_related("user", "status").defer(None)[: MAX_POOLS + 1])
    if len(accounts) > MAX_POOLS:
        model_admin.message_user(
            request, f"Select at most {MAX_POOLS} pools at a time.", messages.ERROR
        )
        return None
    if request.POST.get("confirmed") != "yes":
        effects = [(account, operation.effect(facts_of(account))) for account in accounts]
        return model_admin.confirmation(request, operation, effects)
    model_admin.tell(request, operation, run(request, operation, accounts))
    return None


def _key(line: str) -> tuple[str, str]:
    exchange, colon, symbol = line.partition(":")
    if not colon or not exchange.strip() or not symbol.strip():
        raise forms.ValidationError(f"“{line[:80]}” is no symbol: write EXCHANGE:SYMBOL.")
    return exchange.strip().upper(), symbol.strip().upper()


def _known(broker: str, keys: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
    """Return which keys are instruments of a broker, in portions that fit one statement."""
    known: set[tuple[str, str]] = set()
    for part in portions({symbol for _, symbol in keys}, 500):
        rows = Instrument.objects.filter(broker=broker, symbol__in=part)
        rows = rows.exclude(tier=SearchTier.EXPIRED)
        known.update(rows.values_list("exchange", "symbol"))
    return known
