"""Thirty days of logins at each broker, judged by the exchange: how long no price could have come.

Product: login desk, schedule, driver and each broker's login. Exchange: its own codes, tokens and
clock. A store in memory, time that costs nothing. The month holds a holiday, a session on a Sunday,
a morning on which the broker is away at first, and one on which nobody logs in (where a person has
to) or the broker is away all morning (where none has to).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from brokers.exceptions import BrokerRateLimitError, BrokerUnavailableError
from brokers.login.contract import BrokerLogin, Code, Granted, LoginKind, Refused
from brokers.registry import login_of
from brokers.simulator.angel.login import AngelLogin
from brokers.simulator.dhan.login import DhanLogin
from brokers.simulator.fyers.login import FyersLogin
from brokers.simulator.login.desk import LoginDesk as ExchangeDesk
from brokers.simulator.login.people import App
from brokers.simulator.login.server import Call
from brokers.simulator.upstox.login import UpstoxLogin
from brokers.simulator.zerodha.login import KiteLogin
from brokers.times.market_clock import INDIA
from pooling.calendar.days import Hours, Market, TradingDays
from pooling.http.policy import HttpReply
from pooling.login.contracts import DailyLogin, PastTry, TakenLogin
from pooling.login.desk import LoginDesk
from pooling.login.schedule import DEFAULT_AT, must_stop
from pooling.login.states import AttemptKind
from pooling.testing.times import EPOCH_MS, VirtualClock, VirtualTimeLoop

APP = App("local-app-key-1", "local-app-secret-1", "http://127.0.0.1:8000/brokers/x/callback/")
FIRST = date(2026, 1, 6)  # the virtual clock begins the day before, at 13:30
DAYS = 30
HOLIDAY, SUNDAY = date(2026, 1, 26), date(2026, 2, 1)
AWAY_AT_FIRST, NOBODY = date(2026, 1, 14), date(2026, 1, 21)
CALENDAR = TradingDays(
    entered={
        **{(market, HOLIDAY): () for market in Market},
        (Market.EQUITY, SUNDAY): (Hours(time(9, 15), time(15, 30)),),
    }
)
PERSON_AT = time(8, 40)
TICK = 30.0  # seconds between two looks


class ExchangeHttp:
    """The desk's HTTP, answered by the exchange in memory; away while ``is_away``."""

    def __init__(self, exchange: ExchangeDesk) -> None:
        self._exchange = exchange
        self.is_away = False

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str], content: bytes | None
    ) -> HttpReply:
        if self.is_away:
            raise BrokerUnavailableError("connection refused")
        parts = urlsplit(url)
        answer = self._exchange._answer(
            Call(
                method=method,
                path=parts.path,
                query=parse_qsl(parts.query),
                headers={name.lower(): value for name, value in headers.items()},
                body=content or b"",
            )
        )
        if answer.status == 429:
            raise BrokerRateLimitError("429")
        return HttpReply(
            status=answer.status, http_version="HTTP/1.1", headers={}, body=answer.body
        )


