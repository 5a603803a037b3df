"""The admin of API keys."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from brokers.times.moments import moment_text
from brokers.words import counted, verb
from streaming.admin.parts import NOTHING, STYLE, ChoiceFilter, age, ask, badge, is_confirmed
from streaming.key_rights import Person, may_issue_for
from streaming.models import ApiKey, ClientConnection
from streaming.models.gateways import GATEWAY_KEPT
from streaming.models.keys import why_no_end
from streaming.scopes import Scope, scope_text

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    ApiKeyAdminBase = admin.ModelAdmin[ApiKey]
    ApiKeyFormBase = forms.ModelForm[ApiKey]
else:
    ApiKeyAdminBase = admin.ModelAdmin
    ApiKeyFormBase = forms.ModelForm

__all__ = ["ApiKeyAdmin"]

REVOKE = "streaming.revoke_apikey"
ACCOUNTS = "pooling.change_brokeraccount"
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.1
UNUSED = timedelta(days=30)
SOON = timedelta(days=7)
SCOPE_FIELDS = tuple(f"may_{each}" for each in Scope)


class ApiKeyForm(ApiKeyFormBase):
    """A new key; of whom it may be depends on ``actor``, who is logged in."""

    actor: User

    def clean_user(self) -> User:
        """Refuse an owner who may do more than whoever makes the key."""
        owner: User = self.cleaned_data["user"]
        if not may_issue_for(_person(self.actor), _person(owner)):
            raise forms.ValidationError(
                "A key opens the door as its owner, and this one may do as much as you or more: "
                "only a superuser makes such a key, or the owner."
            )
        return owner

    def clean_ends(self) -> datetime | None:
        """Refuse an end that is none."""
        ends: datetime | None = self.cleaned_data["ends"]
        if reason := why_no_end(ends, timezone.now()):
            raise forms.ValidationError(reason)
        return ends

    def clean(self) -> dict[str, Any]:
        """Refuse a key that may do nothing, or more than whoever makes it."""
        cleaned = super().clean() or {}
        if not any(cleaned.get(name) for name in SCOPE_FIELDS):
            raise forms.ValidationError("Choose at least one thing that the key may do.")
        owner = cleaned.get("user")
        is_others = owner is not None and owner != self.actor
        if cleaned.get("may_set_credentials") and is_others and not self.actor.has_perm(ACCOUNTS):
            self.add_error(
                "may_set_credentials",
                "Only the owner, or who may change broker accounts, makes a key that sets their "
                "credentials.",
            )
        return cleaned


class KeyStateFilter(ChoiceFilter):
    """By whether a key opens the door, and whether anybody uses it."""

    title = "state"
    parameter_name = "state"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the states."""
        now, before = timezone.now(), timezone.now() - UNUSED
        kept, is_over = Q(revoked_at=None), Q(ends__lte=now)
        # Not ``~is_over``: that is unknown, not true, of a key without an end.
        valid = kept & (Q(ends=None) | Q(ends__gt=now))
        return {
            "valid": ("valid", valid),
            "ending": (
                "valid, ends within 7 days",
                kept & Q(ends__gt=now, ends__lte=now + SOON),
            ),
            "unused": (
                "valid, not used for 30 days",
                valid & (Q(last_used=None, created__lt=before) | Q(last_used__lt=before)),
            ),
            "ended": ("ended", kept & is_over),
            "revoked": ("revoked", ~kept),
        }


