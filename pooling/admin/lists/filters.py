"""Filters of the admin's lists. Each says how many rows it would leave, in one query."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Count, F, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from pooling import conf
from pooling.operations.state_rows import conditions

__all__ = [
    "AccountBrokerFilter",
    "ChoiceFilter",
    "CredentialFilter",
    "FullnessFilter",
    "StateFilter",
    "StatusStateFilter",
]

SOON = timedelta(hours=2)


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


class StateFilter(ChoiceFilter):
    """By the state that the list shows, for models that are or have an account."""

    title = "state"
    parameter_name = "state"
    to_account: ClassVar[str] = ""
    to_status: ClassVar[str] = "status__"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the states, as ``operations.pool_state`` says them."""
        found = conditions(timezone.now(), account=self.to_account, status=self.to_status)
        return {state.value: (state.value, condition) for state, condition in found.items()}


class StatusStateFilter(StateFilter):
    """``StateFilter`` for ``PoolStatus``."""

    to_account = "account__"
    to_status = ""


class FullnessFilter(ChoiceFilter):
    """By how much of the capacity is used, of ``PoolStatus``."""

    title = "capacity used"
    parameter_name = "used"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the quarters that matter."""
        waiting = Q(waiting__gt=0)
        return {
            "waiting": ("symbols without a place", waiting),
            "full": ("90 % or more", _share_at_least(0.9)),
            "half": ("50 % to 90 %", _share_at_least(0.5) & ~_share_at_least(0.9)),
            "low": ("under 50 %", ~_share_at_least(0.5)),
        }


class CredentialFilter(ChoiceFilter):
    """By whether the account's credential is there and for how long."""

    title = "credential"
    parameter_name = "credential"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return what a person has to act on first."""
        now = timezone.now()
        is_set = Q(credentials_version__gt=0)
        return {
            "expired": ("expired", is_set & Q(credentials_expire__lte=now)),
            "soon": (
                "expires within 2 hours",
                is_set & Q(credentials_expire__gt=now, credentials_expire__lte=now + SOON),
            ),
            "set": ("set", is_set),
            "missing": ("not set", ~is_set),
        }


class AccountBrokerFilter(ChoiceFilter):
    """By the broker of the row's account."""

    title = "broker"
    parameter_name = "broker"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the brokers of this installation."""
        return {name: (label, Q(account__broker=name)) for name, label in conf.broker_choices()}


def _share_at_least(share: float) -> Q:
    return Q(capacity__gt=0, used__gte=F("capacity") * share)