class OneAccount:
    """A ``LoginStore`` of one account."""

    def __init__(self, kept: Mapping[str, str], *, is_unattended: bool) -> None:
        self.kept, self.is_unattended = kept, is_unattended
        self.waiting: list[TakenLogin] = []
        self.tries: list[PastTry] = []
        self.credential: Granted | None = None
        self.refusals: list[tuple[datetime, Refused]] = []
        self.owner = ""
        self.period = 0
        self._begun: datetime | None = None

    async def take(
        self, worker_id: str, pool_ids: Collection[str], most: int
    ) -> Sequence[TakenLogin]:
        taken, self.waiting = self.waiting[:most], self.waiting[most:]
        return taken

    def ask(self, broker: str, kind: AttemptKind, **values: Any) -> None:
        self.waiting.append(
            TakenLogin(
                attempt_id=1,
                pool_id="1",
                broker=broker,
                kind=kind,
                kept=self.kept,
                owner=self.owner,
                totp_counter=self.period,
                redirect_uri=APP.redirect,
                **values,
            )
        )

    async def prepared(self, attempt_id: int, name: str) -> None:
        raise NotImplementedError

    async def sends_totp(self, attempt_id: int, counter: int) -> None:
        self.period = counter

    async def finish(self, attempt_id: int, result: Granted | Refused) -> None:
        if self._begun is not None:
            why = result.why if isinstance(result, Refused) else None
            self.tries.append(PastTry(self._begun, why))
            self._begun = None
        if isinstance(result, Granted):
            self.credential, self.owner = result, result.owner
        else:
            self.refusals.append((now(), result))

    async def trading_days(self) -> TradingDays:
        return CALENDAR

    async def daily(self, pool_ids: Collection[str]) -> Sequence[DailyLogin]:
        is_on = self.is_unattended and self._begun is None and not must_stop(tuple(self.tries))
        if not is_on:
            return []
        ends = self.credential.ends_at if self.credential else None
        daily = DailyLogin(
            account_id=1, at=DEFAULT_AT, tries=tuple(self.tries[-9:]), credential_end=ends
        )
        return [daily]

    async def begin_daily(self, account_id: int) -> None:
        self._begun = now()
        self.ask(self.broker, AttemptKind.UNATTENDED)

    broker = ""


def now() -> datetime:
    return datetime.fromtimestamp(VirtualClock().time_ms() / 1000, UTC)


class Month:
    """Thirty days of one broker, by one kind of login."""

    def __init__(self, broker: str, kind: LoginKind, exchange: type[Any]) -> None:
        clock = VirtualClock()
        self.broker, self.kind, self.clock = broker, kind, clock
        self.exchange: ExchangeDesk = exchange(app=APP, clock=lambda: clock.time_ms() / 1000)
        found = login_of(broker, "http://127.0.0.1:1")
        assert found is not None
        self.login: BrokerLogin = found
        person = self.exchange.people[0]
        self.person = person
        kept = {
            "api_key": APP.key,
            "api_secret": APP.secret,
            "client_secret": APP.secret,
            "app_id": APP.key,
            "app_secret": APP.secret,
            "client_code": person.user_id,
            "client_id": person.user_id if broker in ("dhan", "angel") else APP.key,
            "pin": person.pin,
            "totp_secret": person.totp_secret,
        }
        self.http = ExchangeHttp(self.exchange)
        self.store = OneAccount(kept, is_unattended=kind is LoginKind.UNATTENDED)
        self.store.broker = broker
        self.desk = LoginDesk(
            store=self.store,
            http=self.http,
            login_of=lambda name, url: self.login,
            clock=clock,
            worker_id="w",
            pool_ids=lambda: ("1",),
            on_stored=self._nothing,
        )
        self.without: dict[date, float] = {}  # minutes of trade without a token, by day

    async def _nothing(self) -> None:
        return

    async def go(self) -> Month:
        """Let the days pass."""
        last = datetime.combine(FIRST + timedelta(days=DAYS), time(), INDIA)
        self.asked: set[tuple[date, int]] = set()
        while now() < last:
            local = now().astimezone(INDIA)
            self._weather(local)
            self._person(local)
            await self.desk.look()
            await self.desk.settled()
            self._judge(local)
            # By night nothing can happen but ends of tokens.
            is_day = time(7, 55) <= local.time() < time(15, 35)
            await asyncio.sleep(TICK if is_day else 300.0)
        return self

    def _weather(self, local: datetime) -> None:
        morning = local.time()
        is_bad = local.date() == AWAY_AT_FIRST and morning < time(8, 30)
        is_lost = self.store.is_unattended and local.date() == NOBODY and morning < time(15, 30)
        self.http.is_away = is_bad or is_lost

    def _person(self, local: datetime) -> None:
        """Somebody who logs in at 08:40, and once more ten minutes later if it was refused."""
        if self.kind is not LoginKind.BROWSER or local.date() == NOBODY:
            return
        if not CALENDAR.is_trading_day(local.date()) or local.date() < FIRST:
            return
        minutes = (local.hour - PERSON_AT.hour) * 60 + local.minute - PERSON_AT.minute
        turn = minutes // 10
        key = (local.date(), turn)
        if not 0 <= turn < 3 or key in self.asked or (turn and self._has_token()):
            return
        self.asked.add(key)
        if local.date() == AWAY_AT_FIRST and not turn:
            self.exchange.meet("down")
        where = self._allow()
        brought = self.login.callback(dict(parse_qsl(urlsplit(where).query)), self.store.kept)
        assert isinstance(brought, Code), brought
        self.store.ask(self.broker, AttemptKind.BROWSER, code=brought.value)

    def _allow(self) -> str:
        page = self.login.page(
            self.store.kept, state="s" * 43, redirect_uri=APP.redirect, prepared="-"
        )
        parts = urlsplit(page)
        call = Call(method="GET", path=parts.path, query=parse_qsl(parts.query))
        return self.exchange._allowed(call, self.person)

    def _has_token(self) -> bool:
        credential = self.store.credential
        if credential is None:
            return False
        token = credential.values["access_token"].removeprefix("Bearer ")
        return self.exchange.tokens.of(token.rpartition(":")[2]) is not None

    def _judge(self, local: datetime) -> None:
        if local.date() < FIRST:
            return
        for hours in CALENDAR.sessions(local.date()):
            if hours.opens <= local.time() < hours.closes and not self._has_token():
                self.without[local.date()] = self.without.get(local.date(), 0.0) + TICK / 60


