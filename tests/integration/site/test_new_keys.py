"""A new API key: shown once, in one answer, to somebody who may have it."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client

from streaming.models import ApiKey
from tests.integration.site.admin_kit import staff

ADD = "/admin/streaming/apikey/add/"


@pytest.fixture
def maker(transactional_db: None, client: Client) -> Client:
    client.force_login(staff("olga", "streaming.add_apikey", "streaming.view_apikey"))
    return client


def test_a_key_is_in_one_answer_and_nowhere_else(maker: Client, user: User) -> None:
    answer = maker.post(ADD, {"user": user.pk, "name": "notebook"})
    assert answer.status_code == 200
    (plaintext,) = re.findall(r"\b[0-9a-f]{64}\b", answer.content.decode())
    assert ApiKey.objects.find(plaintext) == ApiKey.objects.get()
    assert "no-store" in answer["Cache-Control"]
    carried = "".join(morsel.OutputString() for morsel in answer.cookies.values())
    kept = "".join(str(each.get_decoded()) for each in Session.objects.all())
    later = maker.get("/admin/streaming/apikey/").content.decode()
    for place in (carried, kept, later, str(maker.cookies)):
        assert plaintext not in place


def test_nobody_makes_keys_of_those_who_may_do_more(maker: Client) -> None:
    for owner in (
        User.objects.create_superuser("root"),
        staff("uma", "pooling.operate_pool"),
        staff("omar", "streaming.add_apikey", "streaming.view_apikey"),
    ):
        answer = maker.post(ADD, {"user": owner.pk, "name": "notebook"})
        assert "only a superuser makes such a key" in answer.content.decode()
    assert not ApiKey.objects.exists()
    own = User.objects.get(username="olga")
    assert maker.post(ADD, {"user": own.pk, "name": "mine"}).status_code == 200
    assert ApiKey.objects.get().user == own


def test_a_superuser_makes_everybodys(client: Client, user: User) -> None:
    root = User.objects.create_superuser("root")
    client.force_login(root)
    for owner in (root, user):
        assert client.post(ADD, {"user": owner.pk, "name": "n"}).status_code == 200
    assert ApiKey.objects.count() == 2
