"""The admin of watchlists."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.contrib import admin

from streaming.admin.parts import STYLE
from streaming.models import Watchlist

if TYPE_CHECKING:
    WatchlistAdminBase = admin.ModelAdmin[Watchlist]
else:
    WatchlistAdminBase = admin.ModelAdmin

__all__ = ["WatchlistAdmin"]


@admin.register(Watchlist)
class WatchlistAdmin(WatchlistAdminBase):
    """Lists of symbols that users watch."""

    list_display = ("name", "user", "size", "updated")
    list_select_related = ("user",)
    list_per_page = 50
    change_list_template = "streaming/admin/change_list.html"
    autocomplete_fields = ("user",)
    date_hierarchy = "updated"
    ordering = ("user__username", "position", "id")
    search_fields = ("name", "user__username")
    search_help_text = "Name of the list, or user name"

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": (STYLE,)}

    @admin.display(description="symbols")
    def size(self, watchlist: Watchlist) -> int:
        """Number of symbols in it."""
        return len(watchlist.symbols)
