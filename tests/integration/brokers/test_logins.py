"""Every broker's login against the local exchange, which was written from the specification.

The product's builders and readers, its HTTP pool and its driver on one side; on the other the
exchange's own pages, codes, tokens and clock, and its feed, which has to take what was granted.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from brokers.login.contract import (
    BrokerLogin,
    Code,
    Granted,
    LoginKind,
    Refusal,
    Refused,
)
from brokers.registry import login_of
from brokers.simulator.angel.login import AngelLogin
from brokers.simulator.dhan.login import DhanLogin
from brokers.simulator.fyers.login import FyersLogin
from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import App, Person, totp_at
from brokers.simulator.upstox.login import UpstoxLogin
from brokers.simulator.zerodha.login import KiteLogin
from pooling.clock import SystemClock
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.http.pool import HttpPool
from pooling.login.contracts import TakenLogin
from pooling.login.driver import LoginDriver
from pooling.login.states import AttemptKind
from tests.fix_simulator import make_market
from tests.integration.brokers.angel_lab import ANGEL
from tests.integration.brokers.conftest import BrokerPool, listed
from tests.integration.brokers.dhan_lab import DHAN
from tests.integration.brokers.fyers_lab import FYERS
from tests.integration.brokers.lab import BrokerLab
from tests.integration.brokers.upstox_lab import UPSTOX
from tests.integration.brokers.zerodha_lab import ZERODHA
from tests.support import eventually

APP = App("local-app-key-1", "local-app-secret-1", "http://127.0.0.1:8000/brokers/x/callback/")
STATE = "s" * 43
QUICK = HttpOptions(
    max_connections=8,
    max_connections_per_host=8,
    timeout_seconds=2.0,
    total_seconds=2.0,
    max_body_bytes=64 * 1024,
    follows_redirects=False,
    retry=RetryPolicy(retries=0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginLab:
    """One broker's login under test: its desk, and what an account keeps for it."""

    lab: BrokerLab
    desk: Callable[..., LoginDesk]
    kept: Callable[[Person], Mapping[str, str]]
    kind: LoginKind
    wrong: Mapping[str, str] = field(default_factory=dict)  # a secret that is another

    @property
    def name(self) -> str:
        return self.lab.name


def in_browser(key: str, secret: str) -> Callable[[Person], Mapping[str, str]]:
    return lambda person: {key: APP.key, secret: APP.secret}


def with_pin(person: Person) -> Mapping[str, str]:
    return {
        "api_key": APP.key,
        "client_code": person.user_id,
        "client_id": person.user_id,
        "pin": person.pin,
        "totp_secret": person.totp_secret,
    }


def consent(person: Person) -> Mapping[str, str]:
    return {"client_id": person.user_id, "app_id": APP.key, "app_secret": APP.secret}


BROWSER, ALONE = LoginKind.BROWSER, LoginKind.UNATTENDED
LABS = (
    LoginLab(
        lab=ZERODHA,
        desk=KiteLogin,
        kept=in_browser("api_key", "api_secret"),
        kind=BROWSER,
        wrong={"api_secret": "another"},
    ),
    LoginLab(
        lab=UPSTOX,
        desk=UpstoxLogin,
        kept=in_browser("client_id", "client_secret"),
        kind=BROWSER,
        wrong={"client_secret": "another"},
    ),
    LoginLab(
        lab=FYERS,
        desk=FyersLogin,
        kept=in_browser("app_id", "app_secret"),
        kind=BROWSER,
        wrong={"app_secret": "another"},
    ),
    LoginLab(lab=DHAN, desk=DhanLogin, kept=consent, kind=BROWSER, wrong={"app_secret": "another"}),
    LoginLab(lab=DHAN, desk=DhanLogin, kept=with_pin, kind=ALONE, wrong={"pin": "000000"}),
    LoginLab(lab=ANGEL, desk=AngelLogin, kept=with_pin, kind=ALONE, wrong={"pin": "0000"}),
)
WITH_BROWSER = tuple(each for each in LABS if each.kind is BROWSER)


def named(one: LoginLab) -> str:
    return f"{one.name}-{one.kind}"


