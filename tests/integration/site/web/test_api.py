"""JSON for programs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from openalgo_site.adapters.key_uses import KEY_USES
from openalgo_site.web import api_access
from openalgo_site.web.api_access import KeyGate
from openalgo_site.web.api_shares import ApiShares
from openalgo_site.web.preferences import preferred_exchange
from pooling.models import BrokerAccount, Instrument, PoolStatus, SearchTier
from streaming.edge_limits import EdgeLimits
from streaming.models import ApiKey

pytestmark = pytest.mark.usefixtures("instruments")


@pytest.fixture(autouse=True)
def fresh_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    KEY_USES.take()  # what other tests left
    monkeypatch.setattr(api_access, "KEY_GATE", KeyGate(per_minute=3, clock=lambda: 0.0))


@pytest.fixture
def make_shares(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ApiShares]:
    """Return what gives users shares other than the usual ones."""

    def make(**limits: Any) -> ApiShares:
        shares = ApiShares(limits=EdgeLimits(**limits), clock=lambda: 0.0, patience_seconds=0.01)
        monkeypatch.setattr(api_access, "API_SHARES", shares)
        return shares

    return make


@pytest.fixture(autouse=True)
def full_shares(make_shares: Callable[..., ApiShares]) -> None:
    make_shares()


@pytest.fixture
def browser(client: Client, user: User, account: BrokerAccount) -> Client:
    client.force_login(user)
    return client


def symbols(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [row["symbol"] for row in answer.json()["results"]]


def test_anonymous_callers_get_401_as_json(client: Client) -> None:
    for path in ("/api/instruments", "/api/pools", "/api/watchlists"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert answer.json()["status"] == "error"


def test_api_key_opens_the_door_until_it_is_revoked(
    client: Client, user: User, account: BrokerAccount
) -> None:
    key, plaintext = ApiKey.objects.issue(user, "notebook")
    headers = {"X-API-KEY": plaintext}
    assert "INFY" in symbols(client.get("/api/instruments?q=infy", headers=headers))
    assert client.get("/api/pools", headers=headers).status_code == 200
    assert list(KEY_USES.take()) == [key.pk], "one use, however many requests"
    assert ApiKey.objects.get().last_used is None, "nobody waits for it to be written"
    key.revoke()
    assert client.get("/api/pools", headers=headers).status_code == 401


def test_nse_comes_first_until_the_user_prefers_another(
    browser: Client, instruments: list[Instrument], user: User
) -> None:
    bse = Instrument.objects.get(broker="zerodha", symbol="INFY")
    bse.pk, bse.exchange, bse.broker_token = None, "BSE", "128053508"
    bse.save()

    def first() -> str:
        return str(browser.get("/api/instruments?q=infy").json()["results"][0]["exchange"])

    def prefer(exchange: str) -> Any:
        body = {"preferred_exchange": exchange}
        return browser.put("/api/preferences", body, content_type="application/json")

    assert first() == "NSE"
    answer = browser.get("/api/preferences").json()
    assert answer["preferred_exchange"] == ""
    assert answer["exchanges"][:3] == ["NSE", "BSE", "MCX"]
    assert prefer("bse").json()["preferred_exchange"] == "BSE"
    assert first() == "BSE"
    refused = prefer("NYSE")
    assert refused.status_code == 400
    assert "there are NSE, BSE, MCX" in refused.json()["message"]
    assert first() == "BSE"
    assert prefer("").json()["preferred_exchange"] == ""
    assert first() == "NSE"
    assert browser.put("/api/preferences", "[]", content_type="application/json").status_code == 400
    other = User.objects.create_user("ravi")
    prefer("BSE")
    assert preferred_exchange(other) == ""


def test_preferences_need_a_session(client: Client, user: User) -> None:
    assert client.get("/api/preferences").status_code == 401
    _, plaintext = ApiKey.objects.issue(user, "notebook")
    answer = client.get("/api/preferences", headers={"X-API-KEY": plaintext})
    assert answer.status_code == 401


def test_an_empty_answer_says_what_is_missing(browser: Client, user: User) -> None:
    def reason(query: str = "q=infy") -> str:
        answer = browser.get(f"/api/instruments?{query}").json()
        assert answer["results"] == []
        return str(answer["reason"])

    assert reason("q=nosuchname") == ""
    assert reason("q=infy&exchange=nyse").startswith("None of your brokers trades NYSE; they trade")
    assert "NSE, NFO" in reason("q=infy&exchange=nyse")
    Instrument.objects.filter(broker="zerodha").update(tier=SearchTier.EXPIRED)
    load = "run manage.py loadinstruments --broker zerodha."
    assert reason() == f"All instruments of Zerodha have expired: {load}"
    Instrument.objects.filter(broker="zerodha").delete()
    assert reason() == f"No instruments are loaded for Zerodha: {load}"
    BrokerAccount.objects.update(enabled=False)
    assert reason() == "All of your broker accounts are disabled: enable one in the admin."
    BrokerAccount.objects.all().delete()
    assert reason() == "You have no broker account: add one on the Brokers page."


def test_a_key_of_an_inactive_user_is_wrong(client: Client, user: User) -> None:
    _, plaintext = ApiKey.objects.issue(user, "notebook")
    User.objects.update(is_active=False)
    assert client.get("/api/pools", headers={"X-API-KEY": plaintext}).status_code == 401


def test_wrong_keys_are_limited_by_address_and_right_ones_still_pass(
    client: Client, user: User, account: BrokerAccount
) -> None:
    _, plaintext = ApiKey.objects.issue(user, "notebook")
    wrong = [
        client.get("/api/pools", headers={"X-API-KEY": f"wrong {n}"}).status_code for n in range(5)
    ]
    assert wrong == [401, 401, 401, 429, 429]
    assert client.get("/api/pools", headers={"X-API-KEY": plaintext}).status_code == 200
    elsewhere = client.get("/api/pools", headers={"X-API-KEY": "wrong"}, REMOTE_ADDR="192.0.2.9")
    assert elsewhere.status_code == 401


def test_a_key_in_a_header_wins_over_the_session(browser: Client) -> None:
    assert browser.get("/api/pools", headers={"X-API-KEY": "wrong"}).status_code == 401


def test_best_matches_come_first(browser: Client) -> None:
    assert symbols(browser.get("/api/instruments?q=reliance")) == [
        "RELIANCE",
        "RELIANCE28NOV26FUT",
    ]
    assert symbols(browser.get("/api/instruments?q=bank")) == ["BANKBARODA", "HDFCBANK"]
    assert symbols(browser.get("/api/instruments?q=m%26m")) == ["M&M"]
    assert symbols(browser.get("/api/instruments?q=nothing")) == []


def test_further_words_narrow_the_answer(browser: Client) -> None:
    assert symbols(browser.get("/api/instruments?q=reliance+fut")) == ["RELIANCE28NOV26FUT"]
    assert symbols(browser.get("/api/instruments?q=bank+hdfc")) == ["HDFCBANK"]
    assert symbols(browser.get("/api/instruments?q=reliance+nothing")) == []


def test_exchange_and_limit_narrow_the_answer(browser: Client) -> None:
    assert symbols(browser.get("/api/instruments?q=reliance&exchange=nfo")) == [
        "RELIANCE28NOV26FUT"
    ]
    assert len(symbols(browser.get("/api/instruments?limit=2"))) == 2
    assert len(symbols(browser.get("/api/instruments?limit=10000"))) == 6


def test_signs_of_like_patterns_mean_themselves(browser: Client) -> None:
    assert symbols(browser.get("/api/instruments?q=%25")) == []
    assert symbols(browser.get("/api/instruments?q=RE_IANCE")) == []


def test_only_brokers_of_own_accounts_are_searched(browser: Client, user: User) -> None:
    other = User.objects.create_user("other")
    BrokerAccount.objects.create(user=other, broker="binance")
    BrokerAccount.objects.create(user=user, broker="binance", label="off", enabled=False)
    assert symbols(browser.get("/api/instruments?q=btc")) == []
    BrokerAccount.objects.create(user=user, broker="binance")
    assert symbols(browser.get("/api/instruments?q=btc")) == ["BTCUSDT"]


def test_a_row_says_what_the_instrument_is(browser: Client) -> None:
    Instrument.objects.filter(symbol="INFY").update(lot_size=1.0, tick_size=0.05)
    (row,) = browser.get("/api/instruments?q=INFY").json()["results"]
    assert row == {
        "symbol": "INFY",
        "exchange": "NSE",
        "name": "INFOSYS",
        "broker": "zerodha",
        "instrument_type": "EQ",
        "underlying": "",
        "expiry": None,
        "strike": None,
        "lot_size": 1.0,
        "tick_size": 0.05,
    }


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("limit=0", "limit"),
        ("limit=10001", "limit"),
        ("limit=-1", "limit"),
        ("limit=many", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A1", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("q=" + "x" * 65, "q"),
        ("q=a%00b", "q"),
        ("exchange=" + "x" * 17, "exchange"),
    ],
)
def test_a_bad_parameter_is_named(browser: Client, query: str, parameter: str) -> None:
    answer = browser.get(f"/api/instruments?{query}")
    assert answer.status_code == 400
    assert answer.json()["parameter"] == parameter


def test_other_methods_are_refused(browser: Client) -> None:
    answer = browser.post("/api/instruments")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "GET"


def heartbeat(account: BrokerAccount, age_seconds: float = 0.0) -> None:
    now = timezone.now() - timedelta(seconds=age_seconds)
    PoolStatus.objects.create(
        account=account,
        owner="host:1",
        state="live",
        since=now,
        heartbeat=now,
        stats={"used": 7, "capacity": 9000, "connections": [{"slot": 0}], "reason": ""},
    )


def test_pools_show_own_figures_and_a_fresh_heartbeat(
    browser: Client, account: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    heartbeat(account, age_seconds=1.5)
    (pool,) = browser.get("/api/pools").json()["results"]
    assert pool["pool_id"] == str(account.pk)
    assert (pool["used"], pool["capacity"], len(pool["connections"])) == (7, 9000, 1)
    assert (pool["status"], pool["broker"], pool["label"]) == ("live", "zerodha", "main")
    assert pool["heartbeat_age_ms"] == 1500


def test_a_pool_without_word_from_its_worker_has_none(
    browser: Client, account: BrokerAccount
) -> None:
    heartbeat(account, age_seconds=60)
    (pool,) = browser.get("/api/pools").json()["results"]
    assert (pool["status"], pool["feed_status"]) == ("no worker", "stale")
    assert pool["heartbeat_age_ms"] >= 60_000


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ({"state": "closed", "reason": "the pool was closed"}, ("no worker", "stale")),
        ({"state": "closed", "reason": "paused"}, ("paused", "closed")),
    ],
    ids=["its worker ended", "somebody paused it"],
)
def test_a_pool_is_closed_only_where_somebody_closed_it(
    browser: Client, account: BrokerAccount, words: dict[str, str], shown: tuple[str, str]
) -> None:
    heartbeat(account, age_seconds=-3600)
    PoolStatus.objects.update(**words)
    (pool,) = browser.get("/api/pools").json()["results"]
    assert (pool["status"], pool["feed_status"]) == shown
    assert pool["is_served"] is (shown[0] == "paused")


def test_what_a_worker_held_went_with_it(browser: Client, account: BrokerAccount) -> None:
    heartbeat(account, age_seconds=60)
    (pool,) = browser.get("/api/pools").json()["results"]
    assert (pool["used"], pool["connections"], pool["capacity"]) == (0, [], 9000)
    assert pool["is_served"] is False


def test_a_pool_that_nobody_served_shows_what_it_could_hold(browser: Client) -> None:
    (pool,) = browser.get("/api/pools").json()["results"]
    assert (pool["status"], pool["used"], pool["capacity"]) == ("never served", 0, 3000)


def test_pools_of_others_need_the_permission(client: Client, account: BrokerAccount) -> None:
    operator = User.objects.create_user("operator", is_staff=True)
    client.force_login(operator)
    assert client.get("/api/pools").json()["results"] == []
    operator.user_permissions.add(Permission.objects.get(codename="view_poolstatus"))
    client.force_login(User.objects.get(pk=operator.pk))
    assert len(client.get("/api/pools").json()["results"]) == 1


def test_no_answer_shows_a_credential(browser: Client, account: BrokerAccount) -> None:
    BrokerAccount.objects.update(credentials={"api_key": "token-text"})
    assert b"token-text" not in browser.get("/api/pools").content


@pytest.mark.parametrize("path", ["/api/", "/api/nothing", "/api/pools/7/nothing"])
def test_what_is_not_there_is_told_in_json_below_the_api(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.json()["status"]) == (404, "error")
    assert path in answer.json()["message"]
    page = client.get("/nothing")
    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")


def test_a_failure_is_told_in_json_below_the_api(
    client: Client, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr("openalgo_site.web.api.search_instruments", fail)
    client.raise_request_exception = False
    client.force_login(user)
    answer = client.get("/api/instruments")
    assert (answer.status_code, answer.json()["status"]) == (500, "error")
    assert "planted" not in answer.content.decode()


def test_a_form_from_elsewhere_is_refused_in_json_below_the_api(user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    answer = client.post("/api/watchlists", {"name": "x"}, content_type="application/json")
    assert (answer.status_code, answer.json()["status"]) == (403, "error")
    page = client.post("/login/", {"username": "x"})
    assert (page.status_code, page.headers["Content-Type"]) == (403, "text/html; charset=utf-8")


def test_a_host_that_is_none_of_the_sites_is_told_in_json_below_the_api(client: Client) -> None:
    answer = client.get("/api/pools", headers={"Host": "stranger.example"})
    assert (answer.status_code, answer.json()["status"]) == (400, "error")


def test_searches_of_a_user_count_by_what_they_cost(
    browser: Client, user: User, make_shares: Callable[..., ApiShares]
) -> None:
    """By key or session, for all addresses of the API together; other users are not concerned."""
    shares = make_shares(user_queries_per_second=2, user_query_burst=6)
    assert browser.get("/api/instruments?q=INFY").status_code == 200
    assert browser.get("/api/pools").status_code == 200
    assert browser.get("/api/instruments?q=INFY").status_code == 429
    _, key = ApiKey.objects.issue(user, "program")
    refused = Client().get("/api/instruments?q=INFY", headers={"X-API-KEY": key})
    assert refused.status_code == 429
    assert refused.headers["Retry-After"] == "1"
    assert "2 look-ups a second" in refused.json()["message"]
    assert shares.refused == {"api_queries": 2, "api_at_once": 0}
    _, other = ApiKey.objects.issue(User.objects.create_user("ravi"), "program")
    answer = Client().get("/api/instruments?q=INFY", headers={"X-API-KEY": other})
    assert answer.status_code == 200


def test_so_many_requests_of_a_user_at_a_time(
    browser: Client, user: User, make_shares: Callable[..., ApiShares]
) -> None:
    shares = make_shares(user_api_requests_at_once=1)
    with shares.taken(user.pk, 1):
        refused = browser.get("/api/pools")
    assert refused.status_code == 429
    assert "at a time" in refused.json()["message"]
    assert refused.headers["Retry-After"] == "5"
    assert browser.get("/api/pools").status_code == 200
