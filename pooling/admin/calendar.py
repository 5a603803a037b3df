"""The admin of trading days: holidays and special sessions, one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from pooling.models import TradingDay

if TYPE_CHECKING:
    DayAdminBase = admin.ModelAdmin[TradingDay]
else:
    DayAdminBase = admin.ModelAdmin

__all__ = ["TradingDayAdmin"]


@admin.register(TradingDay)
class TradingDayAdmin(DayAdminBase):
    """Days on which a market differs from Monday to Friday at its usual hours."""

    list_display = ("day", "market", "opens", "closes", "note")
    list_filter = ("market",)
    date_hierarchy = "day"
    search_fields = ("note",)
    search_help_text = "Words of the note"