class KeyScopeFilter(ChoiceFilter):
    """By what a key may do."""

    title = "what it may do"
    parameter_name = "may"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the scopes."""
        return {each: (scope_text([each]), Q(**{f"may_{each}": True})) for each in Scope}


@admin.register(ApiKey)
class ApiKeyAdmin(ApiKeyAdminBase):
    """Keys are made, shown once, and revoked; never changed."""

    list_display = ("name", "user", "state", "may", "end", "used", "clients", "begins_with",
                    "created")  # fmt: skip
    list_filter = (KeyStateFilter, KeyScopeFilter)
    list_select_related = ("user",)
    list_per_page = 50
    change_list_template = "streaming/admin/change_list.html"
    autocomplete_fields = ("user",)
    date_hierarchy = "created"
    ordering = ("-created",)
    search_fields = ("name", "user__username", "prefix")
    search_help_text = "Name of the key, user name, or the first characters of the key"
    show_facets = admin.ShowFacets.ALWAYS
    actions = ("revoke",)

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": (STYLE,)}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Refuse look-ups of a key's hash: a list would tell it letter by letter."""
        is_sealed = "hash" in lookup.split("__")
        return not is_sealed and super().lookup_allowed(lookup, value, request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whether this person may revoke keys."""
        return bool(request.user.has_perm(REVOKE))

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Keys are revoked, not deleted: the list remembers whose they were."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiKey]:
        """Count each key's clients at gateways that are there."""
        alive = Q(client_connections__gateway__heartbeat__gt=timezone.now() - GATEWAY_KEPT)
        clients = Count("client_connections", filter=alive)
        return super().get_queryset(request).annotate(connected=clients)

    @admin.display(description="state", ordering="revoked_at")
    def state(self, key: ApiKey) -> SafeString:
        """Whether the key opens the door."""
        if key.revoked_at is None:
            if key.has_ended(timezone.now()):
                return badge("off", "ended", f"at {_moment(key.ends)}")
            return badge("good", "valid")
        return badge("off", "revoked", f"at {_moment(key.revoked_at)}")

    @admin.display(description="may")
    def may(self, key: ApiKey) -> str:
        """Scopes of the key."""
        return scope_text(key.scope)

    @admin.display(description="ends", ordering="ends")
    def end(self, key: ApiKey) -> SafeString | str:
        """Time at which the key ends by itself, to the minute."""
        if key.ends is None:
            return NOTHING
        at = timezone.localtime(key.ends)
        return format_html(
            '<time class="tp-time" datetime="{}" title="{}">{}</time>',
            at.isoformat(),
            moment_text(at),
            f"{at:%Y-%m-%d %H:%M}",
        )

    @admin.display(description="begins with", ordering="prefix")
    def begins_with(self, key: ApiKey) -> str:
        """The part of the key by which its owner knows it."""
        return f"{key.prefix}..."

    @admin.display(description="clients now", ordering="connected")
    def clients(self, key: ApiKey) -> str:
        """Number of clients connected with the key."""
        connected: int = getattr(key, "connected", 0)
        return f"{connected:,}" if connected else NOTHING

    @admin.display(description="last used", ordering="last_used")
    def used(self, key: ApiKey) -> SafeString | str:
        """Time of the key's last use, to the minute."""
        return "never" if key.last_used is None else age(key.last_used)

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Ask for what is chosen once; show the rest afterwards."""
        if obj is None:
            return ("user", "name", "ends", *SCOPE_FIELDS)
        return ("user", "name", "state", "may", "end", "begins_with", "clients", "created",
                "last_used")  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Nothing of a key is changed."""
        return () if obj is None else self.get_fields(request, obj)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Suggest whoever is logged in."""
        return {"user": request.user.pk}

    def get_form(
        self, request: HttpRequest, obj: ApiKey | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Let a new key's form know who makes it."""
        if obj is None:
            kwargs["form"] = type("ApiKeyForm", (ApiKeyForm,), {"actor": request.user})
        return super().get_form(request, obj, change, **kwargs)

    def save_model(self, request: Any, obj: ApiKey, form: Any, change: bool) -> None:
        """Make the key; ``response_add`` shows it, this once."""
        if change:
            return
        if not may_issue_for(_person(request.user), _person(obj.user)):
            raise PermissionDenied  # the form has said so
        created, plaintext = ApiKey.objects.issue(
            obj.user, obj.name, scope=obj.scope, ends=obj.ends
        )
        obj.__dict__.update(created.__dict__)
        request.issued_key = plaintext

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the new key in the answer itself: nothing else, no cookie either, carries it."""
        site = self.admin_site
        context = {
            **site.each_context(request),
            "title": "New API key",
            "opts": self.opts,
            "key": obj,
            "plaintext": getattr(request, "issued_key", ""),
            "may": scope_text(obj.scope),
            "ends": "" if obj.ends is None else _moment(obj.ends),
            "back": reverse(f"{site.name}:{self.opts.app_label}_{self.opts.model_name}_changelist"),
            "media": self.media,
        }
        return TemplateResponse(request, "streaming/admin/new_key.html", context)

    @admin.action(description="Revoke the selected API keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> HttpResponse | None:
        """End keys for good; every socket that was opened with one is closed within 5 s."""
        keys = list(queryset.filter(revoked_at=None).select_related("user"))
        if not keys:
            self.message_user(request, "These keys are revoked already.", messages.WARNING)
            return None
        if not is_confirmed(request):
            effects = [(key, _effect(key)) for key in keys]
            return ask(self, request, action="revoke", label="Revoke", effects=effects)
        for key in keys:
            key.revoke()
            self.log_change(request, key, "Revoked.")
        left = _wait_until_gone([key.pk for key in keys])
        done = f"{counted(len(keys), 'API key')} revoked."
        if left:
            text = f"{done} {counted(left, 'client')} still shown as connected; look again soon."
            self.message_user(request, text, messages.WARNING)
        else:
            self.message_user(request, f"{done} No client is connected with them any more.")
        return None


def _moment(at: datetime | None) -> str:
    return NOTHING if at is None else moment_text(timezone.localtime(at))


def _person(user: Any) -> Person:
    return Person(
        id=user.pk,
        is_superuser=user.is_superuser,
        is_staff=user.is_staff,
        permissions=frozenset(user.get_all_permissions()),
    )


def _effect(key: ApiKey) -> str:
    connected: int = getattr(key, "connected", 0)
    number = counted(connected, "client") if connected else "no client"
    clients = f"{number} {verb(connected or 1, 'is', 'are')}"
    return (
        f"the key of {key.user} never opens the door again; {clients} connected with it now"
        f"{' and loses its socket within 5 seconds' if connected == 1 else ''}"
        f"{' and lose their sockets within 5 seconds' if connected > 1 else ''}."
    )


def _wait_until_gone(keys: Collection[int]) -> int:
    """Wait until no client of these keys is connected; returns how many are left after 5 s."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        left = ClientConnection.objects.alive().filter(api_key__in=keys).count()
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)
