"""The admin of who is told when a pool's state changes. Secrets are written, never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pooling import conf
from pooling.admin.lists.cells import NOTHING, Tone, age, badge
from pooling.admin.lists.filters import AccountBrokerFilter, ChoiceFilter
from pooling.alerts.addresses import WebhookUrl
from pooling.exceptions import AlertRefusedError
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.models import AlertTarget

if TYPE_CHECKING:
    TargetAdminBase = admin.ModelAdmin[AlertTarget]
    TargetFormBase = forms.ModelForm[AlertTarget]
else:
    TargetAdminBase = admin.ModelAdmin
    TargetFormBase = forms.ModelForm

__all__ = ["AlertTargetAdmin"]

LEAST_SECRET = 16


class AlertTargetForm(TargetFormBase):
    """A target; ``url`` and ``secret`` are kept encrypted, and left empty keep what is stored."""

    url = forms.CharField(
        label="Webhook URL",
        required=False,
        max_length=2000,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "class": "vTextField"}),
        help_text="Where a webhook is sent to. Stored encrypted and never shown again: its path is "
        "often a secret.",
    )
    secret = forms.CharField(
        label="Signing secret",
        required=False,
        min_length=LEAST_SECRET,
        max_length=256,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password", "class": "vTextField"}),
        help_text="Signs each request of a webhook, so that its receiver knows who sends it. "
        "Optional.",
    )

    class Meta:
        model = AlertTarget
        fields = ("account", "kind", "address", "tells_recovery", "enabled")
        help_texts: ClassVar[dict[str, str]] = {
            "address": "The mailbox of an e-mail. Leave it empty for a webhook: its URL is asked "
            "for below.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "address" in self.fields and self.instance.kind == AlertTarget.Kind.EMAIL:
            self.fields["address"].help_text = ""
        for name in ("url", "secret"):
            if name in self.fields and name in self.instance.secrets:
                self.fields[name].help_text += " Leave it empty to keep the one that is stored."

    def clean(self) -> dict[str, Any]:
        """Refuse URLs that lead inside, and secrets while there is no key to encrypt them."""
        cleaned = super().clean() or {}
        kind = cleaned.get("kind") or self.instance.kind
        typed = {name: cleaned.get(name) or "" for name in ("url", "secret")}
        if kind != AlertTarget.Kind.WEBHOOK:
            for name in (name for name, value in typed.items() if value):
                self.add_error(name, "Only a webhook has one.")
            return cleaned
        if typed["url"]:
            try:
                found = WebhookUrl.parse(typed["url"], conf.alert_webhook_hosts())
            except AlertRefusedError as error:
                self.add_error("url", str(error))
            else:
                cleaned["address"] = found.origin
        elif "url" in self.instance.secrets:
            cleaned["address"] = self.instance.address
        else:
            self.add_error("url", "Enter where to send to.")
        if self.errors and any(self.data.get(self.add_prefix(name)) for name in typed):
            self.add_error(None, "What was typed as URL and secret is not kept: type it again.")
        if any(typed.values()):
            try:
                load_sealer(conf.key_file())
            except KeyFileError as error:
                self.add_error(None, str(error))
        return cleaned

    def secrets(self) -> dict[str, str]:
        """Return what was typed and is to be encrypted."""
        return {name: value for name in ("url", "secret") if (value := self.cleaned_data.get(name))}


class KindFilter(ChoiceFilter):
    """By how somebody is told."""

    title = "kind"
    parameter_name = "kind"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the kinds."""
        return {value: (label, Q(kind=value)) for value, label in AlertTarget.Kind.choices}