class Trader:
    """Somebody who logs in, with the product's side of it."""

    def __init__(self, one: LoginLab, desk: LoginDesk, http: HttpPool) -> None:
        self.one, self.desk = one, desk
        found = login_of(one.name, desk.url)
        assert found is not None
        self.login: BrokerLogin = found
        self.person = desk.people[0]
        self.kept = dict(one.kept(self.person))
        self.redirect = APP.redirect
        self.driver = LoginDriver(http=http, clock=SystemClock(), sends_totp=self._sent)
        self._periods: list[int] = []

    async def _sent(self, attempt_id: int, period: int) -> None:
        self._periods.append(period)

    def taken(self, **values: Any) -> TakenLogin:
        given = {"kind": AttemptKind(self.one.kind.value), "kept": self.kept}
        return TakenLogin(
            **{
                "attempt_id": 1,
                "pool_id": "1",
                "broker": self.one.name,
                "redirect_uri": self.redirect,
                **given,
                **values,
            }
        )

    async def page(self) -> str:
        """Return the login page's address."""
        prepared = ""
        if self.login.needs_preparing:
            name = await self.driver.prepare(self.login, self.taken(is_preparing=True))
            assert isinstance(name, str), name
            prepared = name
        return self.login.page(
            self.kept, state=STATE, redirect_uri=self.redirect, prepared=prepared
        )

    async def at_the_page(self, *, answer: str = "allow", who: Person | None = None) -> str:
        """Go to the login page and fill it in; return the address that one comes back to."""
        person = who or self.person
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as browser:
            url = await self.page()
            shown = await browser.get(url)
            assert shown.status_code == 200, shown.text
            assert "<form" in shown.text
            code = totp_at(person.totp_secret, self.desk.now())
            form = {"user": person.user_id, "pin": person.pin, "totp": code, "answer": answer}
            back = await browser.post(url, data=form)
        assert back.status_code == 302, back.text
        return str(back.headers["Location"])

    def came(self, address: str) -> Code | Granted | Refused:
        assert address.startswith(APP.redirect)
        return self.login.callback(dict(parse_qsl(urlsplit(address).query)), self.kept)

    async def log_in(self, **values: Any) -> Granted | Refused:
        """Walk the whole way."""
        if self.one.kind is BROWSER:
            brought = self.came(await self.at_the_page())
            assert isinstance(brought, Code), brought
            values = {"code": brought.value, **values}
        return await self.driver.obtain(self.login, self.taken(**values))


@asynccontextmanager
async def trading(one: LoginLab) -> AsyncIterator[Trader]:
    options = QUICK
    async with (
        one.desk(app=APP) as desk,
        HttpPool(clock=SystemClock(), rng=Random(1), options=options) as http,
    ):
        yield Trader(one, desk, http)


@pytest.fixture(params=LABS, ids=named)
async def trader(request: pytest.FixtureRequest) -> AsyncIterator[Trader]:
    """Somebody at each broker, by each kind of login, in turn."""
    async with trading(request.param) as found:
        yield found


@pytest.fixture(params=WITH_BROWSER, ids=named)
async def browsing(request: pytest.FixtureRequest) -> AsyncIterator[Trader]:
    """Somebody at each broker that one logs in to in a browser."""
    async with trading(request.param) as found:
        yield found


async def test_what_is_granted_opens_the_feed_and_nothing_else_does(trader: Trader) -> None:
    granted = await trader.log_in()
    assert isinstance(granted, Granted), granted
    assert granted.owner == trader.person.user_id
    assert not granted.warning
    lab = trader.one.lab
    exchange = lab.exchange(
        market=make_market(400), api_key="another-key", access_token="another", rate=500
    )
    exchange.take_logins(trader.desk.tokens)
    async with exchange:
        instruments = await listed(lab, exchange)
        kit = BrokerPool(
            lab, exchange, adapter=lab.quick_adapter(), instruments=instruments, linger_seconds=0.1
        )
        kit.store.save_credentials("1", dict(granted.values))
        await kit.open()
        try:
            kit.want(*kit.keys[:3])
            await eventually(lambda: len(kit.sink.ticks) > 5, timeout=20)
        finally:
            await kit.pool.close()
    assert not trader.desk.record


