"""The admin of the brokers' instruments."""

from __future__ import annotations

from django.contrib import admin

from pooling.admin.history import ReadOnlyAdmin
from pooling.admin.lists.large_tables import BoundedPaginator
from pooling.models import Instrument

__all__ = ["InstrumentAdmin"]


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    """The brokers' instruments; ``loadinstruments`` replaces them."""

    change_list_template = "pooling/admin/large_change_list.html"
    list_display = (
        "symbol",
        "exchange",
        "broker",
        "name",
        "instrument_type",
        "tier",
        "expiry",
        "strike",
        "lot_size",
    )
    list_filter = ("broker", "exchange", "tier", "instrument_type")
    ordering = ("symbol",)
    search_fields = ("symbol", "name")
    search_help_text = "Begin of the symbol, or words of the name"
    show_full_result_count = False
    list_per_page = 50
    paginator = BoundedPaginator
