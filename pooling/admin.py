"""The admin of brokers' accounts, limits, history and instruments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from pooling import conf
from pooling.crypto import CredentialCipher, KeyFileError
from pooling.models import BrokerAccount, Instrument, PoolConfig, PoolEvent, PoolStatus, PoolUsage

if TYPE_CHECKING:
    AccountAdminBase = admin.ModelAdmin[BrokerAccount]
    AccountFormBase = forms.ModelForm[BrokerAccount]
    ConfigInlineBase = admin.StackedInline[PoolConfig, BrokerAccount]
    ReadOnlyBase = admin.ModelAdmin[Any]
else:
    AccountAdminBase = ReadOnlyBase = admin.ModelAdmin
    AccountFormBase = forms.ModelForm
    ConfigInlineBase = admin.StackedInline

__all__ = [
    "BrokerAccountAdmin",
    "BrokerAccountForm",
    "InstrumentAdmin",
    "PoolEventAdmin",
    "PoolStatusAdmin",
    "PoolUsageAdmin",
    "ReadOnlyAdmin",
]


class BrokerAccountForm(AccountFormBase):
    """An account, with its broker's credential fields that are written and never shown."""

    class Meta:
        model = BrokerAccount
        fields = ("user", "broker", "label", "endpoint", "enabled")

    def credentials(self) -> dict[str, str]:
        """Return what was typed into the chosen broker's credential fields."""
        return {
            name: self.cleaned_data[field]
            for field, (broker, name) in _credential_fields().items()
            if broker == self._broker() and self.cleaned_data.get(field)
        }

    def clean(self) -> dict[str, Any]:
        """Refuse credentials of another broker, and any while there is no key to encrypt them."""
        cleaned = super().clean() or {}
        for field, (broker, _) in _credential_fields().items():
            if cleaned.get(field) and broker != self._broker():
                self.add_error(field, "This belongs to another broker than the chosen one.")
        if self.credentials():
            try:
                CredentialCipher.from_file(conf.key_file())
            except KeyFileError as error:
                self.add_error(None, str(error))
        return cleaned

    def _broker(self) -> str:
        return str(self.cleaned_data.get("broker") or self.instance.broker)


class PoolConfigInline(ConfigInlineBase):
    """The limits of the account's pool; empty fields take the installation's defaults."""

    model = PoolConfig
    can_delete = False
    readonly_fields = ("allowed", "in_force")

    @admin.display(description="the broker allows")
    def allowed(self, config: PoolConfig) -> str:
        """Say what the limits may be at most."""
        try:
            capabilities = config.account.capabilities()
        except (BrokerConfigError, BrokerAccount.DoesNotExist):
            return "depends on the broker"
        return (
            f"{capabilities.max_connections} connections of "
            f"{capabilities.symbols_per_connection:,} symbols"
        )

    @admin.display(description="in force")
    def in_force(self, config: PoolConfig) -> str:
        """Say whether the worker has taken up what is shown here."""
        status = getattr(config.account, "status", None) if config.pk else None
        if status is None:
            return "no worker has served this pool yet"
        if status.applied_revision != config.revision:
            return f"the worker still uses revision {status.applied_revision}"
        since = timezone.localtime(status.applied)
        return f"revision {config.revision}, since {since:%Y-%m-%d %H:%M:%S}"