async def test_the_state_comes_back_where_the_broker_says_so(browsing: Trader) -> None:
    brought = browsing.came(await browsing.at_the_page())
    assert isinstance(brought, Code)
    assert brought.state == (STATE if browsing.login.echoes_state else None)


async def test_a_declined_login_is_told(browsing: Trader) -> None:
    brought = browsing.came(await browsing.at_the_page(answer="deny"))
    assert isinstance(brought, Refused)
    assert brought.why is Refusal.DECLINED


async def test_a_code_works_once_and_not_for_long(browsing: Trader) -> None:
    brought = browsing.came(await browsing.at_the_page())
    assert isinstance(brought, Code)
    first = await browsing.driver.obtain(browsing.login, browsing.taken(code=brought.value))
    assert isinstance(first, Granted)
    again = await browsing.driver.obtain(browsing.login, browsing.taken(code=brought.value))
    assert isinstance(again, Refused)
    assert again.why in (Refusal.CODE, Refusal.BUSY, Refusal.UNREADABLE), again
    assert browsing.desk.codes.replayed == 1


async def test_a_wrong_secret_is_told_and_grants_nothing(trader: Trader) -> None:
    trader.kept |= trader.one.wrong
    if trader.one.name == "dhan" and trader.one.kind is BROWSER:
        result: Any = await trader.driver.prepare(trader.login, trader.taken(is_preparing=True))
    else:
        result = await trader.log_in()
    assert isinstance(result, Refused)
    assert result.why is Refusal.SECRET, result


@pytest.mark.parametrize("one", [each for each in LABS if each.kind is ALONE], ids=named)
async def test_a_wrong_code_of_the_second_factor_is_told(one: LoginLab) -> None:
    async with trading(one) as trader:
        trader.kept["totp_secret"] = trader.desk.people[1].totp_secret
        result = await trader.log_in()
    assert isinstance(result, Refused)
    assert result.why is Refusal.SECOND_FACTOR, result


@pytest.mark.parametrize("one", [each for each in LABS if each.kind is ALONE], ids=named)
@pytest.mark.parametrize("seconds", [120, -120])
async def test_a_clock_that_is_off_is_told_with_the_offset(one: LoginLab, seconds: int) -> None:
    """The broker's clock is not ours, which its answer's ``Date`` gives away."""
    async with trading(one) as trader:
        trader.desk.put_clock_off(seconds)
        result = await trader.log_in()
    assert isinstance(result, Refused)
    assert result.why is Refusal.SECOND_FACTOR, result
    told = re.search(r"clock is ([\d,]+) s (ahead of|behind) the broker's", result.text)
    assert told, result.text
    assert told[2] == ("behind" if seconds > 0 else "ahead of")
    # But for how long the answer was under way on a busy machine.
    assert abs(int(told[1]) - abs(seconds)) < 60


async def test_somebody_else_at_the_broker_is_refused(browsing: Trader) -> None:
    """The wrong member of the family logs in at the page, or a session was swapped."""
    back = await browsing.at_the_page(who=browsing.desk.people[1])
    brought = browsing.came(back)
    assert isinstance(brought, Code)
    owner = browsing.person.user_id
    result = await browsing.driver.obtain(
        browsing.login, browsing.taken(code=brought.value, owner=owner)
    )
    assert isinstance(result, Refused)
    assert result.why is Refusal.OWNER, result


@pytest.mark.parametrize(
    ("fault", "whys"),
    [
        ("html", {Refusal.UNREADABLE}),
        ("large", {Refusal.UNREADABLE, Refusal.DOWN}),
        ("hang", {Refusal.DOWN}),
        ("cut", {Refusal.DOWN}),
        ("busy", {Refusal.BUSY}),
        ("down", {Refusal.DOWN}),
    ],
)
@pytest.mark.parametrize(
    "one", [each for each in LABS if each.desk is not DhanLogin or each.kind is ALONE], ids=named
)
async def test_a_broker_that_answers_badly_is_asked_once(
    one: LoginLab, fault: str, whys: set[Refusal]
) -> None:
    async with trading(one) as trader:
        values: dict[str, Any] = {}
        if one.kind is BROWSER:
            brought = trader.came(await trader.at_the_page())
            assert isinstance(brought, Code)
            values["code"] = brought.value
        trader.desk.meet(fault)
        began = time.monotonic()
        result = await trader.driver.obtain(trader.login, trader.taken(**values))
        assert isinstance(result, Refused)
        assert result.why in whys, result
        assert time.monotonic() - began < 10
        assert trader.desk.codes.replayed == 0


