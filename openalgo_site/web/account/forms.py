"""Forms of the page of one's own account."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import forms

from streaming.models import ApiKey
from streaming.scopes import READING, Scope, scope_text

__all__ = ["ExchangeForm", "KeyForm"]

_NEVER = ""
_LIVES = {_NEVER: "no end", "30": "30 days", "90": "90 days", "365": "a year"}


class KeyForm(forms.Form):
    """A new API key: what uses it, what it may do, and for how long."""

    name = forms.CharField(
        label="Name",
        max_length=64,
        help_text="What uses the key, for example: notebook.",
        widget=forms.TextInput(attrs={"class": "field", "autocomplete": "off"}),
    )
    lasts = forms.ChoiceField(
        label="Lasts",
        choices=list(_LIVES.items()),
        required=False,
        widget=forms.Select(attrs={"class": "field"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for each in Scope:
            of_key: Any = ApiKey._meta.get_field(f"may_{each}")
            self.fields[each.value] = forms.BooleanField(
                label=f"may {scope_text([each])}",
                required=False,
                initial=each in READING,
                help_text=of_key.help_text,
            )

    def clean(self) -> dict[str, Any]:
        """Refuse a key that may do nothing."""
        cleaned = super().clean() or {}
        if not self.scope():
            raise forms.ValidationError("Choose at least one thing that the key may do.")
        return cleaned

    def scope(self) -> frozenset[Scope]:
        """Return what was chosen."""
        return frozenset(each for each in Scope if self.cleaned_data.get(each.value))

    def ends(self, now: datetime) -> datetime | None:
        """Return when the key ends; None: never."""
        lasts = self.cleaned_data["lasts"]
        return None if lasts == _NEVER else now + timedelta(days=int(lasts))


class ExchangeForm(forms.Form):
    """The exchange that comes first in searches.

    Args:
        exchanges: those that there are to choose from.
    """

    preferred_exchange = forms.ChoiceField(
        label="First in searches", required=False, widget=forms.Select(attrs={"class": "field"})
    )

    def __init__(self, *args: Any, exchanges: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["preferred_exchange"]
        field.choices = [("", "the usual order"), *((each, each) for each in exchanges)]
