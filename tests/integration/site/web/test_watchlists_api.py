"""The page's lists over HTTP: whose they are, how many, how large, and what a refusal says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from pooling.models import BrokerAccount, Instrument, SearchTier
from streaming.models import MAX_WATCHLISTS, ApiKey, UserPreferences, Watchlist

pytestmark = pytest.mark.django_db

INFY = {"exchange": "NSE", "symbol": "INFY"}
TCS = {"exchange": "NSE", "symbol": "TCS"}
LISTS = "/api/watchlists"


@pytest.fixture
def browser(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def send(client: Client, method: str, path: str, body: Any) -> Any:
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return client.generic(method, path, data, content_type="application/json")


def make(client: Client, name: str, *symbols: dict[str, str]) -> dict[str, Any]:
    answer = send(client, "POST", LISTS, {"name": name, "symbols": symbols})
    assert answer.status_code == 200, answer.content
    made: dict[str, Any] = answer.json()
    return made


def names(client: Client) -> list[str]:
    return [each["name"] for each in client.get(LISTS).json()["lists"]]


def test_several_lists_are_kept_in_the_order_in_which_they_were_made(browser: Client) -> None:
    assert browser.get(LISTS).json() == {"lists": [], "max_lists": 20, "max_symbols": 1000}
    zeta, alpha = make(browser, "zeta", INFY, TCS), make(browser, " Alpha ")
    assert alpha == {"id": alpha["id"], "name": "Alpha", "symbols": [], "view": {}}
    assert browser.get(LISTS).json()["lists"] == [zeta, alpha]
    assert zeta["symbols"] == [INFY, TCS]


def test_name_and_symbols_change_apart(browser: Client) -> None:
    made = make(browser, "banks", INFY)
    path = f"{LISTS}/{made['id']}"
    assert send(browser, "PUT", path, {"name": "IT"}).json() == {**made, "name": "IT"}
    expected = {"id": made["id"], "name": "IT", "symbols": [TCS, INFY], "view": {}}
    assert send(browser, "PUT", path, {"symbols": [TCS, INFY]}).json() == expected
    assert send(browser, "PUT", path, {"name": "it"}).json()["name"] == "it"
    assert browser.get(path).json()["symbols"] == [TCS, INFY]


def test_how_a_list_is_looked_at_is_kept_with_it(browser: Client) -> None:
    """Sorting and columns are the user's on every device, and leave the order alone."""
    made = make(browser, "banks", INFY, TCS)
    path = f"{LISTS}/{made['id']}"
    view = {"sort": "-percent", "columns": ["symbol", "last", "percent"]}
    changed = send(browser, "PUT", path, {"view": view}).json()
    assert changed == {**made, "view": view}
    assert send(browser, "PUT", path, {"symbols": [TCS]}).json()["view"] == view
    assert send(browser, "PUT", path, {"view": {}}).json()["view"] == {}
    again = send(browser, "POST", LISTS, {"name": "again", "symbols": [INFY], "view": view})
    assert again.json()["view"] == view


@pytest.mark.parametrize(
    "view",
    [
        {"sort": "price"},
        {"sort": "--last"},
        {"sort": ["last"]},
        {"sort": ""},
        {"columns": ["last", "last"]},
        {"columns": ["<b>"]},
        {"columns": "last"},
        {"other": "x"},
        {"columns": ["last"] * 5000},
        ["last"],
    ],
)
def test_no_other_view_is_kept(browser: Client, view: Any) -> None:
    made = make(browser, "banks", INFY)
    path = f"{LISTS}/{made['id']}"
    answer = send(browser, "PUT", path, {"view": view})
    assert answer.status_code == 400, answer.content
    assert browser.get(path).json() == made


@pytest.mark.usefixtures("instruments")
def test_names_of_a_pasted_list_are_found_or_missing(user: User, account: BrokerAccount) -> None:
    """In the order of the paste, each once; a bare name is meant where it is traded most."""
    client = Client()
    client.force_login(user)
    names = [
        {"exchange": "nse", "symbol": "m&m"},
        {"symbol": "INFY"},
        INFY,
        {"exchange": "BSE", "symbol": "NOSUCH"},
        {"symbol": "NOSUCH"},
    ]
    found = send(client, "POST", f"{LISTS}/named", {"names": names}).json()
    assert [(each["exchange"], each["symbol"]) for each in found["results"]] == [
        ("NSE", "M&M"),
        ("NSE", "INFY"),
    ]
    assert found["results"][1]["name"] == "INFOSYS"
    assert found["missing"] == [
        {"exchange": "BSE", "symbol": "NOSUCH"},
        {"exchange": "", "symbol": "NOSUCH"},
    ]


