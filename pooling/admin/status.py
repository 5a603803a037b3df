"""The admin of how each pool is now."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pooling.admin.history import ReadOnlyAdmin
from pooling.admin.lists.cells import NOTHING, age, bar
from pooling.admin.lists.filters import AccountBrokerFilter, FullnessFilter, StatusStateFilter
from pooling.admin.lists.states import state_badge
from pooling.models import PoolStatus
from pooling.operations.state_rows import state_now

__all__ = ["PoolStatusAdmin"]


@admin.register(PoolStatus)
class PoolStatusAdmin(ReadOnlyAdmin):
    """States of all pools now, the fullest first."""

    list_display = (
        "account",
        "state_now",
        "symbols_bar",
        "connections_bar",
        "waiting",
        "clients",
        "rate",
        "last_tick_age",
        "owner",
        "heard",
    )
    list_filter = (StatusStateFilter, FullnessFilter, AccountBrokerFilter)
    list_select_related = ("account__user",)
    ordering = ("-waiting", "-used")
    search_fields = ("account__user__username", "account__label", "owner")
    search_help_text = "User name or label of the account, or worker"
    show_facets = admin.ShowFacets.ALWAYS
    list_per_page = 50
    exclude = ("stats",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PoolStatus]:
        """Leave the details of every connection in the database."""
        return super().get_queryset(request).defer("stats")

    def get_fields(self, request: HttpRequest, obj: PoolStatus | None = None) -> Any:
        """Show the state that is true now first."""
        return ["operate", "state_now", "reason_now", *super().get_fields(request, obj)]

    def get_readonly_fields(self, request: HttpRequest, obj: PoolStatus | None = None) -> list[str]:
        """Everything is read only."""
        return ["operate", "state_now", "reason_now"]

    @admin.display(description="pool")
    def operate(self, status: PoolStatus) -> SafeString:
        """Lead to where the pool is operated."""
        url = reverse("admin:pooling_brokeraccount_change", args=(status.account_id,))
        return format_html('<a href="{}">Limits and operations of this pool</a>', url)

    @admin.display(description="state now", ordering="state")
    def state_now(self, status: PoolStatus) -> SafeString:
        """The pool's state."""
        return state_badge(status.account, status, timezone.now())

    @admin.display(description="reason now")
    def reason_now(self, status: PoolStatus) -> str:
        """Why."""
        return state_now(status.account, status, timezone.now()).reason or NOTHING

    @admin.display(description="used, of capacity", ordering="used")
    def symbols_bar(self, status: PoolStatus) -> SafeString:
        """In the broker's own units."""
        return bar(status.used, status.capacity)

    @admin.display(description="connections, of max", ordering="connections")
    def connections_bar(self, status: PoolStatus) -> SafeString:
        """Open, of allowed."""
        return bar(status.connections, status.max_connections)

    @admin.display(description="ticks/s", ordering="ticks_per_second")
    def rate(self, status: PoolStatus) -> str:
        """Ticks of the last seconds."""
        return f"{status.ticks_per_second:,.0f}"

    @admin.display(description="last tick", ordering="last_tick")
    def last_tick_age(self, status: PoolStatus) -> SafeString | str:
        """Age of the newest price."""
        return age(status.last_tick, timezone.now())

    @admin.display(description="heard", ordering="heartbeat")
    def heard(self, status: PoolStatus) -> SafeString | str:
        """Age of the worker's last word."""
        return age(status.heartbeat, timezone.now())