@pytest.mark.parametrize(
    ("one", "hour", "minute"),
    [
        (LABS[0], 6, 1),
        (LABS[1], 3, 31),
        (LABS[5], 5, 1),
    ],
    ids=["zerodha", "upstox", "angel"],
)
async def test_a_token_ends_at_its_hour(one: LoginLab, hour: int, minute: int) -> None:
    async with trading(one) as trader:
        granted = await trader.log_in()
        assert isinstance(granted, Granted)
        pasted = trader.taken(kind=AttemptKind.PASTED, values=granted.values)
        assert isinstance(await trader.driver.obtain(trader.login, pasted), Granted)
        trader.desk.move_clock_to(hour, minute)
        ended = await trader.driver.obtain(trader.login, pasted)
        assert isinstance(ended, Refused)
        assert ended.why is Refusal.SECRET, ended


async def test_an_analytics_token_outlives_the_night() -> None:
    one = LABS[1]
    assert isinstance(one.desk, type)
    async with trading(one) as trader:
        assert isinstance(trader.desk, UpstoxLogin)
        token = trader.desk.make_analytics_token()
        values = {"analytics_token": token, "made_on": "2026-12-01"}
        taken = trader.taken(kind=AttemptKind.LONG_LIVED, values=values)
        for _ in range(2):
            granted = await trader.driver.obtain(trader.login, taken)
            assert isinstance(granted, Granted), granted
            assert granted.ends_at is not None
            assert granted.ends_at.year == 2027
            trader.desk.move_clock_to(3, 31)


async def test_dhan_makes_one_token_in_two_minutes() -> None:
    async with trading(LABS[4]) as trader:
        assert isinstance(await trader.log_in(), Granted)
        again = await trader.log_in(totp_counter=0)
        assert isinstance(again, Refused)
        assert again.why is Refusal.BUSY, again


async def test_dhan_without_the_data_plan_is_told_with_the_grant() -> None:
    async with trading(LABS[4]) as trader:
        assert isinstance(trader.desk, DhanLogin)
        trader.desk.data_plan = "Deactive"
        granted = await trader.log_in()
        assert isinstance(granted, Granted)
        assert "Data APIs" in granted.warning


async def test_a_redirect_that_is_not_registered_ends_at_the_brokers_page() -> None:
    for one in (LABS[1], LABS[2]):
        async with trading(one) as trader, httpx2.AsyncClient(trust_env=False) as browser:
            trader.redirect = "http://127.0.0.1:9999/elsewhere/"
            shown = await browser.get(await trader.page())
            assert shown.status_code == 400
            assert "redirect" in shown.text.lower()


async def test_angels_browser_login_brings_what_opens_the_feed() -> None:
    """Where there is a public name to come back to; the tokens are in the address itself."""
    public = "https://pool.example/brokers/angel/callback/"
    async with trading(LABS[5]) as trader:
        trader.desk.register(public)
        trader.redirect = public
        back = await trader.at_the_page()
        assert back.startswith(public)
        brought = trader.login.callback(dict(parse_qsl(urlsplit(back).query)), trader.kept)
        assert isinstance(brought, Granted), brought
        assert brought.state == STATE
        taken = trader.taken(kind=AttemptKind.BROWSER, values=brought.values)
        granted = await trader.driver.obtain(trader.login, taken)
        assert isinstance(granted, Granted), granted
        assert granted.owner == trader.person.user_id
        token = granted.values["access_token"].removeprefix("Bearer ")
        login = trader.desk.tokens.of_feed(token)
        assert login is not None
        assert login.feed_token == granted.values["feed_token"]
        assert not trader.desk.record
