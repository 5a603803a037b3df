"""The admin of what pools did: peaks, days, records and events. Workers write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pooling.admin.lists.cells import Tone, badge, bar, moment
from pooling.admin.lists.filters import AccountBrokerFilter, ChoiceFilter
from pooling.admin.lists.large_tables import BoundedPaginator
from pooling.models import BrokerAccount, PoolEvent, PoolRecord, PoolUsage, PoolUsageDay
from pooling.operations.pool_state import PoolState, event_word

if TYPE_CHECKING:
    ReadOnlyBase = admin.ModelAdmin[Any]
else:
    ReadOnlyBase = admin.ModelAdmin

__all__ = [
    "HistoryAdmin",
    "PoolEventAdmin",
    "PoolRecordAdmin",
    "PoolUsageAdmin",
    "PoolUsageDayAdmin",
    "ReadOnlyAdmin",
]


class ReadOnlyAdmin(ReadOnlyBase):
    """Rows that workers write and people only look at."""

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("pooling/admin/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds history."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History goes by its age."""
        return False


class HistoryAdmin(ReadOnlyAdmin):
    """Rows of accounts, perhaps millions: see ``large_tables``."""

    change_list_template = "pooling/admin/large_change_list.html"
    list_select_related: ClassVar[tuple[str, ...]] = ("account__user",)
    search_fields = ("account__user__username", "account__label")
    search_help_text = "User name or label of the account"
    show_full_result_count = False
    list_per_page = 50
    paginator = BoundedPaginator
    # Fields of the row itself that the search looks into besides the account.
    searched: ClassVar[tuple[str, ...]] = ()
    # An indexed field in the order of ``date_hierarchy``, where that has no index.
    date_index: ClassVar[str | None] = None

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find the accounts first, so that their index leads to the rows."""
        for word in search_term.split():
            accounts = BrokerAccount.objects.filter(
                Q(user__username__icontains=word) | Q(label__icontains=word)
            )
            condition = Q(account__in=accounts.values("pk"))
            for field in self.searched:
                condition |= Q(**{f"{field}__icontains": word})
            queryset = queryset.filter(condition)
        return queryset, False


class UsageColumns(HistoryAdmin):
    """The columns that intervals and days share."""

    readonly_fields = ("symbols_bar", "connections_bar")

    @admin.display(description="symbols, of capacity", ordering="symbols")
    def symbols_bar(self, usage: PoolUsage | PoolUsageDay) -> SafeString:
        """The most symbols, of what was allowed then."""
        return bar(usage.symbols, usage.max_connections * usage.symbols_per_connection, "symbols")

    @admin.display(description="connections, of max", ordering="connections")
    def connections_bar(self, usage: PoolUsage | PoolUsageDay) -> SafeString:
        """The most connections, of what was allowed then."""
        return bar(usage.connections, usage.max_connections, "connections")

    @admin.display(description="peak ticks/s", ordering="ticks_per_second")
    def rate(self, usage: PoolUsage | PoolUsageDay) -> str:
        """The highest rate."""
        return f"{usage.ticks_per_second:,.0f}"

    @admin.display(description="drops", ordering="drops")
    def dropped(self, usage: PoolUsage | PoolUsageDay) -> SafeString | str:
        """Ticks that reached nobody."""
        return badge(Tone.WARN, f"{usage.drops:,}") if usage.drops else "0"


@admin.register(PoolUsage)
class PoolUsageAdmin(UsageColumns):
    """Peaks of each pool, some minutes a row."""

    list_display = (
        "time",
        "account",
        "symbols_bar",
        "connections_bar",
        "clients",
        "rate",
        "dropped",
        "reconnects",
    )
    list_filter = (AccountBrokerFilter,)
    date_hierarchy = "started"

    @admin.display(description="from", ordering="started")
    def time(self, usage: PoolUsage) -> SafeString | str:
        """Beginning of the interval."""
        return moment(usage.started)


@admin.register(PoolUsageDay)
class PoolUsageDayAdmin(UsageColumns):
    """Peaks of each pool, a day a row."""

    list_display = (
        "day",
        "account",
        "symbols_bar",
        "connections_bar",
        "clients",
        "rate",
        "dropped",
        "reconnects",
    )
    list_filter = (AccountBrokerFilter,)
    date_hierarchy = "day"


@admin.register(PoolRecord)
class PoolRecordAdmin(HistoryAdmin):
    """The highest values that each pool ever reached, and when."""

    list_display = ("account", "most_symbols", "most_connections", "most_clients", "most_ticks")
    list_filter = (AccountBrokerFilter,)
    show_facets = admin.ShowFacets.ALWAYS

    @admin.display(description="symbols", ordering="symbols")
    def most_symbols(self, record: PoolRecord) -> SafeString:
        """The most symbols ever."""
        return _peak(record.symbols, record.symbols_at)

    @admin.display(description="connections", ordering="connections")
    def most_connections(self, record: PoolRecord) -> SafeString:
        """The most connections ever."""
        return _peak(record.connections, record.connections_at)

    @admin.display(description="clients", ordering="clients")
    def most_clients(self, record: PoolRecord) -> SafeString:
        """The most clients ever."""
        return _peak(record.clients, record.clients_at)

    @admin.display(description="ticks/s", ordering="ticks_per_second")
    def most_ticks(self, record: PoolRecord) -> SafeString:
        """The highest rate ever."""
        return _peak(record.ticks_per_second, record.ticks_per_second_at)


class EventKindFilter(ChoiceFilter):
    """By what happened; the kinds are those of ``pooling/pool/journal.py`` and the worker."""

    title = "kind"
    parameter_name = "kind"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the kinds, in words."""
        return {kind: (event_word(kind), Q(kind=kind)) for kind in _EVENT_TONES}


@admin.register(PoolEvent)
class PoolEventAdmin(HistoryAdmin):
    """Events of each pool, with their reasons."""

    list_display = ("time", "account", "what", "message")
    list_filter = (EventKindFilter, AccountBrokerFilter)
    search_help_text = "User name or label of the account, or words of the message"
    searched = ("message",)
    date_hierarchy = "at"
    date_index = "id"  # events are written as they happen

    @admin.display(description="at", ordering="id")
    def time(self, event: PoolEvent) -> SafeString | str:
        """Time of the event."""
        return moment(event.at)

    @admin.display(description="kind", ordering="kind")
    def what(self, event: PoolEvent) -> SafeString:
        """Kind of the event, in words."""
        return badge(_EVENT_TONES.get(event.kind, Tone.OFF), event_word(event.kind))


_EVENT_TONES = {
    "feed_live": PoolState.LIVE.tone,
    "feed_stale": PoolState.STALE.tone,
    "feed_auth_required": PoolState.LOGIN_NEEDED.tone,
    "feed_not_served": PoolState.NO_WORKER.tone,
    "feed_closed": PoolState.PAUSED.tone,
    "feed_disabled": PoolState.DISABLED.tone,
    "connected": Tone.GOOD,
    "lost": Tone.BAD,
    "auth_required": Tone.BAD,
    "config_error": Tone.BAD,
    "capacity_reached": Tone.WARN,
    "displaced": Tone.WARN,
    "config_applied": Tone.OFF,
    "credentials_changed": Tone.OFF,
    "upkeep": Tone.OFF,
}


def _peak(value: float, at: Any) -> SafeString:
    return format_html('{} <span class="tp-quiet">{}</span>', f"{value:,.0f}", moment(at))
