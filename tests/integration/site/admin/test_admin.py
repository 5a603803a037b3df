"""The admin: limits, credentials and keys."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from pooling.keys.files import create_key_file
from pooling.models import BrokerAccount, PoolConfig
from streaming.gateway.notices import GROUP, changed_users
from streaming.models import ApiKey, hash_api_key
from tests.credential_kit import CredentialCipher


@pytest.fixture
def admin(user: User, client: Client) -> Client:
    User.objects.update(is_staff=True, is_superuser=True)
    client.force_login(User.objects.get())
    return client


def form(account: BrokerAccount | None, user: User, **changes: Any) -> dict[str, Any]:
    config = PoolConfig.objects.filter(account=account).first() if account else None
    return {
        "user": user.pk,
        "broker": "zerodha",
        "label": "main",
        "endpoint": "",
        "enabled": "on",
        "config-TOTAL_FORMS": "1",
        "config-INITIAL_FORMS": "1" if config else "0",
        "config-0-id": config.pk if config else "",
        "config-0-account": account.pk if account else "",
        "config-0-symbols_per_connection": "",
        "config-0-max_connections": "",
        **changes,
    }


def change(admin: Client, account: BrokerAccount, user: User, **changes: Any) -> Any:
    return admin.post(
        f"/admin/pooling/brokeraccount/{account.pk}/change/", form(account, user, **changes)
    )


def test_limits_are_saved_with_a_new_revision(
    admin: Client, user: User, account: BrokerAccount
) -> None:
    PoolConfig.objects.create(account=account)
    for limit, revision in (("200", 2), ("200", 2), ("300", 3), ("", 4)):
        answer = change(admin, account, user, **{"config-0-symbols_per_connection": limit})
        assert answer.status_code == 302, answer.context["errors"]
        assert PoolConfig.objects.get().revision == revision
        assert PoolConfig.objects.get().symbols_per_connection == (int(limit) if limit else None)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("symbols_per_connection", "3001", "Zerodha allows at most 3,000"),
        ("max_connections", "4", "Zerodha allows at most 3"),
        ("max_connections", "0", "greater than or equal to 1"),
        ("warm_connections", "4", "At most 3"),
        ("exclusive_heartbeat", "0.5", "At least 1 second, or 0"),
        ("exclusive_reconnect", "301", "less than or equal to 300"),
    ],
)
def test_limits_above_the_brokers_are_refused_with_the_cap(
    admin: Client, user: User, account: BrokerAccount, field: str, value: str, words: str
) -> None:
    answer = change(admin, account, user, **{f"config-0-{field}": value})
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert not PoolConfig.objects.exists()


def test_a_new_account_is_ones_own_unless_said_otherwise(admin: Client) -> None:
    page = admin.get("/admin/pooling/brokeraccount/add/")
    assert page.context["adminform"].form.initial["user"] == int(admin.session["_auth_user_id"])


def test_a_new_account_comes_with_credentials_and_limits(
    admin: Client, user: User, cipher: CredentialCipher
) -> None:
    answer = admin.post(
        "/admin/pooling/brokeraccount/add/",
        form(
            None,
            user,
            credential_zerodha_api_key="the-key",
            credential_zerodha_access_token="the-token",
            **{"config-0-max_connections": "2"},
        ),
    )
    assert answer.status_code == 302, answer.context["errors"]
    account = BrokerAccount.objects.get()
    assert account.credentials_in_clear(cipher) == {
        "api_key": "the-key",
        "access_token": "the-token",
    }
    assert account.config.max_connections == 2


def test_credentials_are_written_and_never_shown(
    admin: Client, user: User, account: BrokerAccount, cipher: CredentialCipher
) -> None:
    page = f"/admin/pooling/brokeraccount/{account.pk}/change/"
    assert admin.get(page).content.decode().count("Not set.") == 2
    change(admin, account, user, credential_zerodha_api_key="the-key")
    change(admin, account, user, credential_zerodha_access_token="the-token")
    change(admin, account, user)
    account.refresh_from_db()
    assert account.credentials_version == 2
    assert account.credentials_in_clear(cipher) == {
        "api_key": "the-key",
        "access_token": "the-token",
    }
    shown = admin.get(page).content.decode()
    assert "Set." in shown
    assert "Not set." not in shown
    history = admin.get(f"/admin/pooling/brokeraccount/{account.pk}/history/").content.decode()
    logged = " ".join(
        f"{each.object_repr} {each.change_message}" for each in LogEntry.objects.all()
    )
    for secret in ("the-key", "the-token", *account.credentials.values()):
        assert secret not in shown + history + logged + repr(account) + str(account)


def test_credentials_without_a_key_file_say_how_to_make_one(
    admin: Client, user: User, account: BrokerAccount
) -> None:
    answer = change(admin, account, user, credential_zerodha_api_key="the-key")
    assert answer.status_code == 200
    assert "createkeyfile" in answer.content.decode()
    assert "the-key" not in answer.content.decode()


def test_credentials_of_another_broker_are_refused(
    admin: Client, user: User, data_dir: Path
) -> None:
    create_key_file(data_dir / "credentials.key")
    answer = admin.post(
        "/admin/pooling/brokeraccount/add/",
        form(None, user, broker="binance", credential_zerodha_api_key="the-key"),
    )
    assert "another broker" in answer.content.decode()


@pytest.mark.parametrize(
    "endpoint",
    ["http://x/", "ws://", "ws:///path", "wss://user:secret@host/", "ws://a b/", "ws://h:99999/"],
)
def test_an_endpoint_must_be_a_websocket_url_without_credentials(
    admin: Client, user: User, account: BrokerAccount, endpoint: str
) -> None:
    assert change(admin, account, user, endpoint=endpoint).status_code == 200
    account.refresh_from_db()
    assert account.endpoint == ""


def test_a_key_is_shown_exactly_once(admin: Client, user: User) -> None:
    answer = admin.post(
        "/admin/streaming/apikey/add/",
        {"user": user.pk, "name": "notebook", "may_read_ticks": "on"},
        follow=True,
    )
    (plaintext,) = re.findall(r"[0-9a-f]{64}", answer.content.decode())
    key = ApiKey.objects.get()
    assert key.hash == hash_api_key(plaintext)
    pages = ["/admin/streaming/apikey/", f"/admin/streaming/apikey/{key.pk}/change/", "/admin/"]
    for page in [*pages, f"/admin/streaming/apikey/{key.pk}/history/"]:
        content = admin.get(page).content.decode()
        assert plaintext not in content
        assert key.hash not in content
    assert ApiKey.objects.find(plaintext) == key


async def _heard(user_id: int, act: Any) -> int:
    """Return how often gateways are told that the user changed while ``act`` runs."""
    from asgiref.sync import sync_to_async

    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(GROUP, channel)
    await sync_to_async(act)()
    # A mark behind whatever was said: no waiting, and none of it is missed.
    await layer.send(channel, {"type": "end"})
    heard = 0
    while (message := await layer.receive(channel))["type"] != "end":
        assert changed_users(message) == [user_id]
        heard += 1
    await layer.group_discard(GROUP, channel)
    return heard


async def test_revoking_a_key_tells_the_users_gateways(transactional_db: None) -> None:
    from asgiref.sync import sync_to_async

    @sync_to_async
    def prepare() -> tuple[Client, User, ApiKey]:
        user = User.objects.create_superuser("root", password="a-long-password-1")
        client = Client()
        client.force_login(user)
        return client, user, ApiKey.objects.issue(user, "notebook")[0]

    client, user, key = await prepare()

    def revoke() -> None:
        client.post(
            "/admin/streaming/apikey/",
            {"action": "revoke", "_selected_action": [key.pk], "confirmed": "yes"},
        )

    assert await _heard(user.pk, revoke) == 1
    await sync_to_async(key.refresh_from_db)()
    assert key.revoked_at is not None


async def test_logout_password_and_limits_tell_the_users_gateways(
    transactional_db: None,
) -> None:
    from asgiref.sync import sync_to_async

    user = await sync_to_async(User.objects.create_user)("asha")
    account = await sync_to_async(BrokerAccount.objects.create)(user=user, broker="zerodha")
    client = Client()
    await sync_to_async(client.force_login)(user)

    def change_password() -> None:
        user.set_password("another-password-2")
        user.save()

    assert await _heard(user.pk, lambda: PoolConfig.objects.create(account=account)) == 1
    assert await _heard(user.pk, client.logout) == 1
    assert await _heard(user.pk, change_password) == 1
    assert await _heard(user.pk, lambda: client.force_login(user)) == 0


def test_history_is_read_only(admin: Client) -> None:
    for model in ("poolusage", "poolstatus", "poolevent", "instrument"):
        assert admin.get(f"/admin/pooling/{model}/").status_code == 200
        assert admin.get(f"/admin/pooling/{model}/add/").status_code == 403
