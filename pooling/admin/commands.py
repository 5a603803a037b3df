"""The admin of what people asked of pools: who, when, what, and how it ended."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q
from django.utils.safestring import SafeString

from pooling.admin.history import HistoryAdmin
from pooling.admin.lists.cells import NOTHING, Tone, badge, moment
from pooling.admin.lists.filters import ChoiceFilter
from pooling.models import PoolCommand

__all__ = ["PoolCommandAdmin"]

_TONES = {
    PoolCommand.State.DONE: Tone.GOOD,
    PoolCommand.State.FAILED: Tone.BAD,
    PoolCommand.State.EXPIRED: Tone.OFF,
    PoolCommand.State.WAITING: Tone.HELD,
}


class VerbFilter(ChoiceFilter):
    """By what was asked."""

    title = "verb"
    parameter_name = "verb"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the verbs."""
        return {value: (label, Q(verb=value)) for value, label in PoolCommand.Verb.choices}


class CommandStateFilter(ChoiceFilter):
    """By how it ended."""

    title = "state"
    parameter_name = "state"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the states."""
        return {value: (label, Q(state=value)) for value, label in PoolCommand.State.choices}


class SourceFilter(ChoiceFilter):
    """By where it was asked."""

    title = "asked in"
    parameter_name = "source"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the places."""
        return {value: (label, Q(source=value)) for value, label in PoolCommand.Source.choices}


@admin.register(PoolCommand)
class PoolCommandAdmin(HistoryAdmin):
    """Every request to a pool; operate pools on the list of accounts."""

    list_display = ("time", "account", "verb", "asked_by", "source", "outcome", "result")
    list_filter = (CommandStateFilter, VerbFilter, SourceFilter)
    list_select_related = ("account__user", "requested_by")
    search_help_text = "User name or label of the account, who asked, or words of the result"
    searched = ("result", "requested_by__username")
    date_hierarchy = "requested"
    date_index = "id"  # commands are written as they are asked

    @admin.display(description="asked", ordering="id")
    def time(self, command: PoolCommand) -> SafeString | str:
        """Time of the request."""
        return moment(command.requested)

    @admin.display(description="by", ordering="requested_by__username")
    def asked_by(self, command: PoolCommand) -> str:
        """Source of the request."""
        return str(command.requested_by) if command.requested_by else NOTHING

    @admin.display(description="state", ordering="state")
    def outcome(self, command: PoolCommand) -> SafeString:
        """State of the request."""
        state = PoolCommand.State(command.state)
        return badge(_TONES[state], state.label)