@admin.register(BrokerAccount)
class BrokerAccountAdmin(AccountAdminBase):
    """Accounts with their limits; a saved change reaches the running worker within seconds."""

    form = BrokerAccountForm
    inlines = (PoolConfigInline,)
    list_display = ("user", "broker", "label", "enabled", "state")
    list_display_links = ("user", "broker")
    list_filter = ("broker", "enabled")
    list_select_related = ("user", "status")
    search_fields = ("user__username", "label")

    @admin.display(description="state")
    def state(self, account: BrokerAccount) -> str:
        """Return the pool's last known state."""
        status: PoolStatus | None = getattr(account, "status", None)
        return status.state if status else "not served yet"

    def get_form(
        self, request: Any, obj: BrokerAccount | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Add the credential fields of the account's broker; of all brokers for a new account."""
        fields = {name: _credential_field(name, obj) for name in _fields_for(obj)}
        kwargs["form"] = type("BrokerAccountForm", (BrokerAccountForm,), fields)
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: Any, obj: BrokerAccount | None = None) -> Any:
        """Show the credentials in a section of their own."""
        main = (None, {"fields": ("user", "broker", "label", "endpoint", "enabled")})
        credentials = {
            "fields": tuple(_fields_for(obj)),
            "description": "Stored encrypted and never shown again. Leave empty to keep.",
        }
        return (main, ("Credentials", credentials)) if credentials["fields"] else (main,)

    def get_readonly_fields(self, request: Any, obj: BrokerAccount | None = None) -> Any:
        """Keep a pool with its owner and broker: its history belongs to them."""
        return ("user", "broker") if obj else ()

    def save_model(self, request: Any, obj: BrokerAccount, form: Any, change: bool) -> None:
        """Encrypt what was typed, then save."""
        if values := form.credentials():
            obj.set_credentials(values, CredentialCipher.from_file(conf.key_file()))
        super().save_model(request, obj, form, change)


class ReadOnlyAdmin(ReadOnlyBase):
    """What workers write and people only look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds history."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes history."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History goes by its age."""
        return False


@admin.register(PoolStatus)
class PoolStatusAdmin(ReadOnlyAdmin):
    """How each pool is now."""

    list_display = (
        "account",
        "state",
        "used",
        "capacity",
        "connections",
        "clients",
        "ticks_per_second",
        "heartbeat",
    )
    list_filter = ("state",)
    list_select_related = ("account__user",)


@admin.register(PoolUsage)
class PoolUsageAdmin(ReadOnlyAdmin):
    """Peaks of each pool, five minutes a row."""

    list_display = ("account", "started", "symbols", "connections", "clients", "ticks_per_second")
    list_filter = ("account__broker",)
    list_select_related = ("account__user",)
    search_fields = ("account__user__username", "account__label")
    date_hierarchy = "started"
    show_full_result_count = False


@admin.register(PoolEvent)
class PoolEventAdmin(ReadOnlyAdmin):
    """What happened to each pool, and why."""

    list_display = ("at", "account", "kind", "message")
    list_filter = ("kind",)
    list_select_related = ("account__user",)
    search_fields = ("account__user__username", "account__label", "message")
    show_full_result_count = False


@admin.register(Instrument)
class InstrumentAdmin(ReadOnlyAdmin):
    """The brokers' instruments; ``loadinstruments`` replaces them."""

    list_display = ("symbol", "exchange", "broker", "name", "instrument_type", "expiry", "strike")
    list_filter = ("broker", "exchange", "instrument_type")
    search_fields = ("symbol", "name")
    search_help_text = "Symbol or name"
    show_full_result_count = False


def _credential_fields() -> dict[str, tuple[str, str]]:
    """Return form field -> (broker, credential field) for all brokers."""
    return {
        f"credential_{adapter.capabilities.name}_{field.name}": (
            adapter.capabilities.name,
            field.name,
        )
        for adapter in conf.broker_registry()
        for field in adapter.capabilities.credential_fields
    }


def _fields_for(account: BrokerAccount | None) -> list[str]:
    return [
        field
        for field, (broker, _) in _credential_fields().items()
        if account is None or account.broker == broker
    ]


def _credential_field(form_field: str, account: BrokerAccount | None) -> forms.CharField:
    broker, name = _credential_fields()[form_field]
    capabilities = conf.broker_capabilities(broker)
    field = next(each for each in capabilities.credential_fields if each.name == name)
    state = "Set." if account is not None and name in account.credentials else "Not set."
    return forms.CharField(
        label=field.label if account else f"{capabilities.label}: {field.label}",
        help_text=f"{state} {field.help_text}",
        required=False,
        max_length=1024,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
