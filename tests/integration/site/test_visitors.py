"""Whose requests the site has learned from what it answered."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from openalgo_site.turns import visitors
from openalgo_site.turns.visitors import Visitors
from openalgo_site.web import api_access
from streaming.models import ApiKey

pytestmark = pytest.mark.django_db


@pytest.fixture
def learned(monkeypatch: pytest.MonkeyPatch) -> Visitors:
    fresh = Visitors()
    monkeypatch.setattr(visitors, "VISITORS", fresh)
    monkeypatch.setattr(api_access, "VISITORS", fresh)
    return fresh


def scope(name: str, value: str) -> dict[str, Any]:
    headers = [(name.encode(), value.encode())]
    return {"type": "http", "client": ("192.0.2.1", 5), "headers": headers}


def test_a_session_is_its_users_once_it_was_answered(client: Client, learned: Visitors) -> None:
    user = User.objects.create_superuser("trader")
    client.force_login(user)
    asked = scope("cookie", f"sessionid={client.cookies['sessionid'].value}")
    assert not learned.of(asked).is_known
    assert client.get("/admin/").status_code == 200
    visitor = learned.of(asked)
    assert visitor.is_known
    assert visitor.share == ("session", user.pk)


def test_a_key_is_its_users_once_it_opened_a_door(client: Client, learned: Visitors) -> None:
    user = User.objects.create_user("trader")
    _, key = ApiKey.objects.issue(user, "notebook")
    for shown in (key, "x" * 64):
        client.get("/api/pools", headers={"X-API-KEY": shown})
    assert learned.of(scope("x-api-key", key)).share == ("key", user.pk)
    assert not learned.of(scope("x-api-key", "x" * 64)).is_known


def test_a_session_that_opens_nothing_is_nobodys(client: Client, learned: Visitors) -> None:
    client.cookies["sessionid"] = "i" * 32
    for path in ("/login/", "/admin/", "/status/", "/api/pools"):
        client.get(path)
    assert not learned.of(scope("cookie", f"sessionid={'i' * 32}")).is_known
