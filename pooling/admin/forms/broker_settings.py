"""Settings of the account's broker on its form: one field each, and the limits that follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django import forms
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from brokers.settings import SettingField, SettingValue, changed, parse
from pooling import conf
from pooling.admin.lists.cells import NOTHING
from pooling.models import BrokerAccount, PoolConfig
from pooling.operations.settings import settings_of

if TYPE_CHECKING:
    ConfigFormSetBase = forms.BaseInlineFormSet[PoolConfig, BrokerAccount, Any]
else:
    ConfigFormSetBase = forms.BaseInlineFormSet

__all__ = [
    "SETTINGS_LATER",
    "SETTING_PREFIX",
    "PoolConfigFormSet",
    "setting_fields",
    "setting_in_words",
    "settings_fieldset",
    "settings_table",
    "typed_settings",
]

SETTING_PREFIX = "setting_"
SETTINGS_LATER = "What plans differ in can be set once the account is saved."
INTRODUCTION = (
    "What plans differ in, and what the broker's documents leave open. The defaults do least harm "
    "if they are wrong. A running worker uses a change within seconds: it opens the account's "
    "connections again and subscribes everything on them."
)


class PoolConfigFormSet(ConfigFormSetBase):
    """Checks the limits under the settings that the same page saves, not under the stored ones."""

    def _construct_form(self, i: int, **kwargs: Any) -> Any:
        form = super()._construct_form(i, **kwargs)  # type: ignore[misc]  # private to Django
        form.instance.account = self.instance
        return form


def setting_fields(account: BrokerAccount | None) -> dict[str, forms.Field]:
    """Return form field by name for each setting of the account's broker; none of a new one."""
    return {
        SETTING_PREFIX + field.name: _form_field(field, value)
        for field, value in (settings_of(account) if account is not None else ())
    }


def settings_fieldset(
    account: BrokerAccount | None, *, read_only: str | None = None
) -> tuple[str, dict[str, Any]] | None:
    """Return the section of the form; None where the broker has no settings.

    ``read_only`` names the field to show instead to who may not change any.
    """
    names = tuple(setting_fields(account))
    if account is None or not names:
        return None
    label = conf.broker_capabilities(account.broker).label
    differing = sum(value != field.default for field, value in settings_of(account))
    return (
        f"Settings of {label}" + (f" ({differing} not the default)" if differing else ""),
        {
            "fields": names if read_only is None else (read_only,),
            "classes": ("collapse",),
            "description": INTRODUCTION,
        },
    )


def settings_table(account: BrokerAccount) -> SafeString | str:
    """Return the settings of an account to look at; the defaults are marked."""
    rows = [
        (
            field.label,
            dict(field.choices).get(value, setting_in_words(value)),
            "default" if value == field.default else "",
        )
        for field, value in settings_of(account)
    ]
    return format_html_join("", '<div>{}: <b>{}</b> <span class="tp-quiet">{}</span></div>', rows)


def typed_settings(account: BrokerAccount, cleaned: Mapping[str, Any]) -> dict[str, SettingValue]:
    """Return what is to be stored of a valid form's fields; an empty one is the default.

    Raises:
        BrokerConfigError: two of them do not fit one another.
    """
    typed = {
        name.removeprefix(SETTING_PREFIX): value
        for name, value in cleaned.items()
        if name.startswith(SETTING_PREFIX) and value not in (None, "")
    }
    return changed(parse(type(conf.broker_registry().get(account.broker).settings), typed))


def setting_in_words(value: Any) -> str:
    """Return how a setting reads in the history."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return NOTHING if value in (None, "") else str(value)


def _form_field(field: SettingField, value: SettingValue) -> forms.Field:
    default = dict(field.choices).get(field.default, setting_in_words(field.default))
    common: dict[str, Any] = {
        "label": field.label,
        "help_text": f"{field.help_text} Default: {default}.",
        "required": False,
        "initial": value,
    }
    if field.choices:
        choices = [(str(each), label) for each, label in field.choices]
        common["initial"] = str(value)
        return forms.ChoiceField(choices=choices, **common)
    if field.kind is bool:
        return forms.BooleanField(**common)
    if field.kind is str:
        return forms.CharField(max_length=field.longest, **common)
    bounds: dict[str, Any] = {"min_value": field.minimum, "max_value": field.maximum}
    if field.kind is int:
        return forms.IntegerField(**bounds, **common)
    common["initial"] = int(value) if value == int(value) else value
    widget = forms.NumberInput(attrs={"step": "any"})
    return forms.FloatField(**bounds, **common, widget=widget)
