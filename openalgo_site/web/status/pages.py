"""The status page and the history of a pool, for people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from openalgo_site.web.api_access import ApiError, api_view
from openalgo_site.web.pages import TICKS_PATH
from openalgo_site.web.status.access import visible_accounts
from openalgo_site.web.status.day_cells import day_cells
from openalgo_site.web.status.export import csv_lines, event_lines
from openalgo_site.web.status.history import (
    MEASURES,
    RANGES,
    Span,
    SpanError,
    chart,
    read_span,
)
from openalgo_site.web.status.history_rows import (
    day_rows,
    happened,
    peaks_of,
    records,
    rows_of,
)
from pooling.models import BrokerAccount, PoolRecord
from pooling.operations.naming import account_name
from pooling.operations.pool_state import event_word
from streaming.scopes import Scope

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = [
    "HistoryPageView",
    "StatusPageView",
    "events_csv",
    "history_csv",
    "history_json",
    "urlpatterns",
]

_HISTORY_COST = 10  # look-ups, about, of a history's answer
_NAMES = {
    "symbols": "Symbols",
    "connections": "Connections",
    "clients": "Clients",
    "ticks_per_second": "Ticks/s",
    "drops": "Drops in one interval",
}


@method_decorator(never_cache, name="dispatch")
class StatusPageView(LoginRequiredMixin, TemplateView):
    """Page of all pools now. The figures come over its socket, which asks who sees what."""

    template_name = "status/status.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Tell the page where its socket is."""
        return super().get_context_data(ticks_path=TICKS_PATH, **kwargs)


@method_decorator(never_cache, name="dispatch")
class HistoryPageView(LoginRequiredMixin, TemplateView):
    """Page of one pool's past: charts of a chosen range, days, and the highest values ever."""

    template_name = "status/history.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Read what does not depend on the range; the charts ask for the rest.

        Raises:
            Http404: there is no such pool, or this user may not see it.
        """
        account = _account(self.request, kwargs["account_id"])
        return super().get_context_data(
            account=account,
            account_name=account_name(account),
            ranges=list(RANGES),
            records=_records(records(account.pk)),
            days=list(day_cells(day_rows(account), timezone.get_current_timezone())),
            kept_days=settings.ENV.usage_kept_days,
            **kwargs,
        )


def history_json(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Answer with the points of the charts; for a session or an API key of who may see the pool."""

    def answer(request: HttpRequest, user: User) -> dict[str, Any]:
        account, span = _asked(request, user, account_id)
        interval = timedelta(seconds=settings.ENV.usage_interval_seconds)
        events, states = happened(account, span)
        rows, peaks = rows_of(account_id, span), partial(peaks_of, span.step)
        return {
            **chart(rows, span, interval, states, peaks_of=peaks),
            "events": [
                (round(at.timestamp() * 1000), kind, message, event_word(kind))
                for at, kind, message in events.rows
            ],
            "events_total": events.total,
        }

    return api_view("GET", scope=Scope.READ_STATUS, cost=_HISTORY_COST)(answer)(request)


@never_cache
def history_csv(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Send the history as a file, row by row, to a session or an API key of who may see the pool.

    A browser whose session has ended is led to the login; a program is told in JSON.
    """
    return _file_for(request, account_id, _history_file)


@never_cache
def events_csv(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """Send what happened to a pool as a file; otherwise as ``history_csv``."""
    return _file_for(request, account_id, _events_file)


def _file_for(
    request: HttpRequest, account_id: int, send: Callable[..., HttpResponseBase]
) -> HttpResponseBase:
    is_browser = "text/html" in request.headers.get("Accept", "")
    if is_browser and not request.user.is_authenticated and "X-API-KEY" not in request.headers:
        return redirect_to_login(request.get_full_path())
    view = api_view("GET", scope=Scope.READ_STATUS, cost=_HISTORY_COST)(send)
    return view(request, account_id=account_id)


def _history_file(request: HttpRequest, user: User, account_id: int) -> HttpResponseBase:
    account, span = _asked(request, user, account_id)
    return _file(csv_lines(account, span), account, span, span.step.value)


def _events_file(request: HttpRequest, user: User, account_id: int) -> HttpResponseBase:
    account, span = _asked(request, user, account_id)
    return _file(event_lines(account, span), account, span, "events")


def _asked(request: HttpRequest, user: User, account_id: int) -> tuple[BrokerAccount, Span]:
    """Return whose history is asked for, and of which time. Raises ApiError."""
    account = visible_accounts(user).filter(pk=account_id).first()
    if account is None:
        raise ApiError(404, "There is no such pool, or it is not yours to see.")
    try:
        span = read_span(request.GET.dict(), timezone.now(), timezone.get_default_timezone())
    except SpanError as error:
        raise ApiError(400, str(error)) from None
    return account, span


def _file(
    lines: AsyncIterator[str], account: BrokerAccount, span: Span, what: str
) -> StreamingHttpResponse:
    days = [f"{timezone.localtime(at):%Y%m%d}" for at in (span.start, span.end)]
    name = f"tickpool-pool-{account.pk}-{what}-{days[0]}-{days[1]}.csv"
    return StreamingHttpResponse(
        lines,
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _account(request: HttpRequest, account_id: int) -> BrokerAccount:
    """Return the account. Raises Http404 also for one of others: nobody learns what exists."""
    user = request.user
    if not user.is_authenticated:
        raise Http404
    return get_object_or_404(visible_accounts(user), pk=account_id)


def _records(record: PoolRecord | None) -> list[tuple[str, float, Any]]:
    if record is None:
        return []
    return [
        (_NAMES[name], getattr(record, name), getattr(record, f"{name}_at"))
        for name in (*MEASURES, "drops")
        if getattr(record, name)
    ]


urlpatterns = [
    path("", StatusPageView.as_view(), name="status"),
    path("<int:account_id>/", HistoryPageView.as_view(), name="status-history"),
    path("<int:account_id>/history.json", history_json, name="status-history-json"),
    path("<int:account_id>/history.csv", history_csv, name="status-history-csv"),
    path("<int:account_id>/history-events.csv", events_csv, name="status-history-events"),
]
