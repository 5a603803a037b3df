"""The admin of gateways and of the clients that are connected to them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from brokers.words import counted
from streaming.admin.parts import NOTHING, STYLE, ChoiceFilter, age, ask, badge, is_confirmed
from streaming.models import ClientConnection, GatewayStatus

if TYPE_CHECKING:
    ReadOnlyBase = admin.ModelAdmin[Any]
else:
    ReadOnlyBase = admin.ModelAdmin

__all__ = ["ClientConnectionAdmin", "GatewayStatusAdmin", "ReadOnlyAdmin"]

DISCONNECT = "streaming.disconnect_clientconnection"
WAIT_SECONDS = 5.0
POLL_SECONDS = 0.1
MAX_CLIENTS = 1000  # disconnected at once


class ReadOnlyAdmin(ReadOnlyBase):
    """Rows that gateways write and people only look at."""

    list_per_page = 50
    change_list_template = "streaming/admin/change_list.html"

    class Media:
        css: ClassVar[dict[str, tuple[str, ...]]] = {"all": (STYLE,)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Gateways add."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Gateways change."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Gateways delete."""
        return False


@admin.register(GatewayStatus)
class GatewayStatusAdmin(ReadOnlyAdmin):
    """The gateway processes that are there."""

    list_display = (
        "gateway_name",
        "state",
        "clients",
        "rate",
        "conflated",
        "dropped",
        "slow_closes",
        "since",
        "heard",
    )
    search_fields = ("host", "gateway")
    search_help_text = "Host, or id at the workers"

    @admin.display(description="gateway", ordering="host")
    def gateway_name(self, gateway: GatewayStatus) -> str:
        """Host and process."""
        return str(gateway)

    @admin.display(description="state", ordering="heartbeat")
    def state(self, gateway: GatewayStatus) -> SafeString:
        """Badge of a gateway that writes, or is silent."""
        if gateway.is_alive():
            return badge("good", "serving")
        return badge("bad", "gone", "it has not written for 10 s")

    @admin.display(description="deliveries/s", ordering="deliveries_per_second")
    def rate(self, gateway: GatewayStatus) -> str:
        """Ticks queued for clients."""
        return f"{gateway.deliveries_per_second:,.0f}"

    @admin.display(description="started", ordering="started")
    def since(self, gateway: GatewayStatus) -> SafeString | str:
        """Time that it has been there."""
        return age(gateway.started)

    @admin.display(description="heard", ordering="heartbeat")
    def heard(self, gateway: GatewayStatus) -> SafeString | str:
        """Age of its last word."""
        return age(gateway.heartbeat)


class ProtocolFilter(ChoiceFilter):
    """By what a client speaks."""

    title = "protocol"
    parameter_name = "protocol"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the protocols."""
        choices = ClientConnection.Protocol.choices
        return {value: (label, Q(protocol=value)) for value, label in choices}


class SignInFilter(ChoiceFilter):
    """By how a client was admitted."""

    title = "admitted by"
    parameter_name = "admitted"

    def conditions(self) -> dict[str, tuple[str, Q]]:
        """Return the ways."""
        return {
            "key": ("API key", Q(api_key__isnull=False)),
            "session": ("login", Q(api_key=None)),
        }


@admin.register(ClientConnection)
class ClientConnectionAdmin(ReadOnlyAdmin):
    """Clients that are connected now; whoever may can send them away."""

    list_display = (
        "client_name",
        "state",
        "protocol",
        "key",
        "symbols",
        "since",
        "agent",
        "gateway",
    )
    list_filter = (ProtocolFilter, SignInFilter)
    list_select_related = ("user", "gateway", "api_key")
    date_hierarchy = "connected"
    search_fields = ("user__username", "address", "user_agent", "api_key__name", "gateway__host")
    search_help_text = "User name, address, program, name of the API key, or host of the gateway"
    show_facets = admin.ShowFacets.ALWAYS
    actions = ("disconnect",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ClientConnection]:
        """Leave out clients of gateways that are gone."""
        return super().get_queryset(request) & ClientConnection.objects.alive()

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Whether this person may send clients away."""
        return bool(request.user.has_perm(DISCONNECT))

    @admin.display(description="client", ordering="user__username")
    def client_name(self, client: ClientConnection) -> str:
        """User and address."""
        return str(client)

    @admin.display(description="state", ordering="disconnect_requested")
    def state(self, client: ClientConnection) -> SafeString:
        """Whether it is being sent away."""
        if client.disconnect_requested:
            return badge("held", "leaving")
        return badge("good", "connected")

    @admin.display(description="API key", ordering="api_key__name")
    def key(self, client: ClientConnection) -> str:
        """Its key, or that it is a page of a person who logged in."""
        return str(client.api_key) if client.api_key else "login"

    @admin.display(description="since", ordering="connected")
    def since(self, client: ClientConnection) -> SafeString | str:
        """Time that it has been there."""
        return age(client.connected)

    @admin.display(description="program", ordering="user_agent")
    def agent(self, client: ClientConnection) -> str:
        """Program that it says it is."""
        text = client.user_agent
        return (text[:48] + "..." if len(text) > 48 else text) or NOTHING

    @admin.action(description="Disconnect the selected clients", permissions=["disconnect"])
    def disconnect(
        self, request: HttpRequest, queryset: QuerySet[ClientConnection]
    ) -> HttpResponse | None:
        """Close clients' sockets; a program that reconnects by itself comes back."""
        chosen = queryset.select_related("user", "api_key")[: MAX_CLIENTS + 1]
        clients = list(chosen)
        if len(clients) > MAX_CLIENTS:
            self.message_user(
                request, f"Select at most {MAX_CLIENTS:,} clients at a time.", messages.ERROR
            )
            return None
        if not is_confirmed(request):
            effects = [(client, _effect(client)) for client in clients]
            return ask(self, request, action="disconnect", label="Disconnect", effects=effects)
        ids = [client.pk for client in clients]
        ClientConnection.objects.request_disconnect(ids)
        for client in clients:
            self.log_change(request, client, "Disconnect asked for.")
        left = _wait_until_gone(ids)
        done = len(ids) - left
        if left:
            gone = f"{done:,} of {counted(len(ids), 'client')} disconnected"
            text = f"{gone}; the others' gateway has not said."
            self.message_user(request, text, messages.WARNING)
        else:
            self.message_user(request, f"{counted(done, 'client')} disconnected.", messages.SUCCESS)
        return None


def _effect(client: ClientConnection) -> str:
    symbols = counted(client.symbols, "symbol")
    return (
        f"its socket is closed within 5 seconds; it holds {symbols}. "
        "It may connect again: revoke its key to keep it out."
    )


def _wait_until_gone(ids: list[int]) -> int:
    """Wait until the clients' gateways have let go; returns how many are left after 5 s."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        left = ClientConnection.objects.alive().filter(pk__in=ids).count()
        if not left or time.monotonic() >= deadline:
            return left
        time.sleep(POLL_SECONDS)
