"""Operating pools from the admin: the question, the deed, the worker's words, and who may."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.test import Client

from pooling.models import BrokerAccount, Instrument, PoolCommand
from tests.integration.site.admin.admin_kit import answering, long_ago, make_status, staff

LIST = "/admin/pooling/brokeraccount/"
MAY_OPERATE = ("pooling.view_brokeraccount", "pooling.operate_pool")


@pytest.fixture
def operator(transactional_db: None, client: Client) -> Client:
    client.force_login(staff("olga", *MAY_OPERATE))
    return client


def page(account: BrokerAccount, name: str) -> str:
    return f"{LIST}{account.pk}/operate/{name}/"


def text(answer: Any) -> str:
    """Return what a person reads on a page."""
    plain = re.sub(r"<[^>]+>", " ", answer.content.decode())
    return re.sub(r"\s+", " ", plain).replace("&#x27;", "'")


def told(answer: Any) -> list[tuple[str, str]]:
    return [(each.level_tag, each.message) for each in get_messages(answer.wsgi_request)]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pause", "3 connections close and 2,200 symbols of 3 clients stand still until"),
        ("reconnect", "2,200 symbols of up to 3 clients have a gap until it is back"),
        ("reconnect/?slot=3", "Connection 3 is closed and opened again. 200 symbols of up to"),
        ("drain/?slot=2", "Connection 2 hands its 1,000 symbols to the others"),
        ("rebalance", "2,200 symbols on 3 connections move onto as few connections"),
        ("unsubscribe", "The pool carries 2,200 symbols for 3 clients."),
    ],
)
def test_the_question_says_what_will_happen_to_how_many(
    operator: Client, account: BrokerAccount, name: str, words: str
) -> None:
    make_status(account)
    answer = operator.get(page(account, name.split("/")[0]) + name.partition("/")[2])
    assert words in text(answer)
    assert not PoolCommand.objects.exists()


def test_the_question_says_plainly_that_no_worker_is_alive(
    operator: Client, account: BrokerAccount
) -> None:
    make_status(account, heartbeat=long_ago())
    assert "No worker keeps" in text(operator.get(page(account, "pause")))


@pytest.mark.parametrize(
    ("name", "data", "argument"),
    [
        ("pause", {}, {}),
        ("reconnect", {}, {}),
        ("reconnect", {"slot": "2"}, {"slot": 2}),
        ("drain", {"slot": "3"}, {"slot": 3}),
        ("rebalance", {}, {}),
        (
            "unsubscribe",
            {"symbols": "nse:infy\n NSE:RELIANCE ,NSE:INFY"},
            {"keys": [["NSE", "INFY"], ["NSE", "RELIANCE"]]},
        ),
    ],
)
def test_what_was_confirmed_reaches_the_worker_and_its_words_come_back(
    operator: Client,
    account: BrokerAccount,
    instruments: list[Instrument],
    name: str,
    data: dict[str, str],
    argument: dict[str, Any],
) -> None:
    make_status(account)
    with answering(account, result="The worker did it to 7 symbols.") as asked:
        answer = operator.post(page(account, name), data)
    assert answer.status_code == 302
    assert asked == [(name, argument)]
    words = "asha: zerodha (main): The worker did it to 7 symbols."
    assert told(answer) == [("success", words)]
    command = PoolCommand.objects.get()
    assert command.requested_by == User.objects.get(username="olga")
    assert (command.source, command.state) == ("admin", "done")
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.user) == (str(account.pk), command.requested_by)
    assert entry.get_change_message().endswith(": The worker did it to 7 symbols.")


def test_a_failure_is_told_as_one(operator: Client, account: BrokerAccount) -> None:
    make_status(account)
    with answering(account, result="There is no connection 9.", is_done=False):
        answer = operator.post(page(account, "rebalance"))
    assert told(answer) == [("error", "asha: zerodha (main): There is no connection 9.")]


def test_no_worker_is_told_at_once_and_the_pause_is_kept(
    operator: Client, account: BrokerAccount
) -> None:
    make_status(account, heartbeat=long_ago())
    ((level, words),) = told(operator.post(page(account, "pause")))
    assert level == "warning"
    assert "No worker serves this pool now" in words
    account.refresh_from_db()
    assert account.paused


def test_a_refusal_says_what_mends_it(operator: Client, account: BrokerAccount) -> None:
    BrokerAccount.objects.update(paused=True)
    ((level, words),) = told(operator.post(page(account, "rebalance")))
    assert (level, "resume it first" in words) == ("error", True)


@pytest.mark.parametrize(
    ("symbols", "words"),
    [
        ("", "This field is required."),
        ("INFY", "write EXCHANGE:SYMBOL"),
        ("NSE:INFY\nNSE:NOPE", "Not an instrument of zerodha: NSE:NOPE."),
        ("BINANCE:BTCUSDT", "Not an instrument of zerodha: BINANCE:BTCUSDT."),
        ("\n".join(f"NSE:X{n}" for n in range(1001)), "at most 1,000 symbols"),
    ],
)
def test_symbols_that_cannot_be_unsubscribed_are_named(
    operator: Client,
    account: BrokerAccount,
    instruments: list[Instrument],
    symbols: str,
    words: str,
) -> None:
    answer = operator.post(page(account, "unsubscribe"), {"symbols": symbols})
    assert answer.status_code == 200
    assert words in text(answer)
    assert not PoolCommand.objects.exists()


def test_a_connection_that_is_not_there_cannot_be_chosen(
    operator: Client, account: BrokerAccount
) -> None:
    make_status(account)
    answer = operator.post(page(account, "drain"), {"slot": "7"})
    assert "7 is not one of the available choices" in text(answer)
    assert not PoolCommand.objects.exists()


@pytest.mark.parametrize("slot", ["²", "9" * 5000, "-1", "x", ""])
def test_an_address_that_names_no_connection_asks_about_all(
    operator: Client, account: BrokerAccount, slot: str
) -> None:
    make_status(account)
    answer = operator.get(page(account, "drain"), {"slot": slot})
    assert answer.status_code == 200


def test_start_switches_on_and_ends_the_pause(operator: Client, account: BrokerAccount) -> None:
    make_status(account)
    BrokerAccount.objects.update(enabled=False, paused=True)
    with answering(account):
        answer = operator.post(page(account, "start"))
    assert told(answer)[0][0] == "success"
    account.refresh_from_db()
    assert (account.enabled, account.paused) == (True, False)


def test_several_pools_are_asked_about_once_and_answer_for_themselves(
    operator: Client, account: BrokerAccount
) -> None:
    make_status(account)
    other = BrokerAccount.objects.create(user=account.user, broker="binance", enabled=False)
    chosen = {"action": "pause", "_selected_action": [account.pk, other.pk]}
    question = operator.post(LIST, chosen)
    assert "2,200 symbols of 3 clients stand still" in text(question)
    assert not PoolCommand.objects.exists()
    with answering(account, result="Paused.") as asked:
        answer = operator.post(LIST, {**chosen, "confirmed": "yes"})
    assert asked == [("pause", {})]
    assert told(answer) == [
        ("warning", "Pause: 1 of 2 pools done."),
        ("error", "asha: binance (main): This account is not enabled; enable it first."),
        ("success", "asha: zerodha (main): Paused."),
    ]
    assert LogEntry.objects.count() == 2


def test_too_many_pools_at_once_are_refused(operator: Client, user: User) -> None:
    accounts = BrokerAccount.objects.bulk_create(
        BrokerAccount(user=user, broker="zerodha", label=str(number)) for number in range(201)
    )
    chosen = [account.pk for account in accounts]
    answer = operator.post(LIST, {"action": "pause", "_selected_action": chosen})
    assert told(answer) == [("error", "Select at most 200 pools at a time.")]


def test_staff_without_the_permission_neither_see_nor_post(
    client: Client, account: BrokerAccount
) -> None:
    make_status(account)
    client.force_login(staff("bob", "pooling.view_brokeraccount", "pooling.change_brokeraccount"))
    for shown in (LIST, f"{LIST}{account.pk}/change/"):
        content = client.get(shown).content.decode()
        assert "operate" not in content
        assert 'value="pause"' not in content
    for name in ("start", "pause", "resume", "reconnect", "drain", "rebalance", "unsubscribe"):
        assert client.get(page(account, name)).status_code == 403
        assert client.post(page(account, name), {"slot": "1"}).status_code == 403
        sent = {"action": name, "_selected_action": [account.pk], "confirmed": "yes"}
        assert client.post(LIST, sent).status_code in (200, 302)
    assert not PoolCommand.objects.exists()
    assert not LogEntry.objects.exists()


def test_the_page_of_a_pool_offers_what_makes_sense_now(
    operator: Client, account: BrokerAccount
) -> None:
    make_status(account)
    shown = operator.get(f"{LIST}{account.pk}/change/").content.decode()
    offered = set(re.findall(r"/operate/(\w+)/\"", shown))
    assert offered == {"pause", "reconnect", "drain", "rebalance", "unsubscribe"}
    assert shown.count("operate/reconnect/?slot=") == 3
    BrokerAccount.objects.update(paused=True)
    shown = operator.get(f"{LIST}{account.pk}/change/").content.decode()
    assert set(re.findall(r"/operate/(\w+)/\"", shown)) == {"resume", "unsubscribe"}


def test_what_does_not_exist_leads_back(operator: Client, account: BrokerAccount) -> None:
    for path in (page(account, "explode"), f"{LIST}999/operate/pause/"):
        answer = operator.get(path)
        assert (answer.status_code, told(answer)[0][0]) == (302, "warning")
