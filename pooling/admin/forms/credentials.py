"""Credential fields of the account's form: written, never shown.

What a field says of a stored value is that it is there and when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from brokers.exceptions import BrokerConfigError
from brokers.times.moments import zone_name
from pooling import conf
from pooling.admin.forms.broker_settings import SETTING_PREFIX, typed_settings
from pooling.admin.lists.cells import Tone, badge
from pooling.keys.crypto import load_sealer
from pooling.keys.files import KeyFileError
from pooling.models import BrokerAccount
from pooling.operations.credentials import MAX_VALUE_LENGTH

if TYPE_CHECKING:
    AccountFormBase = forms.ModelForm[BrokerAccount]
else:
    AccountFormBase = forms.ModelForm

__all__ = [
    "CREDENTIAL_PREFIX",
    "BrokerAccountForm",
    "credential_field",
    "credential_fields",
    "credential_state",
    "fields_for",
]

CREDENTIAL_PREFIX = "credential_"
SOON_SECONDS = 7200


class BrokerAccountForm(AccountFormBase):
    """An account with the settings of its broker, and credentials that are never shown."""

    class Meta:
        model = BrokerAccount
        fields = ("user", "broker", "label", "endpoint", "enabled")

    def credentials(self) -> dict[str, str]:
        """Return what was typed into the chosen broker's credential fields."""
        return {
            name: self.cleaned_data[field]
            for field, (broker, name) in credential_fields().items()
            if broker == self._broker() and self.cleaned_data.get(field)
        }

    def clean(self) -> dict[str, Any]:
        """Refuse credentials of another broker, any while there is no key, and wrong settings."""
        cleaned = super().clean() or {}
        for field, (broker, _) in credential_fields().items():
            if cleaned.get(field) and broker != self._broker():
                self.add_error(field, "This belongs to another broker than the chosen one.")
        if self.credentials():
            try:
                load_sealer(conf.key_file())
            except KeyFileError as error:
                self.add_error(None, str(error))
        self._ask_again(cleaned)
        self._take_settings(cleaned)
        return cleaned

    def _ask_again(self, cleaned: Mapping[str, Any]) -> None:
        """Have a stored credential typed again where it would go to another host."""
        account = self.instance
        if account.pk is None or "endpoint" not in cleaned:
            return
        wanted = BrokerAccount(broker=self._broker(), endpoint=cleaned["endpoint"] or "")
        missing = sorted(set(account.credentials) - set(self.credentials()))
        if missing and wanted.destination() != account.destination():
            self.add_error(
                "endpoint",
                "The stored credential was entered for another host and does not go to this one: "
                f"enter it again with the endpoint ({', '.join(missing)}).",
            )

    def _take_settings(self, cleaned: Mapping[str, Any]) -> None:
        """Have the account carry the settings, which its own checks and its limits then go by."""
        if not any(name.startswith(SETTING_PREFIX) for name in self.fields) or self.errors:
            return
        try:
            self.instance.broker_settings = typed_settings(self.instance, cleaned)
        except BrokerConfigError as error:
            self.add_error(None, str(error))

    def _broker(self) -> str:
        return str(self.cleaned_data.get("broker") or self.instance.broker)


def credential_fields() -> dict[str, tuple[str, str]]:
    """Return form field → (broker, credential field) for all brokers."""
    return {
        f"{CREDENTIAL_PREFIX}{adapter.capabilities.name}_{field.name}": (
            adapter.capabilities.name,
            field.name,
        )
        for adapter in conf.broker_registry()
        for field in adapter.capabilities.credential_fields
    }


def fields_for(account: BrokerAccount | None) -> list[str]:
    """Name the credential fields of an account's broker; of all brokers for a new one."""
    return [
        field
        for field, (broker, _) in credential_fields().items()
        if account is None or account.broker == broker
    ]


def credential_field(form_field: str, account: BrokerAccount | None) -> forms.CharField:
    """Return the field to type one part of a credential into."""
    broker, name = credential_fields()[form_field]
    capabilities = conf.broker_capabilities(broker)
    field = next(each for each in capabilities.credential_fields if each.name == name)
    state = "Set." if account is not None and name in account.credentials else "Not set."
    return forms.CharField(
        label=field.label if account else f"{capabilities.label}: {field.label}",
        help_text=f"{state} {field.help_text}",
        required=False,
        max_length=MAX_VALUE_LENGTH,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


def credential_state(account: BrokerAccount, now: datetime) -> SafeString:
    """Return what may be known of a stored credential: that it is set, and when it expires."""
    if not account.credentials_version:
        return badge(Tone.OFF, "not set")
    expires = account.credentials_expire
    if expires is None:
        return badge(Tone.GOOD, "set", "stored; when it expires is not known")
    local, today = timezone.localtime(expires), timezone.localtime(now)
    at = f"{local:%H:%M} {zone_name(local)}"
    if local.date() != today.date():
        year = f" {local.year}" if local.year != today.year else ""
        at = f"{local:%b} {local.day}{year}, {at}"
    if expires <= now:
        return badge(Tone.BAD, f"expired {at}", "enter a new credential")
    is_soon = (expires - now).total_seconds() <= SOON_SECONDS
    parts = (
        (badge(Tone.GOOD, "set"),),
        (badge(Tone.WARN if is_soon else Tone.OFF, f"expires {at}"),),
    )
    return format_html("{}", format_html_join(" ", "{}", parts))