def played(broker: str, kind: LoginKind, exchange: type[Any]) -> Month:
    """Return a month that has passed."""

    async def play() -> Month:
        return await Month(broker, kind, exchange).go()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(play())


MONTHS: list[tuple[str, LoginKind, type[Any]]] = [
    ("zerodha", LoginKind.BROWSER, KiteLogin),
    ("upstox", LoginKind.BROWSER, UpstoxLogin),
    ("fyers", LoginKind.BROWSER, FyersLogin),
    ("dhan", LoginKind.UNATTENDED, DhanLogin),
    ("angel", LoginKind.UNATTENDED, AngelLogin),
]


@pytest.mark.parametrize(("broker", "kind", "exchange"), MONTHS, ids=[each[0] for each in MONTHS])
def test_no_trade_without_a_token_but_on_the_day_without_a_login(
    broker: str, kind: LoginKind, exchange: type[Any]
) -> None:
    month = played(broker, kind, exchange)
    whole_day = (datetime.combine(FIRST, time(15, 30)) - datetime.combine(FIRST, time(9, 15))) / 60
    # Dhan's token of the day before lasts until its own hour, about eight in the morning.
    assert {day: round(minutes) for day, minutes in month.without.items()} == {
        NOBODY: round(whole_day.total_seconds())
    }
    for day in (HOLIDAY, SUNDAY, AWAY_AT_FIRST):
        assert day not in month.without
    assert not month.exchange.record
    assert month.exchange.codes.replayed == 0


def test_a_broker_is_asked_three_times_a_day_at_most() -> None:
    for broker, kind, exchange in MONTHS[3:]:
        month = played(broker, kind, exchange)
        by_day: dict[date, int] = {}
        for each in month.store.tries:
            day = each.at.astimezone(INDIA).date()
            by_day[day] = by_day.get(day, 0) + 1
        assert max(by_day.values()) == 3
        assert by_day[NOBODY] == 3
        assert HOLIDAY not in by_day
        assert SUNDAY in by_day


def test_the_clock_begins_before_the_first_day() -> None:
    began = datetime.fromtimestamp(EPOCH_MS / 1000, INDIA)
    assert began.date() == FIRST - timedelta(days=1)
