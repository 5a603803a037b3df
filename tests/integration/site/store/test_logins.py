"""Attempts and credentials in the database: taken once, ended once, nothing secret left behind."""

from __future__ import annotations

import json
import time
from datetime import time as time_of_day
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from brokers.exceptions import BrokerUnavailableError
from brokers.times.market_clock import INDIA
from pooling.calendar.days import Market
from pooling.exceptions import CommandRefusedError
from pooling.keys.opening import CredentialOpener
from pooling.login.states import AttemptState
from pooling.models import BrokerAccount, LoginAttempt, LoginSetup, TradingDay
from pooling.models.logins import ATTEMPTS_KEPT, WORKER_TIME
from pooling.operations import logins
from pooling.testing.login import FakeLogin
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.login_kit import KEPT, WorkerTurn

CALLBACK = "http://127.0.0.1:8000/brokers/zerodha/callback/"
SESSION = "the-session-of-the-browser"


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> FakeLogin:
    fake = FakeLogin()
    monkeypatch.setattr("pooling.conf.login_of", lambda broker, base_url="": fake)
    return fake


@pytest.fixture
def ready(account: BrokerAccount, cipher: Any) -> BrokerAccount:
    """An account whose login is set up, with a worker."""
    logins.keep_fields(account, KEPT)
    make_status(account)
    return BrokerAccount.objects.get(pk=account.pk)


@pytest.fixture
def worker(data_dir: Path) -> WorkerTurn:
    return WorkerTurn(data_dir)


def begin(account: BrokerAccount, **values: Any) -> tuple[LoginAttempt, str]:
    """Begin a login; return the attempt and its state."""
    given = {"user": account.user, "session_key": SESSION, "redirect_uri": CALLBACK}
    begun = logins.begin_browser(account, **{**given, **values})
    return begun.attempt, begun.url.partition("state=")[2].partition("&")[0]


def come_back(account: BrokerAccount, session: str = SESSION, **query: str) -> LoginAttempt:
    lists = {name: [value] for name, value in query.items()}
    return logins.come_back(account.broker, lists, user=account.user, session_key=session)


def fresh(account: BrokerAccount) -> BrokerAccount:
    return BrokerAccount.objects.get(pk=account.pk)


def whole_database() -> str:
    """Return every row of the tables that have to do with logins, as text."""
    with connection.cursor() as cursor:
        rows: list[Any] = []
        for table in ("pooling_loginsetup", "pooling_loginattempt", "pooling_brokeraccount"):
            cursor.execute(f"SELECT * FROM {table}")
            rows += cursor.fetchall()
    return json.dumps(rows, default=str)


def test_from_the_click_to_the_stored_credential(
    ready: BrokerAccount, worker: WorkerTurn, data_dir: Path
) -> None:
    attempt, state = begin(ready)
    attempt = come_back(ready, code="c0de-of-today", state=state)
    assert attempt.state == AttemptState.EXCHANGING
    assert "c0de-of-today" not in whole_database()
    worker(ready)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.result) == (AttemptState.GRANTED, "Logged in as AB1234.")
    opener = CredentialOpener.from_file(data_dir / "credentials.key")
    stored = fresh(ready).credentials_in_clear(opener)
    assert stored == {"api_key": "key1", "access_token": "tok-of-today"}
    assert fresh(ready).credentials_version == ready.credentials_version + 1
    assert LoginSetup.objects.get(account=ready).owner == "AB1234"


def test_nothing_secret_is_in_the_database_before_or_after(
    ready: BrokerAccount, worker: WorkerTurn
) -> None:
    _, state = begin(ready)
    come_back(ready, code="c0de-of-today", state=state)
    worker(ready)
    text = whole_database()
    assert "key1" in text  # it is no secret, and the site needs it
    for secret in ("the-api-secret", "c0de-of-today", "tok-of-today", state, SESSION):
        assert secret not in text


