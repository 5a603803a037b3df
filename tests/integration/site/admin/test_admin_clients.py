"""Revoking keys and sending clients away: the question, the wait for the gateways, the words."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.utils import timezone

from streaming.models import ApiKey, ClientConnection, GatewayStatus
from tests.integration.site.admin.admin_kit import long_ago, staff

KEYS, CLIENTS = "/admin/streaming/apikey/", "/admin/streaming/clientconnection/"


@pytest.fixture
def gateway(transactional_db: None) -> GatewayStatus:
    now = timezone.now()
    return GatewayStatus.objects.create(
        gateway="g1", host="here", pid=1, started=now, heartbeat=now + timedelta(hours=1)
    )


@pytest.fixture
def key(user: User) -> ApiKey:
    return ApiKey.objects.issue(user, "notebook")[0]


@pytest.fixture
def connected(gateway: GatewayStatus, key: ApiKey) -> ClientConnection:
    return ClientConnection.objects.create(
        gateway=gateway,
        client="c1",
        user=key.user,
        api_key=key,
        address="127.0.0.1",
        protocol="openalgo",
        connected=timezone.now(),
        symbols=12,
    )


@pytest.fixture
def operator(transactional_db: None, client: Client) -> Client:
    permitted = ("view_apikey", "revoke_apikey", "view_clientconnection")
    names = [f"streaming.{name}" for name in (*permitted, "disconnect_clientconnection")]
    client.force_login(staff("olga", *names))
    return client


@contextlib.contextmanager
def gateway_lets_go() -> Iterator[None]:
    """Play a gateway that closes those whose key was revoked or who are to be disconnected."""
    is_over = threading.Event()
    leaving = Q(disconnect_requested=True) | Q(api_key__revoked_at__isnull=False)

    def work() -> None:
        try:
            while not is_over.wait(0.02):
                ClientConnection.objects.filter(leaving).delete()
        finally:
            connection.close()

    thread = threading.Thread(target=work, name="played-gateway")
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(10)


def act(client: Client, url: str, action: str, *ids: int, **more: str) -> Any:
    return client.post(url, {"action": action, "_selected_action": list(ids), **more})


def told(answer: Any) -> list[tuple[str, str]]:
    return [(each.level_tag, each.message) for each in get_messages(answer.wsgi_request)]


def text(answer: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def test_a_key_is_revoked_after_a_yes_and_its_clients_are_gone(
    operator: Client, key: ApiKey, connected: ClientConnection
) -> None:
    question = text(act(operator, KEYS, "revoke", key.pk))
    assert "the key of asha never opens the door again" in question
    assert "1 client is connected with it now and loses its socket within 5 seconds" in question
    key.refresh_from_db()
    assert key.revoked_at is None
    with gateway_lets_go():
        answer = act(operator, KEYS, "revoke", key.pk, confirmed="yes")
    assert told(answer) == [
        ("info", "1 API key revoked. No client is connected with them any more.")
    ]
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert LogEntry.objects.get().get_change_message() == "Revoked."


def test_clients_that_are_still_there_are_counted(
    operator: Client,
    key: ApiKey,
    connected: ClientConnection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streaming.admin.keys.WAIT_SECONDS", 0.0)
    ((level, words),) = told(act(operator, KEYS, "revoke", key.pk, confirmed="yes"))
    assert (level, "1 client still shown" in words) == ("warning", True)


def test_clients_of_a_gateway_that_is_gone_are_not_waited_for(
    operator: Client, key: ApiKey, connected: ClientConnection, gateway: GatewayStatus
) -> None:
    GatewayStatus.objects.update(heartbeat=long_ago())
    answer = act(operator, KEYS, "revoke", key.pk, confirmed="yes")
    assert "No client is connected" in told(answer)[0][1]
    assert "0 client connections" in text(operator.get(CLIENTS))


def test_a_revoked_key_is_not_revoked_again(operator: Client, key: ApiKey) -> None:
    key.revoke()
    answer = act(operator, KEYS, "revoke", key.pk, confirmed="yes")
    assert told(answer) == [("warning", "These keys are revoked already.")]
    assert not LogEntry.objects.exists()


def test_a_client_is_sent_away_after_a_yes(operator: Client, connected: ClientConnection) -> None:
    question = text(act(operator, CLIENTS, "disconnect", connected.pk))
    assert "it holds 12 symbols" in question
    assert "revoke its key to keep it out" in question
    with gateway_lets_go():
        answer = act(operator, CLIENTS, "disconnect", connected.pk, confirmed="yes")
    assert told(answer) == [("success", "1 client disconnected.")]
    assert LogEntry.objects.get().object_repr == "asha from 127.0.0.1"


def test_a_key_cannot_be_deleted_and_lists_its_clients(
    operator: Client, key: ApiKey, connected: ClientConnection
) -> None:
    row = text(operator.get(KEYS))
    assert f"notebook asha valid read ticks, read status - never 1 {key.prefix}..." in row
    assert operator.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    answer = act(operator, KEYS, "delete_selected", key.pk, post="yes")
    assert told(answer) == [("warning", "No action selected.")]
    assert ApiKey.objects.filter(pk=key.pk).exists()
