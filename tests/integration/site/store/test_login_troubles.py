"""Logins in bad hours: a browser that never came back, a lost key, a worker or database away."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import time as time_of_day
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.utils import timezone

from brokers.exceptions import BrokerUnavailableError
from brokers.login.contract import Granted
from brokers.times.market_clock import INDIA
from pooling.calendar.days import Market
from pooling.exceptions import CommandRefusedError
from pooling.keys.opening import CredentialOpener
from pooling.login.bounds import AT_ONCE_PER_USER, PER_ACCOUNT, PER_USER, UNATTENDED
from pooling.login.states import AttemptState
from pooling.models import BrokerAccount, LoginAttempt, LoginSetup, TradingDay
from pooling.models.logins import ATTEMPTS_KEPT, WORKER_TIME
from pooling.operations import logins
from pooling.testing.login import FakeLogin
from tests.credential_kit import foreign_sealer
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.login_kit import KEPT, WorkerTurn

CALLBACK = "http://127.0.0.1:8000/brokers/zerodha/callback/"
SESSION = "the-session-of-the-browser"
PIN = {"pin": "481516", "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
LONG = WORKER_TIME + timedelta(seconds=1)


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> FakeLogin:
    fake = FakeLogin()
    monkeypatch.setattr("pooling.conf.login_of", lambda broker, base_url="": fake)
    return fake


@pytest.fixture
def ready(account: BrokerAccount, cipher: Any) -> BrokerAccount:
    """An account whose login is set up both ways, with a worker, on a day of trade."""
    setup = logins.keep_fields(account, {**KEPT, **PIN})
    setup.unattended, setup.unattended_at = True, "00:00"
    setup.save()
    make_status(account)
    today = timezone.now().astimezone(INDIA).date()
    TradingDay.objects.create(
        market=Market.EQUITY, day=today, opens=time_of_day(9, 15), closes=time_of_day(15, 30)
    )
    return fresh(account)


def fresh(account: BrokerAccount) -> BrokerAccount:
    return BrokerAccount.objects.get(pk=account.pk)


def begin(account: BrokerAccount) -> tuple[LoginAttempt, str]:
    """Begin a login in the browser; return the attempt and its state."""
    begun = logins.begin_browser(
        account, user=account.user, session_key=SESSION, redirect_uri=CALLBACK
    )
    return begun.attempt, begun.url.partition("state=")[2].partition("&")[0]


def come_back(account: BrokerAccount, **query: str) -> LoginAttempt:
    lists = {name: [value] for name, value in query.items()}
    return logins.come_back(account.broker, lists, user=account.user, session_key=SESSION)


def went_by(**columns: Any) -> None:
    """Move every attempt into the past, beyond its deadline."""
    past = timezone.now() - LONG
    LoginAttempt.objects.update(deadline=past, **columns)


def stored(account: BrokerAccount, data_dir: Path) -> Mapping[str, str]:
    opener = CredentialOpener.from_file(data_dir / "credentials.key")
    return fresh(account).credentials_in_clear(opener)


def test_a_browser_that_never_came_back_keeps_no_daily_login_away(
    ready: BrokerAccount, data_dir: Path
) -> None:
    away, _ = begin(ready)
    went_by()
    worker = WorkerTurn(data_dir)
    worker(ready)
    worker(ready)
    away.refresh_from_db()
    assert away.state == AttemptState.LATE
    assert [each.kind for each in LoginAttempt.objects.filter(state="granted")] == ["unattended"]


def test_a_browser_that_is_away_goes_on_although_the_daily_login_is_due(
    ready: BrokerAccount, data_dir: Path
) -> None:
    away, state = begin(ready)
    WorkerTurn(data_dir)(ready)
    away.refresh_from_db()
    assert away.state == AttemptState.AWAY
    assert come_back(ready, code="c", state=state).state == AttemptState.EXCHANGING


def test_a_newer_login_begins_although_no_worker_ever_took_the_older(
    ready: BrokerAccount,
) -> None:
    """A worker of an earlier version takes none."""
    _, state = begin(ready)
    older = come_back(ready, code="c", state=state)
    went_by()
    newer, _ = begin(ready)
    older.refresh_from_db()
    assert (older.state, newer.state) == (AttemptState.LATE, AttemptState.AWAY)
    assert not older.sealed


def test_after_a_lost_key_a_token_can_be_entered(ready: BrokerAccount, data_dir: Path) -> None:
    """What was stored cannot be opened by anybody: neither the login's secrets nor the token."""
    foreign = foreign_sealer()
    setup = LoginSetup.objects.get(account=ready)
    setup.keep({**KEPT, **PIN}, foreign)
    setup.save()
    ready.set_credentials({"api_key": "key1", "access_token": "old"}, foreign)
    ready.save()
    values = {"api_key": "key1", "access_token": "pasted-token"}
    attempt = logins.prove(fresh(ready), values, user=ready.user)
    WorkerTurn(data_dir)(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.GRANTED, attempt.result
    assert stored(ready, data_dir) == values


def test_after_a_lost_key_a_browsers_login_needs_its_own_secrets_only(
    ready: BrokerAccount, data_dir: Path
) -> None:
    setup = LoginSetup.objects.get(account=ready)
    setup.keep(PIN, foreign_sealer())
    setup.save()
    _, state = begin(fresh(ready))
    attempt = come_back(ready, code="c", state=state)
    WorkerTurn(data_dir)(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.GRANTED, attempt.result
    attempt = logins.begin_unattended(fresh(ready), user=ready.user)
    WorkerTurn(data_dir)(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.REFUSED
    assert "cannot be opened" in attempt.result


def test_a_part_of_a_credential_needs_the_others(ready: BrokerAccount, data_dir: Path) -> None:
    ready.set_credentials({"api_key": "key1", "access_token": "old"}, foreign_sealer())
    ready.save()
    attempt = logins.prove(fresh(ready), {"access_token": "new"}, user=ready.user)
    WorkerTurn(data_dir)(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.REFUSED
    assert "cannot be opened" in attempt.result


class TestRefusedPin:
    """A refused PIN is sent again only when a person has done something."""

    @pytest.fixture
    def refused(self, ready: BrokerAccount, data_dir: Path) -> BrokerAccount:
        WorkerTurn(data_dir, answers={"/pin": ["secret"]})(ready)
        assert LoginSetup.objects.get(account=ready).stopped
        LoginSetup.objects.update(totp_counter=0)
        return fresh(ready)

    def test_a_persons_try_that_reached_nobody_changes_nothing(
        self, refused: BrokerAccount, data_dir: Path
    ) -> None:
        away = WorkerTurn(data_dir, answers={"/pin": [BrokerUnavailableError("cut off")]})
        logins.begin_unattended(refused, user=refused.user)
        away(refused)
        assert LoginSetup.objects.get(account=refused).stopped
        yesterday = timezone.now() - timedelta(days=1)
        LoginAttempt.objects.update(begun=yesterday, finished=yesterday)
        away(refused)
        away(refused)
        assert len([each for each in away.http.asked if each[1] == "/pin"]) == 1

    def test_a_try_that_works_lets_the_clock_begin_again(
        self, refused: BrokerAccount, data_dir: Path
    ) -> None:
        logins.begin_unattended(refused, user=refused.user)
        WorkerTurn(data_dir)(refused)
        assert not LoginSetup.objects.get(account=refused).stopped

    def test_a_new_pin_is_tried_by_itself(self, refused: BrokerAccount, data_dir: Path) -> None:
        """Stored while no worker ran, so that nobody tried it at once."""
        logins.keep_fields(refused, {"pin": "162342"})
        yesterday = timezone.now() - timedelta(days=1)
        LoginAttempt.objects.update(begun=yesterday, finished=yesterday)
        worker = WorkerTurn(data_dir)
        worker(refused)
        worker(refused)
        assert [each[1] for each in worker.http.asked] == ["/pin", "/me"]


def test_settings_that_are_saved_keep_what_the_worker_wrote_meanwhile(
    ready: BrokerAccount, data_dir: Path
) -> None:
    """A rolled back counter would send a code of the second factor twice."""
    elder = BrokerAccount.objects.select_related("login").get(pk=ready.pk)
    attempt = logins.begin_unattended(ready, user=ready.user)
    store = WorkerTurn(data_dir).store
    async_to_sync(store.sends_totp)(attempt.pk, 59_000_000)
    async_to_sync(store.finish)(attempt.pk, Granted(values={"access_token": "t"}, owner="AB1234"))
    logins.keep_fields(elder, {"api_key": "key2"})
    setup = LoginSetup.objects.get(account=ready)
    assert (setup.totp_counter, setup.owner) == (59_000_000, "AB1234")


def test_a_token_that_came_while_the_database_was_away_is_stored(
    ready: BrokerAccount, data_dir: Path
) -> None:
    """It was away for longer than a worker has: another worker's look ended the attempt."""
    _, state = begin(ready)
    attempt = come_back(ready, code="c", state=state)
    worker = WorkerTurn(data_dir)
    async_to_sync(worker.store.take)("here:1", [ready.pool_id], 8)
    went_by()
    async_to_sync(worker.store.take)("other:1", [ready.pool_id], 8)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.LATE
    granted = Granted(values={"api_key": "key1", "access_token": "tok"}, owner="AB1234")
    async_to_sync(worker.store.finish)(attempt.pk, granted)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.GRANTED
    assert stored(ready, data_dir)["access_token"] == "tok"


def test_a_token_that_came_after_a_newer_login_was_begun_is_dropped(
    ready: BrokerAccount, data_dir: Path
) -> None:
    _, state = begin(ready)
    attempt = come_back(ready, code="c", state=state)
    worker = WorkerTurn(data_dir)
    async_to_sync(worker.store.take)("here:1", [ready.pool_id], 8)
    went_by()
    begin(ready)
    granted = Granted(values={"api_key": "key1", "access_token": "tok"}, owner="AB1234")
    async_to_sync(worker.store.finish)(attempt.pk, granted)
    assert not fresh(ready).credentials


def test_a_step_that_a_broker_does_not_have_ends_in_a_sentence(
    ready: BrokerAccount, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exchange(*args: Any) -> Any:
        raise NotImplementedError("this browser brings the tokens themselves")

    monkeypatch.setattr(FakeLogin, "exchange", exchange)
    attempt = logins.submit_code(ready, "c0de", user=None)
    WorkerTurn(data_dir)(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.REFUSED
    assert "paste" in attempt.result


def test_begun_logins_do_not_pile_up(ready: BrokerAccount) -> None:
    LoginAttempt.objects.bulk_create(
        LoginAttempt(
            account=ready,
            kind="browser",
            state="cancelled",
            begun=timezone.now() - timedelta(days=1),
            deadline=timezone.now(),
        )
        for _ in range(ATTEMPTS_KEPT + 20)
    )
    begin(ready)
    assert LoginAttempt.objects.count() == ATTEMPTS_KEPT


def test_a_credential_of_another_place_is_not_sent_to_the_broker(
    ready: BrokerAccount, cipher: Any
) -> None:
    """An account of a local exchange whose login was not pointed there."""
    ready.endpoint = "ws://127.0.0.1:9010"
    ready.set_credentials({"api_key": "key1", "access_token": "old"}, cipher)
    ready.save()
    with pytest.raises(CommandRefusedError, match="endpoint"):
        logins.test_credential(fresh(ready), user=ready.user)


class TestBounds:
    """Whoever logs in too often is told when there is room, before anybody is asked."""

    def test_of_one_account(self, ready: BrokerAccount) -> None:
        for _ in range(PER_ACCOUNT.most):
            begin(ready)
        with pytest.raises(CommandRefusedError, match=r"10 logins .* this account .* wait until"):
            begin(ready)
        last = LoginAttempt.objects.get(state=AttemptState.AWAY)
        assert LoginAttempt.objects.count() == PER_ACCOUNT.most
        LoginAttempt.objects.update(begun=timezone.now() - PER_ACCOUNT.within)
        begin(ready)
        last.refresh_from_db()
        assert last.state == AttemptState.CANCELLED

    def test_a_refusal_leaves_the_browser_that_is_away_its_attempt(
        self, ready: BrokerAccount
    ) -> None:
        for _ in range(PER_ACCOUNT.most):
            _, state = begin(ready)
        with pytest.raises(CommandRefusedError):
            begin(ready)
        assert come_back(ready, code="c", state=state).state == AttemptState.EXCHANGING

    def test_of_one_user_and_of_no_other(self, ready: BrokerAccount, cipher: Any) -> None:
        def another(user: User, label: str) -> BrokerAccount:
            account = BrokerAccount.objects.create(user=user, broker="zerodha", label=label)
            logins.keep_fields(account, KEPT)
            make_status(account)
            return account

        for label in range(PER_USER.most // PER_ACCOUNT.most):
            account = another(ready.user, str(label))
            for _ in range(PER_ACCOUNT.most):
                begin(account)
        with pytest.raises(CommandRefusedError, match="of your accounts"):
            begin(ready)
        begin(another(User.objects.create_user("ravi"), "his"))

    def test_of_what_is_under_way(self, ready: BrokerAccount, cipher: Any, data_dir: Path) -> None:
        """One user with many accounts keeps nobody else's login waiting."""
        for label in range(AT_ONCE_PER_USER):
            account = BrokerAccount.objects.create(
                user=ready.user, broker="zerodha", label=str(label)
            )
            logins.keep_fields(account, PIN)
            make_status(account)
            logins.begin_unattended(account, user=ready.user)
        with pytest.raises(CommandRefusedError, match="are under way: wait a few seconds"):
            logins.begin_unattended(ready, user=ready.user)
        WorkerTurn(data_dir)(*BrokerAccount.objects.exclude(pk=ready.pk))
        logins.begin_unattended(ready, user=ready.user)

    def test_of_pin_and_totp(self, ready: BrokerAccount, data_dir: Path) -> None:
        """Tried again and again, a wrong PIN locks the account at the broker."""
        refusing = WorkerTurn(data_dir, answers={"/pin": ["secret"]})
        for _ in range(UNATTENDED.most):
            LoginSetup.objects.update(totp_counter=0)
            logins.begin_unattended(ready, user=ready.user)
            refusing(ready)
        with pytest.raises(CommandRefusedError, match="PIN and TOTP"):
            logins.begin_unattended(ready, user=ready.user)
        begin(ready)

    def test_of_tests(self, ready: BrokerAccount, cipher: Any, data_dir: Path) -> None:
        ready.set_credentials({"api_key": "key1", "access_token": "t"}, cipher)
        ready.save()
        LoginSetup.objects.update(unattended=False)
        worker = WorkerTurn(data_dir)
        for _ in range(PER_ACCOUNT.most):
            logins.test_credential(ready, user=ready.user)
            worker(ready)
        with pytest.raises(CommandRefusedError, match="logins and tests of this account"):
            logins.test_credential(ready, user=ready.user)
        assert len(worker.http.asked) == PER_ACCOUNT.most