@pytest.mark.parametrize(
    ("session", "change"),
    [
        ("another-session", {}),
        (SESSION, {"state": "x" * 43}),
        (SESSION, {"state": None}),
    ],
)
def test_what_comes_back_from_elsewhere_finds_nothing_and_changes_nothing(
    ready: BrokerAccount, session: str, change: dict[str, Any]
) -> None:
    attempt, state = begin(ready)
    query = {"code": "c", "state": state, **change}
    with pytest.raises(CommandRefusedError, match="nothing was stored"):
        come_back(ready, session, **{name: text for name, text in query.items() if text})
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.AWAY


def test_another_user_with_the_same_session_key_finds_nothing(ready: BrokerAccount) -> None:
    _, state = begin(ready)
    eve = User.objects.create_user("eve")
    with pytest.raises(CommandRefusedError):
        logins.come_back(
            "zerodha", {"code": ["c"], "state": [state]}, user=eve, session_key=SESSION
        )


def test_a_return_is_taken_once(ready: BrokerAccount) -> None:
    _, state = begin(ready)
    come_back(ready, code="c", state=state)
    with pytest.raises(CommandRefusedError, match="nothing was stored"):
        come_back(ready, code="c", state=state)


def test_a_parameter_that_stands_there_twice_is_refused(ready: BrokerAccount) -> None:
    _, state = begin(ready)
    with pytest.raises(CommandRefusedError, match="twice"):
        logins.come_back(
            "zerodha",
            {"code": ["a", "b"], "state": [state]},
            user=ready.user,
            session_key=SESSION,
        )


@pytest.mark.parametrize("text", ["x" * 4097, "a\nb", "ä"])
def test_what_is_no_plain_text_is_refused(ready: BrokerAccount, text: str) -> None:
    _, state = begin(ready)
    with pytest.raises(CommandRefusedError, match="cannot be read"):
        come_back(ready, code=text, state=state)


def test_who_comes_back_too_late_is_told_so(ready: BrokerAccount, worker: WorkerTurn) -> None:
    attempt, state = begin(ready)
    LoginAttempt.objects.update(deadline=timezone.now() - timedelta(seconds=1))
    attempt = come_back(ready, code="c", state=state)
    assert attempt.state == AttemptState.LATE
    worker(ready)
    assert not worker.http.asked


def test_a_declined_login_ends_and_keeps_the_old_credential(
    ready: BrokerAccount, worker: WorkerTurn
) -> None:
    _, state = begin(ready)
    come_back(ready, code="c", state=state)
    worker(ready)
    before = fresh(ready).credentials
    _, state = begin(ready)
    attempt = come_back(ready, state=state)
    assert (attempt.state, attempt.result) == (AttemptState.REFUSED, "You declined.")
    assert fresh(ready).credentials == before


def test_a_declined_login_without_a_state_is_the_one_that_is_away(ready: BrokerAccount) -> None:
    begin(ready)
    assert come_back(ready, status="cancelled").state == AttemptState.REFUSED


def test_without_a_state_two_that_are_away_cannot_be_told_apart(
    ready: BrokerAccount, cipher: Any
) -> None:
    other = BrokerAccount.objects.create(user=ready.user, broker="zerodha", label="other")
    logins.keep_fields(other, KEPT)
    make_status(other)
    begin(ready)
    begin(other)
    with pytest.raises(CommandRefusedError):
        come_back(ready, status="cancelled")


