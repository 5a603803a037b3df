"""The state of a pool is the same on every surface that tells it: word, tone and condition."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from brokers.pool_service import FeedStatus, state_word
from openalgo_site.cli.top_screen import Emphasis, Snapshot, frame
from openalgo_site.doctor import processes
from openalgo_site.doctor.findings import Finding, Outcome
from openalgo_site.web.metrics import pool_word, state_label
from openalgo_site.web.status.source import read_views
from pooling.alerts.message import Alert, email_text, webhook_body
from pooling.alerts.service import pool_now
from pooling.feed_health import CLOSED_REASON, IDLE_REASON, PAUSED_REASON
from pooling.models import BrokerAccount, PoolStatus
from pooling.operations.describe import accounts_with_status, view_of
from pooling.operations.pool_state import PoolState, Tone, event_word
from pooling.operations.state_rows import conditions, state_now
from pooling.outages import OUTAGES, FeedState
from streaming.gateway.metrics import exposition, pool_metrics
from streaming.ports.link import PoolTold
from streaming.ports.status import StatusView
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.store.store_kit import stats

LONG_AGO = timedelta(hours=-1)
# Each state with the rows that it is: of the account, and of its status (None: never served).
ROWS: dict[str, tuple[PoolState, dict[str, Any], dict[str, Any] | None]] = {
    "live": (PoolState.LIVE, {}, {}),
    "live, with a blemish": (PoolState.LIVE, {}, {"reason": "1 connection is not live"}),
    "idle": (PoolState.IDLE, {}, {"reason": IDLE_REASON}),
    "connecting": (PoolState.STALE, {}, {"state": "stale", "reason": "connecting"}),
    "stale": (PoolState.STALE, {}, {"state": "stale", "reason": "no market data for 25 s"}),
    "of a later version": (PoolState.STALE, {}, {"state": "half_live", "reason": "new"}),
    "waiting for room": (PoolState.WAITING_FOR_ROOM, {}, {"waiting": 6, "reason": "6 wait"}),
    "login needed": (PoolState.LOGIN_NEEDED, {}, {"state": "auth_required", "reason": "HTTP 403"}),
    "login needed, and nobody asks": (PoolState.LOGIN_NEEDED, {}, {"state": "auth_required",
                                      "reason": "no credential is stored"}),
    "refused by its worker": (PoolState.CLOSED, {}, {"state": "closed", "reason": "no such host"}),
    "paused": (PoolState.PAUSED, {"paused": True}, {"state": "closed", "reason": PAUSED_REASON}),
    "about to be paused": (PoolState.PAUSED, {"paused": True}, {}),
    "about to be resumed": (PoolState.PAUSED, {}, {"state": "closed", "reason": PAUSED_REASON}),
    "its worker was killed": (PoolState.NO_WORKER, {}, {"age": LONG_AGO}),
    "its worker was stopped": (PoolState.NO_WORKER, {}, {"state": "closed",
                                                         "reason": CLOSED_REASON}),
    "paused, without a worker": (PoolState.NO_WORKER, {"paused": True}, {"age": LONG_AGO}),
    "never served": (PoolState.NEVER_SERVED, {}, None),
    "paused, never served": (PoolState.NEVER_SERVED, {"paused": True}, None),
    "disabled": (PoolState.DISABLED, {"enabled": False}, {}),
    "disabled, never served": (PoolState.DISABLED, {"enabled": False}, None),
    "disabled, without a worker": (PoolState.DISABLED, {"enabled": False}, {"age": LONG_AGO}),
}  # fmt: skip
_EMPHASES = {
    Tone.GOOD: Emphasis.PLAIN,
    Tone.HELD: Emphasis.PLAIN,
    Tone.OFF: Emphasis.QUIET,
    Tone.WARN: Emphasis.PROBLEM,
    Tone.BAD: Emphasis.PROBLEM,
}


def test_every_state_is_rendered() -> None:
    assert {state for state, *_ in ROWS.values()} == set(PoolState)


@pytest.fixture
def user(db: None) -> User:
    """Make one in a transaction that is rolled back: nothing here needs another connection."""
    return User.objects.create_user("asha")


@pytest.fixture
def boss(db: None) -> User:
    return User.objects.create_superuser("boss")


@pytest.fixture
def browser(boss: User, client: Client) -> Client:
    client.force_login(boss)
    return client


@pytest.fixture(params=ROWS.values(), ids=list(ROWS))
def told(request: Any, account: BrokerAccount) -> PoolState:
    """Store the rows of a state; returns what every surface is to tell."""
    state, of_account, of_status = request.param
    BrokerAccount.objects.update(**of_account)
    if of_status is not None:
        values = {"stats": {}} | of_status  # without connections, whose badges are others
        age = values.pop("age", None)
        make_status(account, **values)
        if age is not None:
            PoolStatus.objects.update(heartbeat=timezone.now() + age)
    found: PoolState = state
    return found


def shown(*arguments: str) -> str:
    out = StringIO()
    call_command("pool", *arguments, stdout=out)
    return out.getvalue()


def badges(page: str) -> set[tuple[str, str]]:
    """Return (word, tone) of the badges of a page that name a state of a pool."""
    found = re.findall(r'class="tp-badge tp-(\w+)"[^>]*>([^<]+)<', page)
    return {(word, tone) for tone, word in found if word in set(PoolState)}


def test_the_api(browser: Client, told: PoolState) -> None:
    (pool,) = browser.get("/api/pools").json()["results"]
    assert (pool["status"], pool["tone"]) == (told.value, told.tone.value)
    assert pool["feed_status"] == told.feed_status
    assert pool["reason"] == _reason()


def test_the_command_line(told: PoolState) -> None:
    (listed,) = json.loads(shown("list", "--json"))["pools"]
    assert (listed["state"], listed["reason"]) == (told.value, _reason())
    assert json.loads(shown("show", str(listed["id"]), "--json"))["state"] == told.value
    assert list(json.loads(shown("stats", "--json"))["states"]) == [told.value]
    for text in (shown("list"), shown("show", str(listed["id"])), shown("stats")):
        assert {word for word in PoolState if re.search(rf"\b{word}\b(?! room)", text)} >= {told}
    for state in PoolState:
        found = json.loads(shown("list", "--json", "--state", state.value))["pools"]
        assert len(found) == (state is told)


def test_the_live_view(told: PoolState) -> None:
    snapshot = Snapshot(at=timezone.now(), pools=[_view()])
    line = frame(snapshot, width=120, height=10)[4]
    assert told.value in line.text
    assert line.emphasis is _EMPHASES[told.tone]


def test_the_status_page(boss: User, told: PoolState) -> None:
    view = StatusView(boss.pk)
    figures = json.loads(read_views([view], "g")[view])
    (pool,) = figures["pools"]
    assert (pool["state"], pool["tone"]) == (told.value, told.tone.value)
    assert pool["reason"] == _reason()
    assert figures["states"] == {told.value: 1}
    for state in PoolState:
        searched = StatusView(boss.pk, search=state.value)
        assert json.loads(read_views([searched], "g")[searched])["total"] == (state is told)


def test_the_admin(browser: Client, told: PoolState, account: BrokerAccount) -> None:
    accounts, statuses = "/admin/pooling/brokeraccount/", "/admin/pooling/poolstatus/"
    wanted = {(told.value, told.tone.value)}
    extra = {(PoolState.WAITING_FOR_ROOM.value, "warn")}  # beside the symbols
    status = PoolStatus.objects.first()
    pages = [accounts, f"{accounts}{account.pk}/change/"]
    if status is not None:
        pages += [statuses, f"{statuses}{status.pk}/change/"]
    for page in pages:
        assert badges(browser.get(page).content.decode()) - extra == wanted - extra, page
    # The first page counts all states, and lists whoever needs somebody.
    index = browser.get("/admin/").content.decode()
    assert badges(index) == wanted
    assert (_reason() in index and bool(_reason())) >= told.needs_somebody
    for state, page in itertools.product(PoolState, (accounts, statuses)):
        rows = browser.get(page, {"state": state.value}).context["cl"].result_list
        expected = state is told and (page == accounts or status is not None)
        assert len(rows) == expected, (state, page)


def test_the_doctor(told: PoolState) -> None:
    named = [each for each in processes.workers() if "asha/zerodha" in each.message]
    if not told.needs_somebody:
        assert named == []
        return
    (finding,) = named
    assert isinstance(finding, Finding)
    assert f": {told.value}" in finding.message
    assert finding.outcome is (Outcome.FAILED if told.tone is Tone.BAD else Outcome.WARNING)


def _told_by_worker() -> PoolStatus | None:
    """Return what a worker that answers told, where that alone says the state."""
    status = PoolStatus.objects.first()
    if status is None or not status.is_alive() or status.state not in set(FeedStatus):
        return None
    of_account = BrokerAccount.objects.get()
    is_told = not of_account.paused or status.state == FeedStatus.CLOSED
    return status if of_account.enabled and is_told else None


def test_health(told: PoolState) -> None:
    if (status := _told_by_worker()) is None:
        return
    said = PoolTold(FeedStatus(status.state), status.reason, status.waiting)
    assert pool_word(said) == (told.value, told.needs_somebody)


def test_emails_and_webhooks(told: PoolState, account: BrokerAccount) -> None:
    if (status := _told_by_worker()) is None:
        return
    made = stats(account.pool_id, status=FeedStatus(status.state), reason=status.reason,
                 waiting=status.waiting)  # fmt: skip
    before = PoolState.STALE if told is PoolState.LOGIN_NEEDED else PoolState.LOGIN_NEEDED
    alert = Alert(
        event_id="e", pool_id=account.pool_id, user="asha", broker="zerodha", label="main",
        state=pool_now(made).state, previous=before, reason=made.reason, since_ms=1,
    )  # fmt: skip
    body = json.loads(webhook_body(alert))
    assert (body["state"], body["previous"]) == (told.value, before.value)
    assert body["feed_status"] == told.feed_status
    assert told.value in body["text"]
    subject, text = email_text(alert, UTC)
    for said in (subject, text.partition("Before:")[0]):
        assert [each for each in PoolState if re.search(rf"\b{each}\b(?! room)", said)] == [told]
    assert f"Before: {before}\n" in text
    assert alert.is_recovery == (told in (PoolState.LIVE, PoolState.IDLE))


def test_the_metrics(told: PoolState, account: BrokerAccount) -> None:
    """Of a worker that answers: what it told is what its row says."""
    if (status := _told_by_worker()) is None:
        return
    made = stats(account.pool_id, status=FeedStatus(status.state), reason=status.reason,
                 waiting=status.waiting)  # fmt: skip
    text = exposition(pool_metrics([made], state_label)).decode()
    (label,) = re.findall(r'tickpool_pools\{broker="zerodha",state="([^"]+)"\} 1', text)
    assert label == told.value


def test_the_words_of_the_wire_are_those_of_the_states() -> None:
    """Where only the feed status is known, it is called as the pool that is in it."""
    of_wire = {PoolState.LIVE, PoolState.STALE, PoolState.LOGIN_NEEDED, PoolState.CLOSED}
    assert {state_word(status) for status in FeedStatus} == of_wire
    assert {state.feed_status for state in of_wire} == set(FeedStatus)
    assert all(state_word(state.feed_status) == state for state in of_wire)


def test_the_words_of_history_are_those_of_the_states() -> None:
    """An outage is what is not as it should be; the last word is of what nobody knows."""
    past = set(map(str, FeedState)) - {FeedState.NOT_KNOWN}
    assert past <= set(PoolState)
    assert {str(each) for each in PoolState if each.needs_somebody} & past == set(OUTAGES)
    assert event_word("feed_closed") == "feed paused"
    assert event_word("feed_auth_required") == "feed login needed"


def test_the_condition_agrees_with_the_decision(user: User) -> None:
    """Over a grid of rows: exactly one condition holds, and it is that of the decision."""
    now = timezone.now()
    accounts, statuses = [], []
    for number, (of_account, of_status) in enumerate(_grid(now)):
        made = BrokerAccount(pk=number + 1, user=user, broker="zerodha", label=str(number),
                             **of_account)  # fmt: skip
        accounts.append(made)
        if of_status is not None:
            statuses.append(PoolStatus(account=made, owner="w:1", since=now, **of_status))
    BrokerAccount.objects.bulk_create(accounts)
    PoolStatus.objects.bulk_create(statuses)
    decided: dict[PoolState, set[int]] = {state: set() for state in PoolState}
    for account in accounts_with_status():
        decided[state_now(account, getattr(account, "status", None), now).state].add(account.pk)
    assert all(decided.values())
    served = {row.account_id for row in statuses}
    of_accounts = conditions(now)
    of_statuses = conditions(now, account="account__", status="")
    for state, pks in decided.items():
        rows = BrokerAccount.objects.filter(of_accounts[state])
        assert sorted(rows.values_list("pk", flat=True)) == sorted(pks), state
        rows_of_status = PoolStatus.objects.filter(of_statuses[state])
        assert set(rows_of_status.values_list("account_id", flat=True)) == pks & served, state


def _grid(now: datetime) -> Iterator[tuple[dict[str, bool], dict[str, Any] | None]]:
    ages = [timedelta(0), timedelta(seconds=-4.9), timedelta(seconds=-5), timedelta(hours=1),
            timedelta(days=-9)]  # fmt: skip
    states = [*(status.value for status in FeedStatus), "of_a_later_version", ""]
    reasons = ["", PAUSED_REASON, CLOSED_REASON, IDLE_REASON, "live"]
    for enabled, paused in itertools.product((True, False), repeat=2):
        flags = {"enabled": enabled, "paused": paused}
        yield flags, None
        for age, state, reason, waiting in itertools.product(ages, states, reasons, (0, 3)):
            row = {"heartbeat": now + age, "state": state, "reason": reason, "waiting": waiting}
            yield flags, row


def _view() -> Any:
    return view_of(accounts_with_status().get(), timezone.now())


def _reason() -> str:
    reason: str = _view().reason
    return reason