def test_a_pasted_name_is_an_indexs_by_any_spelling_and_where_the_user_prefers(
    user: User, account: BrokerAccount, instruments: list[Instrument]
) -> None:
    for exchange, symbol in (("BSE", "INFY"), ("BSE_INDEX", "BSEAUTO")):
        Instrument.objects.create(
            broker="zerodha",
            exchange=exchange,
            symbol=symbol,
            broker_token=f"{exchange}{symbol}",
            loaded=instruments[0].loaded,
        )
    client = Client()
    client.force_login(user)
    names = [{"exchange": "bse_index", "symbol": "AUTO"}, {"symbol": "INFY"}]

    def found() -> list[tuple[str, str]]:
        answer = send(client, "POST", f"{LISTS}/named", {"names": names}).json()
        assert answer["missing"] == []
        return [(each["exchange"], each["symbol"]) for each in answer["results"]]

    assert found() == [("BSE_INDEX", "BSEAUTO"), ("NSE", "INFY")]
    UserPreferences.objects.create(user=user, preferred_exchange="BSE")
    assert found() == [("BSE_INDEX", "BSEAUTO"), ("BSE", "INFY")]


def test_what_has_expired_is_missing_from_a_pasted_list(
    user: User, account: BrokerAccount, instruments: list[Instrument]
) -> None:
    Instrument.objects.filter(symbol="INFY").update(tier=SearchTier.EXPIRED)
    client = Client()
    client.force_login(user)
    found = send(client, "POST", f"{LISTS}/named", {"names": [INFY]}).json()
    assert found == {"results": [], "missing": [INFY]}


@pytest.mark.usefixtures("instruments")
def test_names_are_those_of_the_users_own_brokers(django_user_model: type[User]) -> None:
    """Who has no account knows no instrument."""
    client = Client()
    client.force_login(django_user_model.objects.create_user("bob"))
    found = send(client, "POST", f"{LISTS}/named", {"names": [INFY]}).json()
    assert found == {"results": [], "missing": [INFY]}


@pytest.mark.parametrize(
    "body",
    [
        {"names": [{"symbol": "A"}] * 1001},
        {"names": [{"symbol": ""}]},
        {"names": [{"symbol": "A" * 65}]},
        {"names": [{"symbol": "A", "exchange": "B" * 65}]},
        {"names": ["INFY"]},
        {"names": [{"symbol": 7}]},
        {},
        "no json",
    ],
)
def test_names_are_bounded(browser: Client, body: Any) -> None:
    answer = send(browser, "POST", f"{LISTS}/named", body)
    assert answer.status_code == 400, answer.content


def test_a_deleted_list_is_gone(browser: Client) -> None:
    keep, gone = make(browser, "keep"), make(browser, "gone")
    answer = browser.delete(f"{LISTS}/{gone['id']}")
    assert (answer.status_code, answer.json()["id"]) == (200, gone["id"])
    assert browser.delete(f"{LISTS}/{gone['id']}").status_code == 404
    assert browser.get(LISTS).json()["lists"] == [keep]


@pytest.mark.usefixtures("instruments")
def test_what_is_listed_is_described_at_once(user: User, account: BrokerAccount) -> None:
    """Names and tick sizes of the user's own brokers; what nobody knows is left out."""
    client = Client()
    client.force_login(user)
    made = make(client, "mixed", INFY, {"exchange": "NSE", "symbol": "NOSUCH"})
    found = client.get(f"{LISTS}/{made['id']}/instruments").json()["results"]
    assert [(each["exchange"], each["symbol"]) for each in found] == [("NSE", "INFY")]
    assert set(found[0]) == {"exchange", "symbol", "name", "tick_size"}
    assert found[0]["name"] == "INFOSYS"
    BrokerAccount.objects.update(enabled=False)
    assert client.get(f"{LISTS}/{made['id']}/instruments").json() == {"results": []}
    client.force_login(User.objects.create_user("eve"))
    assert client.get(f"{LISTS}/{made['id']}/instruments").status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_list_of_another_user_does_not_exist(browser: Client, method: str) -> None:
    """Neither read, nor changed, nor deleted; and the answer is that of a list that never was."""
    theirs = Watchlist.objects.create(user=User.objects.create_user("eve"), symbols=[INFY])
    answers = [
        send(browser, method, f"{LISTS}/{number}", {"symbols": []})
        for number in (theirs.pk, theirs.pk + 1000)
    ]
    assert [each.status_code for each in answers] == [404, 404]
    assert answers[0].content == answers[1].content
    theirs.refresh_from_db()
    assert theirs.symbols == [INFY]
    assert names(browser) == []


