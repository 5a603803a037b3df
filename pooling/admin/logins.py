"""The admin of logins at brokers: every attempt, and where an account's login leads.

What a login needs is entered on the Brokers page by the account's owner; secrets are shown nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from pooling.admin.history import HistoryAdmin
from pooling.admin.lists.cells import NOTHING, Tone, badge, moment
from pooling.admin.lists.filters import ChoiceFilter
from pooling.login.states import AttemptKind, AttemptState
from pooling.models import LoginAttempt, LoginSetup

if TYPE_CHECKING:
    SetupAdminBase = admin.ModelAdmin[LoginSetup]
else:
    SetupAdminBase = admin.ModelAdmin

__all__ = ["LoginAttemptAdmin", "LoginSetupAdmin"]

_TONES = {
    AttemptState.GRANTED.value: Tone.GOOD,
    AttemptState.REFUSED.value: Tone.BAD,
    AttemptState.LATE.value: Tone.BAD,
    AttemptState.CANCELLED.value: Tone.OFF,
}


class AttemptStateFilter(ChoiceFilter):
    """By how it ended."""

    title = "state"
    parameter_name = "state"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the states."""
        return {each.value: (each.value, Q(state=each.value)) for each in AttemptState}


class AttemptKindFilter(ChoiceFilter):
    """By the way in which it was made."""

    title = "kind"
    parameter_name = "kind"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the kinds."""
        return {each.value: (each.value, Q(kind=each.value)) for each in AttemptKind}


@admin.register(LoginAttempt)
class LoginAttemptAdmin(HistoryAdmin):
    """Every attempt to log in at a broker, and how it ended."""

    list_display = ("time", "account", "kind", "by", "outcome", "result")
    list_filter = (AttemptStateFilter, AttemptKindFilter)
    list_select_related = ("account__user", "user")
    search_help_text = "User name or label of the account, or words of the result"
    searched = ("result",)
    date_hierarchy = "begun"
    date_index = "id"  # attempts are written as they begin
    exclude = ("state_hash", "session_hash", "sealed", "prepared", "told_owner")

    @admin.display(description="begun", ordering="id")
    def time(self, attempt: LoginAttempt) -> SafeString | str:
        """Time of its beginning."""
        return moment(attempt.begun)

    @admin.display(description="by")
    def by(self, attempt: LoginAttempt) -> str:
        """Who began it."""
        return str(attempt.user) if attempt.user else NOTHING

    @admin.display(description="state", ordering="state")
    def outcome(self, attempt: LoginAttempt) -> SafeString:
        """How it ended, or how far it is."""
        return badge(_TONES.get(attempt.state, Tone.HELD), attempt.state)


@admin.register(LoginSetup)
class LoginSetupAdmin(SetupAdminBase):
    """Where an account's login leads, and whose it is; what is secret is not here."""

    list_display = ("account", "kind", "owner", "unattended", "unattended_at", "stopped")
    list_select_related = ("account__user",)
    search_fields = ("account__user__username", "account__label", "owner")
    fields: ClassVar[tuple[str, ...]] = (
        "account",
        "kind",
        "owner",
        "endpoint",
        "unattended",
        "unattended_at",
        "stopped",
    )
    readonly_fields: ClassVar[tuple[str, ...]] = ("account", "stopped")

    def save_model(
        self,
        request: HttpRequest,
        obj: LoginSetup,
        form: Any,
        change: bool,
    ) -> None:
        """Save what was changed, and nothing of what a worker writes meanwhile."""
        obj.save(update_fields=[*form.changed_data, "changed"])

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds one here: its owner does, on the Brokers page."""
        return False
