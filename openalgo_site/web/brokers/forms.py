"""Forms of the Brokers page. Secrets are written and never shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django import forms

from brokers.contract import CredentialField
from brokers.login.contract import LoginField, LoginKind
from brokers.login.totp import TOTP_SECRET, TotpSecretError, secret_key
from pooling.models import BrokerAccount, LoginSetup

if TYPE_CHECKING:
    from django.contrib.auth.models import User

__all__ = ["AddAccountForm", "LoginFieldsForm", "TokenForm"]

MAX_VALUE_LENGTH = 4096
CONSENT = (
    "I know that whoever has this machine's database and key file can then log in as me, and trade."
)


class LoginFieldsForm(forms.Form):
    """What one kind of login asks for; a field that is kept already may stay empty.

    Args:
        kind: the kind of login.
        fields: of the broker, for that kind.
        setup: what the account keeps; a new one for a new account.
    """

    def __init__(
        self,
        *args: Any,
        kind: LoginKind,
        fields: Sequence[LoginField],
        setup: LoginSetup | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._asked = {each.name: each for each in fields}
        kept = {*setup.public, *setup.secrets} if setup else set()
        for each in fields:
            self.fields[each.name] = _text_field(
                label=each.label,
                help_text=each.help_text,
                is_secret=each.is_secret,
                is_wide=each.is_wide,
                is_kept=each.name in kept,
                is_optional=each.is_optional,
            )
            self.fields[each.name].where = each.where  # type: ignore[attr-defined]  # for the template
            if setup and not each.is_secret:
                self.fields[each.name].initial = setup.public.get(each.name, "")
        if kind is LoginKind.UNATTENDED:
            self.fields["unattended"] = forms.BooleanField(
                label="Log in by itself on trading days",
                required=False,
                initial=setup.unattended if setup else True,
            )
            self.fields["unattended_at"] = forms.TimeField(
                label="At (India time)",
                initial=f"{(setup or LoginSetup()).unattended_at:%H:%M}",
                widget=forms.TimeInput(attrs={"type": "time", "class": "field"}),
            )
            self.fields["consent"] = forms.BooleanField(label=CONSENT)

    def clean(self) -> dict[str, Any]:
        """Refuse values that cannot be what the broker calls so."""
        cleaned = super().clean() or {}
        for name, asked in self._asked.items():
            value = cleaned.get(name)
            if value and asked.pattern and not re.fullmatch(asked.pattern, value):
                self.add_error(name, f"This is no {asked.label}. {asked.help_text}")
            elif value and name == TOTP_SECRET:
                self._check_totp(name, value)
        return cleaned

    def _check_totp(self, name: str, value: str) -> None:
        try:
            secret_key(value)
        except TotpSecretError as error:
            self.add_error(name, str(error))

    def values(self) -> dict[str, str]:
        """Return what was typed; what stayed empty is not in it."""
        return {name: self.cleaned_data[name] for name in self._asked if self.cleaned_data[name]}


class AddAccountForm(LoginFieldsForm):
    """A new account of one broker: its name among the user's, and the login's fields."""

    field_order = ("label",)

    def __init__(self, *args: Any, user: User, broker: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._user, self._broker = user, broker
        self.fields["label"] = forms.CharField(
            label="Name",
            max_length=64,
            initial="main",
            help_text="Tells several accounts at one broker apart.",
            widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
        )
        self.order_fields(["label"])

    def clean_label(self) -> str:
        """Refuse a name of another account of that broker, or one that does not read as it is."""
        label = str(self.cleaned_data["label"])
        if not label.isprintable():
            raise forms.ValidationError("A name is one line of letters, digits and signs.")
        same = BrokerAccount.objects.filter(user=self._user, broker=self._broker, label=label)
        if same.exists():
            raise forms.ValidationError("You have an account of that name at this broker already.")
        return label


class TokenForm(forms.Form):
    """A credential pasted from elsewhere, such as a script of one's own."""

    def __init__(
        self, *args: Any, account: BrokerAccount, fields: Sequence[CredentialField], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        for each in fields:
            self.fields[each.name] = _text_field(
                label=each.label,
                help_text=each.help_text,
                is_secret=True,
                is_wide="token" in each.name,
                is_kept=each.name in account.credentials,
            )

    def clean(self) -> dict[str, Any]:
        """Refuse a form in which nothing stands."""
        cleaned = super().clean() or {}
        if not self.errors and not any(cleaned.values()):
            raise forms.ValidationError("Nothing was entered.")
        return cleaned

    def values(self) -> dict[str, str]:
        """Return what was typed."""
        return {name: value for name, value in self.cleaned_data.items() if value}


def _text_field(
    *,
    label: str,
    help_text: str,
    is_secret: bool,
    is_wide: bool,
    is_kept: bool,
    is_optional: bool = False,
) -> forms.CharField:
    attributes = {"class": "field", "autocomplete": "off", "spellcheck": "false"}
    widget: forms.Widget
    if is_wide:
        widget = forms.Textarea(attrs={**attributes, "rows": 3, "class": "field secret"})
    elif is_secret:
        widget = forms.PasswordInput(attrs={**attributes, "autocomplete": "new-password"})
    else:
        widget = forms.TextInput(attrs=attributes)
    kept = "Kept; leave it empty to keep it. " if is_kept else ""
    return forms.CharField(
        label=label,
        help_text=f"{kept}{help_text}",
        required=not (is_kept or is_optional),
        max_length=MAX_VALUE_LENGTH,
        widget=widget,
    )