def test_a_broker_that_gives_no_state_back_needs_the_only_one_that_is_away(
    ready: BrokerAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = FakeLogin(echoes_state=False)
    monkeypatch.setattr("pooling.conf.login_of", lambda broker, base_url="": silent)
    begin(ready)
    assert come_back(ready, code="c").state == AttemptState.EXCHANGING


def test_a_newer_login_ends_the_one_that_is_away(ready: BrokerAccount) -> None:
    """Two tabs: the first one's return finds nothing."""
    first, old = begin(ready)
    _, new = begin(ready)
    first.refresh_from_db()
    assert first.state == AttemptState.CANCELLED
    with pytest.raises(CommandRefusedError):
        come_back(ready, code="c", state=old)
    assert come_back(ready, code="c", state=new).state == AttemptState.EXCHANGING


def test_nothing_is_begun_while_one_is_exchanged(ready: BrokerAccount) -> None:
    _, state = begin(ready)
    come_back(ready, code="c", state=state)
    with pytest.raises(CommandRefusedError, match="under way"):
        begin(ready)


def test_nothing_is_begun_without_a_worker_or_with_fields_missing(
    account: BrokerAccount, cipher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandRefusedError, match="API key, API secret"):
        begin(account)
    logins.keep_fields(account, KEPT)
    monkeypatch.setattr(logins, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(CommandRefusedError, match="runpool"):
        begin(account)


def test_an_account_that_is_new_to_the_worker_waits_for_it(
    ready: BrokerAccount, cipher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status comes within two seconds of its being added."""
    new = BrokerAccount.objects.create(user=ready.user, broker="zerodha", label="new")
    logins.keep_fields(new, KEPT)
    monkeypatch.setattr(time, "sleep", lambda seconds: make_status(new))
    attempt, _ = begin(new)
    assert attempt.state == AttemptState.AWAY


async def test_two_workers_take_an_attempt_once(ready: BrokerAccount, worker: WorkerTurn) -> None:
    _, state = await sync_to_async(begin)(ready)
    await sync_to_async(come_back)(ready, code="c", state=state)
    assert len(await worker.store.take("a", [ready.pool_id], 8)) == 1
    assert len(await worker.store.take("b", [ready.pool_id], 8)) == 0


def test_what_a_worker_never_finished_ends_as_late_and_the_next_may_begin(
    ready: BrokerAccount, worker: WorkerTurn
) -> None:
    _, state = begin(ready)
    attempt = come_back(ready, code="c", state=state)
    long_ago = timezone.now() - WORKER_TIME - timedelta(seconds=1)
    LoginAttempt.objects.update(taken=long_ago, taken_by="gone:1", deadline=long_ago)
    worker(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.LATE
    assert not attempt.sealed
    begin(ready)


def test_a_refused_login_keeps_the_old_credential_and_says_why(
    ready: BrokerAccount, data_dir: Path
) -> None:
    _, state = begin(ready)
    come_back(ready, code="c", state=state)
    WorkerTurn(data_dir)(ready)
    before = fresh(ready)
    for answer in ("code", BrokerUnavailableError("cut off")):
        _, state = begin(ready)
        attempt = come_back(ready, code="c", state=state)
        WorkerTurn(data_dir, answers={"/token": [answer]})(ready)
        attempt.refresh_from_db()
        assert attempt.state == AttemptState.REFUSED
        assert attempt.result
        assert fresh(ready).credentials == before.credentials
        assert fresh(ready).credentials_version == before.credentials_version


def test_somebody_else_of_the_broker_is_not_stored(ready: BrokerAccount, data_dir: Path) -> None:
    LoginSetup.objects.filter(account=ready).update(owner="AB1234")
    _, state = begin(ready)
    attempt = come_back(ready, code="c", state=state)
    WorkerTurn(data_dir, answers={"/me": ["owner ZZ9"]})(ready)
    attempt.refresh_from_db()
    assert (attempt.state, attempt.why) == (AttemptState.REFUSED, "owner")
    assert not fresh(ready).credentials


def test_a_pasted_credential_is_stored_only_if_the_broker_takes_it(
    ready: BrokerAccount, data_dir: Path
) -> None:
    values = {"api_key": "key1", "access_token": "pasted-token"}
    attempt = logins.prove(ready, values, user=ready.user)
    assert "pasted-token" not in whole_database()
    WorkerTurn(data_dir, answers={"/me": ["secret"]})(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.REFUSED
    assert not fresh(ready).credentials
    logins.prove(ready, values, user=ready.user)
    WorkerTurn(data_dir)(ready)
    opener = CredentialOpener.from_file(data_dir / "credentials.key")
    assert fresh(ready).credentials_in_clear(opener) == values


def test_a_code_of_another_account_is_opened_by_none(
    ready: BrokerAccount, worker: WorkerTurn, user: User
) -> None:
    """A row that somebody moves in the database does not lead a code elsewhere."""
    _, state = begin(ready)
    attempt = come_back(ready, code="c", state=state)
    LoginSetup.objects.filter(account=ready).update(endpoint="http://127.0.0.1:1")
    worker(ready)
    attempt.refresh_from_db()
    assert attempt.state == AttemptState.REFUSED
    assert not worker.http.asked


def test_only_the_newest_attempts_are_kept(ready: BrokerAccount, worker: WorkerTurn) -> None:
    yesterday = timezone.now() - timedelta(days=1)
    LoginAttempt.objects.bulk_create(
        LoginAttempt(
            account=ready, kind="browser", state="late", begun=yesterday, deadline=yesterday
        )
        for _ in range(ATTEMPTS_KEPT + 20)
    )
    _, state = begin(ready)
    attempt = come_back(ready, code="c", state=state)
    worker(ready)
    assert LoginAttempt.objects.count() == ATTEMPTS_KEPT
    assert LoginAttempt.objects.filter(pk=attempt.pk).exists()


class TestUnattended:
    """Logins with PIN and TOTP."""

    @pytest.fixture
    def alone(self, ready: BrokerAccount) -> BrokerAccount:
        secrets = {"pin": "481516", "totp_secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}
        setup = logins.keep_fields(ready, secrets)
        setup.unattended, setup.unattended_at = True, "00:00"
        setup.save()
        today = timezone.now().astimezone(INDIA).date()
        TradingDay.objects.create(
            market=Market.EQUITY, day=today, opens=time_of_day(9, 15), closes=time_of_day(15, 30)
        )
        return fresh(ready)

    def test_the_clock_begins_it_once_and_the_worker_ends_it(
        self, alone: BrokerAccount, data_dir: Path
    ) -> None:
        worker = WorkerTurn(data_dir)
        worker(alone)
        worker(alone)
        worker(alone)
        attempt = LoginAttempt.objects.get(account=alone)
        assert (attempt.kind, attempt.state) == ("unattended", "granted")
        assert [each[1] for each in worker.http.asked] == ["/pin", "/me"]
        assert "481516" not in whole_database()

    def test_not_on_a_day_without_trade_nor_when_switched_off(
        self, alone: BrokerAccount, data_dir: Path
    ) -> None:
        today = timezone.now().astimezone(INDIA).date()
        TradingDay.objects.all().delete()
        TradingDay.objects.bulk_create(TradingDay(market=each, day=today) for each in Market)
        WorkerTurn(data_dir)(alone)
        TradingDay.objects.all().delete()
        LoginSetup.objects.update(unattended=False)
        WorkerTurn(data_dir)(alone)
        assert not LoginAttempt.objects.exists()

    def test_after_a_refused_secret_never_again_until_something_is_stored(
        self, alone: BrokerAccount, data_dir: Path
    ) -> None:
        refusing = WorkerTurn(data_dir, answers={"/pin": ["secret"]})
        for _ in range(3):
            refusing(alone)
        assert [each[1] for each in refusing.http.asked] == ["/pin"]
        assert "secret" in LoginSetup.objects.get(account=alone).stopped
        logins.keep_fields(alone, {"pin": "new-pin"})
        assert not LoginSetup.objects.get(account=alone).stopped

    def test_a_person_may_try_at_once_whatever_the_clock_did(
        self, alone: BrokerAccount, data_dir: Path
    ) -> None:
        WorkerTurn(data_dir, answers={"/pin": ["secret"]})(alone)
        LoginSetup.objects.update(totp_counter=0)  # the next period has come
        logins.begin_unattended(fresh(alone), user=alone.user)
        WorkerTurn(data_dir)(alone)
        assert LoginAttempt.objects.first().state == "granted"  # type: ignore[union-attr]