class OutcomeFilter(ChoiceFilter):
    """By how the last attempt ended."""

    title = "last alert"
    parameter_name = "last"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return what a person has to look at first."""
        tried = Q(last_tried__isnull=False)
        return {
            "failed": ("failed", tried & ~Q(last_error="")),
            "arrived": ("arrived", tried & Q(last_error="")),
            "none": ("none yet", ~tried),
        }


@admin.register(AlertTarget)
class AlertTargetAdmin(TargetAdminBase):
    """Mailboxes and webhooks of accounts."""

    form = AlertTargetForm
    autocomplete_fields = ("account",)
    list_display = ("account", "kind", "address", "state", "last", "tried")
    list_filter = (KindFilter, OutcomeFilter, AccountBrokerFilter)
    list_select_related = ("account__user",)
    search_fields = ("account__user__username", "account__label", "address")
    search_help_text = "User name or label of the account, or address"
    show_facets = admin.ShowFacets.ALWAYS
    list_per_page = 50

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("pooling/admin/admin.css",)}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Refuse look-ups of URLs and secrets: a list would tell them letter by letter."""
        is_sealed = "secrets" in lookup.split("__")
        return not is_sealed and super().lookup_allowed(lookup, value, request)

    def get_fields(self, request: HttpRequest, obj: AlertTarget | None = None) -> Any:
        """Show the fields of its kind, and of both kinds for a new one."""
        own: tuple[str, ...] = ("address", "url", "secret")
        if obj is not None:
            is_email = obj.kind == AlertTarget.Kind.EMAIL
            own = ("address",) if is_email else ("origin", "stored", "url", "secret")
        fields = ("account", "kind", *own, "tells_recovery", "enabled")
        if obj is not None:
            fields = (*fields, "outcome")
        if self.has_change_permission(request, obj):
            return fields
        return tuple(name for name in fields if name not in ("url", "secret"))

    def get_readonly_fields(self, request: HttpRequest, obj: AlertTarget | None = None) -> Any:
        """Keep a target with its account and kind; a webhook's address follows its URL."""
        if obj is None:
            return ()
        own = () if obj.kind == AlertTarget.Kind.EMAIL else ("origin", "stored")
        return ("account", "kind", *own, "outcome")

    def save_model(self, request: Any, obj: AlertTarget, form: Any, change: bool) -> None:
        """Encrypt what was typed, then save."""
        if values := form.secrets():
            obj.set_secrets(values, load_sealer(conf.key_file()))
        if obj.kind == AlertTarget.Kind.WEBHOOK:
            obj.address = form.cleaned_data["address"]
        super().save_model(request, obj, form, change)

    @admin.display(description="address")
    def origin(self, target: AlertTarget) -> str:
        """Scheme and host of a webhook's URL; the rest of it may be secret."""
        return target.address

    @admin.display(description="stored")
    def stored(self, target: AlertTarget) -> SafeString:
        """Names of the secrets that are there; never what they are."""
        is_signed = "secret" in target.secrets
        return badge(Tone.GOOD, "URL set, signed" if is_signed else "URL set, not signed")

    @admin.display(description="state", ordering="enabled")
    def state(self, target: AlertTarget) -> SafeString:
        """Badge of a target that is told, or is not."""
        return badge(Tone.GOOD, "on") if target.enabled else badge(Tone.OFF, "off")

    @admin.display(description="last alert", ordering="last_error")
    def last(self, target: AlertTarget) -> SafeString | str:
        """Outcome of the last attempt."""
        if target.last_tried is None:
            return NOTHING
        if target.last_error:
            return badge(Tone.BAD, "failed", target.last_error)
        return badge(Tone.GOOD, "arrived")

    @admin.display(description="last alert")
    def outcome(self, target: AlertTarget) -> SafeString | str:
        """Outcome of the last attempt, when, and what was in its way."""
        if target.last_tried is None:
            return "none yet"
        ended = age(target.last_tried, timezone.now())
        return format_html("{} {} {}", self.last(target), ended, target.last_error)

    @admin.display(description="when", ordering="last_tried")
    def tried(self, target: AlertTarget) -> SafeString | str:
        """Time of the last attempt."""
        if target.last_tried is None:
            return NOTHING
        return age(target.last_tried, timezone.now())
