"""The admin of API keys and watchlists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from streaming.models import ApiKey, Watchlist

if TYPE_CHECKING:
    ApiKeyAdminBase = admin.ModelAdmin[ApiKey]
    WatchlistAdminBase = admin.ModelAdmin[Watchlist]
else:
    ApiKeyAdminBase = WatchlistAdminBase = admin.ModelAdmin

__all__ = ["ApiKeyAdmin", "WatchlistAdmin"]


@admin.register(ApiKey)
class ApiKeyAdmin(ApiKeyAdminBase):
    """Keys are made, shown once, and revoked; never changed."""

    list_display = ("name", "user", "prefix", "created", "last_used", "revoked_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    list_select_related = ("user",)
    search_fields = ("name", "user__username", "prefix")
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Ask for owner and purpose only; show the rest afterwards."""
        if obj is None:
            return ("user", "name")
        return ("user", "name", "prefix", "created", "last_used", "revoked_at")

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Nothing of a key is changed."""
        return () if obj is None else self.get_fields(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Suggest whoever is logged in."""
        return {"user": request.user.pk}

    def save_model(self, request: Any, obj: ApiKey, form: Any, change: bool) -> None:
        """Make the key and show it, this once."""
        if change:
            return
        created, plaintext = ApiKey.objects.issue(obj.user, obj.name)
        obj.__dict__.update(created.__dict__)
        messages.warning(
            request, f"The API key is {plaintext} . Copy it now: it is not shown again."
        )

    @admin.action(description="Revoke the selected API keys", permissions=["change"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """End keys; their clients are told to leave."""
        keys = list(queryset.filter(revoked_at=None))
        for key in keys:
            key.revoke()
        self.message_user(request, f"{len(keys)} API key(s) revoked.")


@admin.register(Watchlist)
class WatchlistAdmin(WatchlistAdminBase):
    """What users watch."""

    list_display = ("name", "user", "updated")
    list_select_related = ("user",)
    search_fields = ("name", "user__username")
