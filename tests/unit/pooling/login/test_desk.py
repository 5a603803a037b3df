"""The login desk: what it takes, what it stores, and what does not hold it up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time
from typing import Any

from brokers.exceptions import BrokerUnavailableError
from brokers.login.contract import Granted, Refusal, Refused
from pooling.exceptions import StoreUnavailableError
from pooling.login.bounds import PER_WORKER
from pooling.login.contracts import DailyLogin, TakenLogin
from pooling.login.desk import AT_ONCE, LoginDesk
from pooling.login.states import AttemptKind
from pooling.testing.login import FakeLogin, FakeLoginHttp, FakeLoginStore
from pooling.testing.times import VirtualClock
from tests.unit.pooling.kit import virtual

GOOD = {"/token": ["granted tok"], "/me": ["owner AB1"], "/prepare": ["name n1"]}


def taken(attempt_id: int = 1, **values: Any) -> TakenLogin:
    given = {"pool_id": "1", "broker": "x", "kind": AttemptKind.BROWSER, "code": "c"}
    return TakenLogin(attempt_id=attempt_id, **{**given, **values})


class Site:
    """A desk with its fakes, on a loop whose time costs nothing."""

    def __init__(self, **values: Any) -> None:
        self.store = values.pop("store", FakeLoginStore())
        self.http = values.pop("http", FakeLoginHttp(GOOD))
        self.stored = 0
        self.desk = LoginDesk(
            store=self.store,
            http=self.http,
            login_of=values.pop("login_of", lambda broker, url: FakeLogin()),
            clock=VirtualClock(),
            worker_id="w",
            pool_ids=lambda: ("1", "2"),
            on_stored=self._on_stored,
            **values,
        )

    async def _on_stored(self) -> None:
        self.stored += 1


@virtual
async def test_what_waits_is_carried_out_stored_and_followed_at_once() -> None:
    site = Site()
    site.store.waiting = [taken()]
    await site.desk.look()
    await site.desk.settled()
    assert site.store.ended == {
        1: Granted(values={"api_key": "", "access_token": "tok"}, owner="AB1")
    }
    assert site.stored == 1


@virtual
async def test_an_attempt_of_another_workers_account_is_left_alone() -> None:
    site = Site()
    site.store.waiting = [taken(pool_id="9")]
    await site.desk.look()
    await site.desk.settled()
    assert not site.store.ended
    assert len(site.store.waiting) == 1


@virtual
async def test_preparing_gives_the_browser_its_way_and_stores_nothing() -> None:
    site = Site(login_of=lambda broker, url: FakeLogin(needs_preparing=True))
    site.store.waiting = [taken(is_preparing=True)]
    await site.desk.look()
    await site.desk.settled()
    assert site.store.names == {1: "name n1"}
    assert not site.stored
    assert not site.store.ended


@virtual
async def test_a_broker_that_hangs_holds_up_nobody_else_and_ends_by_itself() -> None:
    class Hanging(FakeLoginHttp):
        async def request(self, method: str, url: str, **values: Any) -> Any:
            if values["content"] == b"hang":
                await asyncio.sleep(3600)
            return await super().request(method, url, **values)

    site = Site(http=Hanging(GOOD))
    site.store.waiting = [taken(1, code="hang"), taken(2, pool_id="2")]
    await site.desk.look()
    await asyncio.sleep(1)
    assert list(site.store.ended) == [2]
    await site.desk.settled()
    assert site.store.ended[1].why is Refusal.DOWN


@virtual
async def test_only_so_many_at_once() -> None:
    class Hanging(FakeLoginHttp):
        async def request(self, method: str, url: str, **values: Any) -> Any:
            await asyncio.sleep(3600)

    site = Site(http=Hanging(GOOD))
    site.store.waiting = [taken(each) for each in range(AT_ONCE - 1)]
    await site.desk.look()
    site.store.waiting = [taken(98), taken(99)]
    for _ in range(2):
        await site.desk.look()
        assert [each.attempt_id for each in site.store.waiting] == [99]
    await site.desk.close()


@virtual
async def test_a_user_who_removes_and_makes_accounts_asks_no_more_often() -> None:
    """What a database counts goes with the account; the worker goes on counting."""
    site = Site()
    for each in range(PER_WORKER.most + 5):
        site.store.waiting = [taken(each, user_id=7)]
        await site.desk.look()
        await site.desk.settled()
    refused = [each for each in site.store.ended.values() if isinstance(each, Refused)]
    assert [each.why for each in refused] == [Refusal.BUSY] * 5
    assert "Nothing was sent" in refused[0].text
    assert len(site.http.asked) == 2 * PER_WORKER.most
    site.store.waiting = [taken(998, user_id=8)]
    await site.desk.look()
    await site.desk.settled()
    assert isinstance(site.store.ended[998], Granted)
    await asyncio.sleep(PER_WORKER.within.total_seconds())
    site.store.waiting = [taken(999, user_id=7)]
    await site.desk.look()
    await site.desk.settled()
    assert isinstance(site.store.ended[999], Granted)


@virtual
async def test_a_store_that_is_away_when_a_credential_came_is_asked_again() -> None:
    site = Site()
    site.store.waiting = [taken()]
    await site.desk.look()
    site.store.failures = [StoreUnavailableError("away")] * 3
    await site.desk.settled()
    assert isinstance(site.store.ended[1], Granted)
    assert [each[1] for each in site.http.asked] == ["/token", "/me"]


@virtual
async def test_a_broker_without_a_login_and_secrets_that_cannot_be_opened_end_with_a_sentence() -> (
    None
):
    site = Site(login_of=lambda broker, url: None)
    site.store.waiting = [taken()]
    await site.desk.look()
    await site.desk.settled()
    assert "paste" in site.store.ended[1].text
    site = Site()
    site.store.waiting = [taken(trouble="The key is not here.")]
    await site.desk.look()
    await site.desk.settled()
    assert site.store.ended[1].text == "The key is not here."
    assert not site.http.asked


@virtual
async def test_a_refusal_is_stored_and_changes_no_pool() -> None:
    answers: dict[str, Any] = {**GOOD, "/token": [BrokerUnavailableError("cut")]}
    site = Site(http=FakeLoginHttp(answers))
    site.store.waiting = [taken()]
    await site.desk.look()
    await site.desk.settled()
    assert site.store.ended[1].why is Refusal.DOWN
    assert not site.stored


@virtual
async def test_daily_logins_that_are_due_are_begun_and_the_others_are_not() -> None:
    site = Site()
    now = datetime.fromtimestamp(VirtualClock().time_ms() / 1000, UTC)
    midnight = time(0, 0)
    site.store.daily_ones = [
        DailyLogin(account_id=1, at=midnight),
        DailyLogin(account_id=2, at=midnight, credential_end=now.replace(year=now.year + 1)),
    ]
    await site.desk.look()
    assert site.store.begun == [1]


@virtual
async def test_a_store_that_is_away_does_not_end_the_desk(caplog: Any) -> None:
    site = Site()
    site.store.failures = [StoreUnavailableError("away")] * 5
    site.store.waiting = [taken()]
    site.desk.open()
    await asyncio.sleep(30)
    assert isinstance(site.store.ended[1], Granted)
    await site.desk.close()

    failed = [each for each in caplog.messages if "logins failed" in each]
    assert len(failed) == 1
