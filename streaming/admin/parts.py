"""Parts of the admin's lists of this app. Their style sheet is that of the admin of pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from brokers.times.moments import moment_text

if TYPE_CHECKING:
    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = admin.ModelAdmin

__all__ = ["NOTHING", "STYLE", "ChoiceFilter", "age", "ask", "badge", "is_confirmed"]

NOTHING = "-"  # what an empty cell shows
STYLE = "pooling/admin/admin.css"
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class ChoiceFilter(admin.SimpleListFilter):
    """A filter whose choices are conditions, counted together without a subquery for each."""

    def conditions(self) -> Mapping[str, tuple[str, Q]]:
        """Return parameter → (how it reads, condition)."""
        raise NotImplementedError

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the choices."""
        return [(value, words) for value, (words, _) in self.conditions().items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Narrow the list; an unknown value narrows nothing."""
        chosen = self.conditions().get(self.value() or "")
        return queryset if chosen is None else queryset.filter(chosen[1])

    def get_facet_counts(self, pk_attname: str, filtered_qs: QuerySet[Any]) -> dict[str, Any]:
        """Return one conditional count for each choice."""
        conditions = [condition for _, condition in self.conditions().values()]
        return {
            f"{index}__c": Count(pk_attname, filter=condition)
            for index, condition in enumerate(conditions)
        }


def badge(tone: str, word: str, reason: str = "") -> SafeString:
    """Return a word with its shape and colour: good, warn, bad, off or held."""
    return format_html(
        '<span class="tp-badge tp-{}" title="{}">{}</span>', tone, reason or word, word
    )


def age(at: datetime | None) -> SafeString | str:
    """Return how long ago something was; the exact time is read when it is pointed at."""
    if at is None:
        return NOTHING
    seconds = (timezone.now() - at).total_seconds()
    words = "now"
    for size, unit in UNITS:
        if seconds >= size:
            words = f"{int(seconds // size):,} {unit} ago"
            break
    local = timezone.localtime(at)
    return format_html(
        '<time class="tp-time" datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        moment_text(local),
        words,
    )


def is_confirmed(request: HttpRequest) -> bool:
    """Tell whether a person has answered ``ask``."""
    return request.POST.get("confirmed") == "yes"


def ask(
    model_admin: ModelAdminBase,
    request: HttpRequest,
    *,
    action: str,
    label: str,
    effects: Sequence[tuple[Model, str]],
) -> TemplateResponse:
    """Return the page that says what an action will do to each object, and asks."""
    site, opts = model_admin.admin_site, model_admin.opts
    context = {
        **site.each_context(request),
        "title": f"{label}: are you sure?",
        "opts": opts,
        "action": action,
        "label": label,
        "effects": effects,
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
        "back": reverse(f"{site.name}:{opts.app_label}_{opts.model_name}_changelist"),
        "media": model_admin.media,
    }
    request.current_app = site.name
    return TemplateResponse(request, "streaming/admin/confirm.html", context)