def test_two_users_may_use_the_same_name(browser: Client) -> None:
    Watchlist.objects.create(user=User.objects.create_user("eve"), name="banks")
    make(browser, "banks")
    assert names(browser) == ["banks"]


def test_a_name_is_used_once_whatever_its_case(browser: Client) -> None:
    make(browser, "Banks")
    other = make(browser, "IT")
    for answer in (
        send(browser, "POST", LISTS, {"name": "banks"}),
        send(browser, "PUT", f"{LISTS}/{other['id']}", {"name": "BANKS"}),
    ):
        assert answer.status_code == 409
        assert answer.json()["parameter"] == "name"
        assert "already" in answer.json()["message"]
    assert names(browser) == ["Banks", "IT"]


def test_the_number_of_lists_is_bounded(browser: Client, user: User) -> None:
    Watchlist.objects.bulk_create(
        Watchlist(user=user, name=f"list {n}", position=n) for n in range(MAX_WATCHLISTS)
    )
    answer = send(browser, "POST", LISTS, {"name": "one more"})
    assert answer.status_code == 409
    assert answer.json()["message"] == "A user has at most 20 lists; delete one first."
    assert Watchlist.objects.count() == MAX_WATCHLISTS


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "a\x00b", "\u202eevil", "x" * 65])
def test_a_name_is_one_short_line_of_text(browser: Client, name: str) -> None:
    made = make(browser, "banks")
    for method, path in (("POST", LISTS), ("PUT", f"{LISTS}/{made['id']}")):
        answer = send(browser, method, path, {"name": name})
        assert answer.status_code == 400
        assert answer.json()["parameter"] == "name"
    assert names(browser) == ["banks"]


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        '{"name": "x", "symbols": {}}',
        '{"name": "x", "symbols": null}',
        '{"name": 1}',
        '{"name": "x", "user": 1}',
        '{"name": "x", "symbols": [{"symbol": "INFY"}]}',
        '{"name": "x", "symbols": [{"symbol": "", "exchange": "NSE"}]}',
        '{"name": "x", "symbols": [{"symbol": 1, "exchange": "NSE"}]}',
        '{"name": "x", "symbols": [{"symbol": "A", "exchange": "B", "c": "D"}]}',
        json.dumps({"name": "x", "symbols": [{"symbol": "A", "exchange": "B"}] * 1001}),
        '{"name": "x", "symbols": ' + "[" * 5000 + "]" * 5000 + "}",
        b"\xff\xfe",
    ],
)
def test_bad_lists_are_refused(browser: Client, body: str | bytes) -> None:
    made = make(browser, "banks", INFY)
    for method, path in (("POST", LISTS), ("PUT", f"{LISTS}/{made['id']}")):
        answer = send(browser, method, path, body)
        assert answer.status_code == 400, answer.content
        assert answer.json()["parameter"] == "symbols"
    assert browser.get(LISTS).json()["lists"] == [made]


def test_a_missing_exchange_is_told_as_missing_and_lower_case_is_taken(browser: Client) -> None:
    body = {"name": "mine", "symbols": [{"exchange": "nse", "symbol": "INFY"}]}
    made = browser.post("/api/watchlists", body, "application/json").json()
    assert made["symbols"] == [{"exchange": "NSE", "symbol": "INFY"}]
    body = {"name": "other", "symbols": [{"symbol": "INFY"}]}
    refused = browser.post("/api/watchlists", body, "application/json")
    assert refused.status_code == 400
    assert refused.json()["message"] == "symbols[0]: 'exchange' is missing; e.g. NSE"


def test_lists_need_the_session_and_its_csrf_token(user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert send(strict, "POST", LISTS, {"name": "x"}).status_code == 403
    made = Watchlist.objects.create(user=user)
    path = f"{LISTS}/{made.pk}"
    assert strict.delete(path).status_code == 403
    _, plaintext = ApiKey.objects.issue(user, "notebook")
    for url in (LISTS, path):
        assert Client().get(url, headers={"X-API-KEY": plaintext}).status_code == 401
        assert Client().get(url).status_code == 401
    assert Watchlist.objects.get() == made


def test_other_methods_are_named(browser: Client) -> None:
    answer = browser.delete(LISTS)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
    assert browser.post(f"{LISTS}/1").headers["Allow"] == "GET, PUT, DELETE"
