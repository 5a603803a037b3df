"""The admin of brokers' accounts: how each pool is, its limits, its credential."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from pooling import conf
from pooling.admin.forms.broker_settings import (
    SETTING_PREFIX,
    SETTINGS_LATER,
    setting_fields,
    setting_in_words,
    settings_fieldset,
    settings_table,
)
from pooling.admin.forms.confirm_limits import confirm_lowering
from pooling.admin.forms.credentials import (
    CREDENTIAL_PREFIX,
    BrokerAccountForm,
    credential_field,
    credential_state,
    fields_for,
)
from pooling.admin.forms.limits import PoolConfigInline, limit_in_words, limits_panel
from pooling.admin.lists.cells import NOTHING, age, badge, bar
from pooling.admin.lists.changes import change_message
from pooling.admin.lists.filters import CredentialFilter, StateFilter
from pooling.admin.lists.states import connection_rows, state_badge
from pooling.admin.operate import OperateMixin
from pooling.keys.crypto import load_sealer
from pooling.models import BrokerAccount, PoolStatus
from pooling.operations.crowding import crowding
from pooling.operations.pool_state import PoolState
from pooling.operations.removal import AccountGoneError, plan_removal, remove_account

if TYPE_CHECKING:
    AccountAdminBase = admin.ModelAdmin[BrokerAccount]
else:
    AccountAdminBase = admin.ModelAdmin

__all__ = ["BrokerAccountAdmin"]


@admin.register(BrokerAccount)
class BrokerAccountAdmin(OperateMixin, AccountAdminBase):
    """Accounts with their limits; a saved change reaches the running worker within seconds."""

    form = BrokerAccountForm
    inlines = (PoolConfigInline,)
    autocomplete_fields = ("user",)
    list_display = (
        "name",
        "state",
        "symbols",
        "connections",
        "credential",
        "clients",
        "ticks",
        "heard",
    )
    list_filter = (StateFilter, "broker", CredentialFilter)
    list_select_related = ("user", "status")
    ordering = ("user__username", "broker", "label")
    search_fields = ("user__username", "label", "=id")
    search_help_text = "User name, label, or number of the pool"
    show_facets = admin.ShowFacets.ALWAYS
    list_per_page = 50
    change_form_template = "pooling/admin/account_change_form.html"
    change_list_template = "pooling/admin/account_change_list.html"

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": ("pooling/admin/admin.css",)}
        js: ClassVar[tuple[str, ...]] = ("pooling/admin/limits.js", "pooling/admin/credentials.js")

    # -- The list -----------------------------------------------------------------------------

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return what a new account begins with: it is most often one's own."""
        given: dict[str, Any] = super().get_changeform_initial_data(request)
        return {"user": request.user.pk, **given}

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Refuse look-ups of credentials: a list would tell them letter by letter."""
        is_sealed = "credentials" in lookup.split("__")
        return not is_sealed and super().lookup_allowed(lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[BrokerAccount]:
        """Leave the details of every connection in the database until one pool is looked at."""
        return super().get_queryset(request).defer("status__stats")

    @admin.display(description="account", ordering="user__username")
    def name(self, account: BrokerAccount) -> SafeString:
        """Whose account at which broker."""
        return format_html(
            '{}<br><span class="tp-quiet">{} / {}</span>',
            account.user,
            account.broker,
            account.label,
        )

    @admin.display(description="state", ordering="status__state")
    def state(self, account: BrokerAccount) -> SafeString:
        """The pool's state now."""
        return state_badge(account, _status(account), timezone.now())

    @admin.display(description="symbols", ordering="status__used")
    def symbols(self, account: BrokerAccount) -> SafeString | str:
        """Used of capacity, in the broker's own units, and what waits for a place."""
        status = _current(account)
        if status is None:
            return NOTHING
        shown, short = bar(status.used, status.capacity), PoolState.WAITING_FOR_ROOM
        if not status.waiting:
            return shown
        return format_html("{} {}", shown, badge(short.tone, f"{status.waiting:,} {short}"))

    @admin.display(description="connections", ordering="status__connections")
    def connections(self, account: BrokerAccount) -> SafeString | str:
        """Open of allowed."""
        status = _current(account)
        return NOTHING if status is None else bar(status.connections, status.max_connections)

    @admin.display(description="clients", ordering="status__clients")
    def clients(self, account: BrokerAccount) -> str:
        """Clients that hold anything."""
        status = _current(account)
        return NOTHING if status is None else f"{status.clients:,}"

    @admin.display(description="ticks/s", ordering="status__ticks_per_second")
    def ticks(self, account: BrokerAccount) -> str:
        """Ticks of the last seconds."""
        status = _current(account)
        return NOTHING if status is None else f"{status.ticks_per_second:,.0f}"

    @admin.display(description="credential", ordering="credentials_expire")
    def credential(self, account: BrokerAccount) -> SafeString | str:
        """Presence and end of the credential; never what it is."""
        if not fields_for(account):
            return "none needed"
        return credential_state(account, timezone.now())

    @admin.display(description="heard", ordering="status__heartbeat")
    def heard(self, account: BrokerAccount) -> SafeString | str:
        """Age of its worker's last word."""
        status = _status(account)
        return NOTHING if status is None else age(status.heartbeat, timezone.now())

    # -- The form -----------------------------------------------------------------------------

    def get_form(
        self, request: Any, obj: BrokerAccount | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Add the credential fields of the account's broker, of all brokers for a new account.

        The settings of its broker can be changed once it is saved.
        """
        fields: dict[str, Any] = {name: credential_field(name, obj) for name in fields_for(obj)}
        fields |= setting_fields(obj)
        kwargs["form"] = type("BrokerAccountForm", (BrokerAccountForm,), fields)
        form = super().get_form(request, obj, change, **kwargs)
        if obj is None and (broker := form.base_fields.get("broker")) is not None:
            broker.help_text = SETTINGS_LATER
        return form

    def get_fieldsets(self, request: Any, obj: BrokerAccount | None = None) -> Any:
        """Show the credentials and the settings in sections of their own."""
        sections: list[Any] = [
            (None, {"fields": ("user", "broker", "label", "endpoint", "enabled")})
        ]
        if typed := tuple(fields_for(obj)):
            credentials = {
                "fields": (("credential", *typed) if obj else typed),
                "description": "Stored encrypted and never shown again. Leave empty to keep.",
            }
            sections.append(("Credentials", credentials))
        may_change = obj is not None and self.has_change_permission(request, obj)
        shown = None if may_change else "settings_in_force"
        if (settings := settings_fieldset(obj, read_only=shown)) is not None:
            sections.append(settings)
        return sections

    @admin.display(description="settings")
    def settings_in_force(self, account: BrokerAccount) -> SafeString | str:
        """The settings, for who may not change them."""
        return settings_table(account)

    def get_readonly_fields(self, request: Any, obj: BrokerAccount | None = None) -> Any:
        """Keep a pool with its owner and broker: its history belongs to them."""
        return ("user", "broker", "credential", "settings_in_force") if obj else ()

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Ask first where lower limits would take the place of something; then as always.

        The question is put to the worker, so it comes before the transaction of the saving.
        """
        if request.method == "POST" and object_id is not None:
            question = confirm_lowering(self, request, object_id)
            if question is not None:
                return question
        return super().changeform_view(request, object_id, form_url, extra_context)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Add what stands around the limits, and how the pool is."""
        account = context.get("original")
        if account is not None:
            now = timezone.now()
            status, figures = _status(account), _current(account)
            context |= {
                "status": status,
                "figures": figures,
                "state": state_badge(account, status, now),
                "operations": self.operations_for(request, account),
                "connections": connection_rows(figures, now),
                "crowding": crowding(account),
            }
        context["panel"] = limits_panel(account or BrokerAccount())
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: Any, obj: BrokerAccount, form: Any, change: bool) -> None:
        """Encrypt what was typed, then save."""
        if values := form.credentials():
            obj.set_credentials(values, load_sealer(conf.key_file()))
        super().save_model(request, obj, form, change)

    def save_related(self, request: Any, form: Any, formsets: Any, change: bool) -> None:
        """Save the limits, too, and warn where accounts together may open too many connections."""
        super().save_related(request, form, formsets, change)
        account = BrokerAccount.objects.get(pk=form.instance.pk)
        if (warning := crowding(account)) is not None:
            self.message_user(request, warning, messages.WARNING)

    # -- Removal ------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, int], set[str], list[Any]]:
        """Say what goes with accounts; their history needs no permission of its own to go."""
        plans = [plan_removal(account) for account in objs]
        told: list[Any] = []
        counts: dict[str, int] = {str(self.opts.verbose_name_plural): len(plans)}
        for plan in plans:
            told += [plan.name, plan.sentences()]
            for name, count in plan.rows.items():
                counts[f"{name}s"] = counts.get(f"{name}s", 0) + count
        needed = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        return told, counts, needed, []

    def delete_model(self, request: HttpRequest, obj: BrokerAccount) -> None:
        """Remove one account; one that somebody else removed meanwhile is gone, too."""
        with suppress(AccountGoneError):
            remove_account(obj, by=f"{request.user} in the admin")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[BrokerAccount]) -> None:
        """Remove the chosen accounts."""
        for account in queryset:
            self.delete_model(request, account)

    def construct_change_message(
        self, request: Any, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        """Say in the object's history what changed from what to what, never a credential."""
        return change_message(
            form,
            formsets or (),
            add=add,
            words=_in_words,
            is_secret=lambda name: name.startswith(CREDENTIAL_PREFIX),
        )


def _in_words(name: str, value: Any) -> str:
    if name.startswith(SETTING_PREFIX):
        return setting_in_words(value)
    return limit_in_words(name, value)


def _status(account: BrokerAccount) -> PoolStatus | None:
    return getattr(account, "status", None)


def _current(account: BrokerAccount) -> PoolStatus | None:
    """Return the row whose figures hold now: none without a worker that serves the pool."""
    status = _status(account)
    return status if status is not None and account.enabled and status.is_alive() else None
