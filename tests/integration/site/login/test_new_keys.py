"""API keys: shown once to somebody who may have them; each does what it was made for, and ends."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import URLResolver, get_resolver
from django.utils import timezone

from pooling.models import BrokerAccount
from streaming.models import ApiKey
from streaming.scopes import EVERYTHING, READING, Scope
from tests.integration.site.admin.admin_kit import staff

ADD = "/admin/streaming/apikey/add/"
READS = {"may_read_ticks": "on", "may_read_status": "on"}


@pytest.fixture
def maker(transactional_db: None, client: Client) -> Client:
    client.force_login(staff("olga", "streaming.add_apikey", "streaming.view_apikey"))
    return client


def test_a_key_is_in_one_answer_and_nowhere_else(maker: Client, user: User) -> None:
    answer = maker.post(ADD, {"user": user.pk, "name": "notebook", **READS})
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
        answer = maker.post(ADD, {"user": owner.pk, "name": "notebook", **READS})
        assert "only a superuser makes such a key" in answer.content.decode()
    assert not ApiKey.objects.exists()
    own = User.objects.get(username="olga")
    assert maker.post(ADD, {"user": own.pk, "name": "mine", **READS}).status_code == 200
    assert ApiKey.objects.get().user == own


def test_a_superuser_makes_everybodys(client: Client, user: User) -> None:
    root = User.objects.create_superuser("root")
    client.force_login(root)
    for owner in (root, user):
        assert client.post(ADD, {"user": owner.pk, "name": "n", **READS}).status_code == 200
    assert ApiKey.objects.count() == 2


# What it may do, and until when


def until(when: str) -> dict[str, str]:
    """Return an end as the form sends it."""
    day, _, time = when.partition(" ")
    return {"ends_0": day, "ends_1": time}


def test_a_key_gets_the_scope_and_the_end_that_were_chosen(maker: Client, user: User) -> None:
    chosen = {"may_read_status": "on", **until("2099-03-31 18:00:00")}
    answer = maker.post(ADD, {"user": user.pk, "name": "scraper", **chosen})
    key = ApiKey.objects.get()
    assert key.scope == {Scope.READ_STATUS}
    assert key.ends is not None
    assert f"{timezone.localtime(key.ends):%Y-%m-%d %H:%M}" == "2099-03-31 18:00"
    assert "It may: read status. It ends at 2099-03-31 18:00:00 IST." in answer.content.decode()
    listed = maker.get("/admin/streaming/apikey/").content.decode()
    assert "2099-03-31 18:00:00 IST" in listed
    assert "read status</td>" in listed


def test_the_form_suggests_what_reads(maker: Client) -> None:
    page = maker.get(ADD).content.decode()
    chosen = re.findall(r'name="(may_\w+)"[^>]*checked', page)
    assert chosen == ["may_read_ticks", "may_read_status"]


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({}, "Choose at least one thing"),
        ({**READS, **until("2020-01-01 00:00:00")}, "This end is over already"),
        ({**READS, **until("9999-12-31 23:59:59")}, "more than a hundred years away"),
        ({**READS, **until("tomorrow 00:00:00")}, "Enter a valid date"),
    ],
)
def test_a_key_that_could_do_nothing_is_not_made(
    maker: Client, user: User, chosen: dict[str, str], words: str
) -> None:
    answer = maker.post(ADD, {"user": user.pk, "name": "n", **chosen})
    assert words in answer.content.decode()
    assert not ApiKey.objects.exists()


def test_a_key_that_sets_others_credentials_is_made_by_who_may_do_that(
    maker: Client, client: Client, user: User
) -> None:
    chosen = {"user": user.pk, "name": "n", "may_set_credentials": "on"}
    assert "makes a key that sets" in maker.post(ADD, chosen).content.decode()
    assert not ApiKey.objects.exists()
    own = User.objects.get(username="olga")
    maker.post(ADD, {**chosen, "user": own.pk})
    names = ("streaming.add_apikey", "streaming.view_apikey", "pooling.change_brokeraccount")
    client.force_login(staff("mona", *names))
    client.post(ADD, chosen)
    assert {key.user for key in ApiKey.objects.all()} == {own, user}


def test_the_list_tells_ended_from_valid_and_filters(maker: Client, user: User) -> None:
    hour = timedelta(hours=1)
    ends_at = {"kept": None, "over": -hour, "running": hour, "long": 200 * hour}
    for name, ends in ends_at.items():
        at = None if ends is None else timezone.now() + ends
        ApiKey.objects.issue(user, f"key-{name}", ends=at)
    gone, _ = ApiKey.objects.issue(user, "key-gone", scope=EVERYTHING, ends=timezone.now() - hour)
    gone.revoke()

    def listed(query: str = "") -> list[str]:
        page = maker.get(f"/admin/streaming/apikey/?{query}").content.decode()
        return sorted(re.findall(r"key-(\w+)</a>", page))

    assert listed() == ["gone", "kept", "long", "over", "running"]
    assert listed("state=valid") == ["kept", "long", "running"]
    assert listed("state=ending") == ["running"]
    assert listed("state=ended") == ["over"]
    assert listed("state=revoked") == ["gone"]
    assert listed("may=set_credentials") == ["gone"]
    assert listed("may=read_ticks") == listed()
    page = maker.get("/admin/streaming/apikey/?state=ended").content.decode()
    assert re.search(r'tp-off" title="at [^"]+">ended<', page)


# On the command line


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def test_the_command_makes_keys_of_a_scope_and_with_an_end(user: User) -> None:
    made = json.loads(
        run("createapikey", "--user", "asha", "--scope", "read_ticks", "--scope",
            "set_credentials", "--ends", "2099-03-31", "--json")
    )  # fmt: skip
    assert made["scope"] == ["read_ticks", "set_credentials"]
    assert made["ends"] == "2099-04-01T00:00:00+05:30", "the day included, in TIME_ZONE"
    key = ApiKey.objects.find(made["api_key"])
    assert key is not None
    assert key.scope == set(made["scope"])
    plain = run("createapikey", "--user", "asha").strip()
    kept = ApiKey.objects.find(plain)
    assert kept is not None
    assert (kept.scope, kept.ends) == (READING, None)


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ("2020-01-01", "over already"),
        ("9999-12-31", "is no time"),
        ("2999-01-01", "a hundred years"),
        ("soon", "is no time"),
    ],
)
def test_the_command_refuses_an_end_that_is_none(user: User, ends: str, words: str) -> None:
    with pytest.raises(CommandError, match=words) as refused:
        run("createapikey", "--user", "asha", "--ends", ends)
    assert refused.value.returncode == 2
    assert not ApiKey.objects.exists()


def test_keys_are_listed_without_being_shown(user: User) -> None:
    used, secret = ApiKey.objects.issue(user, "used", scope={Scope.READ_STATUS})
    at = timezone.now()
    ApiKey.objects.note_uses({used.pk: at})
    ApiKey.objects.issue(user, "over", ends=at - timedelta(hours=1))
    ApiKey.objects.issue(User.objects.create_user("ravi"), "other")[0].revoke()
    text = run("apikeys")
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [
        ["asha", "over"], ["asha", "used"], ["ravi", "other"],
    ]  # fmt: skip
    assert secret not in text
    assert secret not in run("apikeys", "--json")
    (over, shown) = json.loads(run("apikeys", "--user", "asha", "--json"))["keys"]
    assert (over["state"], over["last_used"]) == ("ended", None)
    assert (shown["state"], shown["scope"]) == ("valid", ["read_status"])
    assert shown["last_used"] == timezone.localtime(at).isoformat()
    assert run("apikeys", "--user", "nobody").strip() == "No such key."


# Where it is used


SURFACES = {
    "/api/instruments?q=infy": Scope.READ_TICKS,
    "/api/pools": Scope.READ_STATUS,
    "/api/pools/{}/credentials": Scope.SET_CREDENTIALS,
    "/status/{}/history.json": Scope.READ_STATUS,
    "/status/{}/history.csv": Scope.READ_STATUS,
    "/status/{}/history-events.csv": Scope.READ_STATUS,
}


def use(client: Client, address: str, account: BrokerAccount, key: str) -> Any:
    """Do what an address is for."""
    act = client.put if address.endswith("credentials") else client.get
    return act(address.format(account.pk), headers={"X-API-KEY": key})


@pytest.mark.parametrize("scope", list(Scope))
def test_each_address_is_for_keys_of_its_scope(
    client: Client, user: User, account: BrokerAccount, scope: Scope
) -> None:
    _, plaintext = ApiKey.objects.issue(user, "narrow", scope={scope})
    for address, needed in SURFACES.items():
        answer = use(client, address, account, plaintext)
        # Behind the door an empty body is none.
        opened = 400 if address.endswith("credentials") else 200
        assert answer.status_code == (opened if needed is scope else 403), address
        if needed is not scope:
            assert f"not {needed.replace('_', ' ')}" in answer.content.decode(), address


def addresses(patterns: list[Any], prefix: str = "/") -> Iterator[str]:
    """Yield every address outside the admin, an id as ``{}``."""
    for each in patterns:
        path = prefix + re.sub(r"<[^>]+>", "{}", str(each.pattern))
        if path.startswith("/admin/"):
            continue
        if isinstance(each, URLResolver):
            yield from addresses(each.url_patterns, path)
        else:
            yield path


def test_no_other_address_takes_keys(client: Client, user: User, account: BrokerAccount) -> None:
    """What a key that may do everything opens is in the table, and nothing opens without one."""
    _, plaintext = ApiKey.objects.issue(user, "wide", scope=EVERYTHING)
    named = {path.partition("?")[0] for path in SURFACES}
    found = set(addresses(get_resolver().url_patterns))
    assert named < found
    for path in found:
        without, with_key = (
            [
                getattr(client, method)(path.format(account.pk), headers=headers).status_code
                for method in ("get", "post", "put", "delete")
            ]
            for headers in ({}, {"X-API-KEY": plaintext})
        )
        assert (without != with_key) == (path in named), f"{path}: {without} {with_key}"


def test_an_ended_key_is_told_so_on_every_address(
    client: Client, user: User, account: BrokerAccount
) -> None:
    ends = timezone.now() - timedelta(seconds=1)
    key, plaintext = ApiKey.objects.issue(user, "old", ends=ends)
    for address in (*SURFACES, *SURFACES):
        answer = use(client, address, account, plaintext)
        assert answer.status_code == 401, address
        words = answer.content.decode()
        assert f"This API key ended at {timezone.localtime(ends):%Y-%m-%d %H:%M:%S} IST" in words
    key.revoke()
    answer = client.get("/api/pools", headers={"X-API-KEY": plaintext})
    assert "Invalid API key." in answer.content.decode()
