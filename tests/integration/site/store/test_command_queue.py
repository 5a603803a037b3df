"""What people ask of a pool: stored, taken once, ended with a sentence, and never lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from brokers.pool_service import FeedStatus
from pooling.exceptions import CommandRefusedError
from pooling.feed_health import CLOSED_REASON, PAUSED_REASON
from pooling.models import BrokerAccount, PoolCommand, PoolStatus
from pooling.operations.state_rows import state_now
from pooling.store import commands as command_queue

Verb, State, Source = PoolCommand.Verb, PoolCommand.State, PoolCommand.Source

PREVIEW = {"max_connections": 1, "symbols_per_connection": 1}


def ask(account: BrokerAccount, verb: str = Verb.REBALANCE, **argument: Any) -> PoolCommand:
    return command_queue.submit(account, verb, argument=argument, source=Source.ADMIN)


def worker_is_there(account: BrokerAccount, age_seconds: float = -3600.0) -> None:
    """Write a worker's row; it stays alive for as long as a slow test may take."""
    now = timezone.now()
    PoolStatus.objects.create(
        account=account,
        owner="host:1",
        state="live",
        since=now,
        heartbeat=now - timedelta(seconds=age_seconds),
    )


class Clock:
    """Passes only while somebody sleeps."""

    def __init__(self, on_sleep: Any = None) -> None:
        self.now = 0.0
        self.on_sleep = on_sleep

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.on_sleep is not None:
            self.on_sleep()


def test_a_request_is_kept_with_who_asked_and_where(account: BrokerAccount, user: User) -> None:
    command = command_queue.submit(
        account, Verb.RECONNECT, argument={"slot": 1}, user=user, source=Source.COMMAND_LINE
    )
    stored = PoolCommand.objects.get()
    assert stored == command
    assert (stored.state, stored.argument, stored.requested_by) == ("waiting", {"slot": 1}, user)
    user.delete()  # and with the user the account goes, and its history with it
    assert not PoolCommand.objects.exists()


@pytest.mark.parametrize(
    ("verb", "argument", "mends"),
    [
        ("explode", {}, "pause, resume"),
        (Verb.PAUSE, {"slot": 1}, "no argument"),
        (Verb.DRAIN, {}, "slot"),
        (Verb.DRAIN, {"slot": 0}, "1 or larger"),
        (Verb.RECONNECT, {"slot": True}, "1 or larger"),
        (Verb.RECONNECT, {"slot": "0"}, "1 or larger"),
        (Verb.RECONNECT, {"slot": 1, "x": 1}, "nothing else"),
        (Verb.PREVIEW, {"max_connections": 1}, "both limits"),
        (Verb.PREVIEW, {"max_connections": 1, "symbols_per_connection": 0}, "both limits"),
        (Verb.PREVIEW, PREVIEW | {"settings": [1]}, "settings as an object"),
        (Verb.PREVIEW, PREVIEW | {"settings": {"a": [1]}}, "settings as an object"),
        (Verb.PREVIEW, PREVIEW | {"settings": {"a": "x" * 201}}, "settings as an object"),
        (Verb.PREVIEW, {"slot": 1}, "max_connections and settings and symbols_per_connection"),
        (Verb.UNSUBSCRIBE, {}, "exchange, symbol"),
        (Verb.UNSUBSCRIBE, {"keys": "NSE"}, "exchange, symbol"),
        (Verb.UNSUBSCRIBE, {"keys": [["NSE"]]}, "as in NSE and INFY"),
        (Verb.UNSUBSCRIBE, {"keys": [["NSE", "I" * 65]]}, "as in NSE and INFY"),
        (Verb.UNSUBSCRIBE, {"keys": [["NSE", 1]]}, "as in NSE and INFY"),
        (Verb.UNSUBSCRIBE, {"keys": [["NSE", "INFY"]] * 1001}, "at most 1000"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_mends_it(
    account: BrokerAccount, verb: str, argument: dict[str, Any], mends: str
) -> None:
    with pytest.raises(CommandRefusedError, match=mends):
        command_queue.submit(account, verb, argument=argument, source=Source.API)
    with pytest.raises(CommandRefusedError, match="source"):
        command_queue.submit(account, Verb.PAUSE, source="elsewhere")
    assert not PoolCommand.objects.exists()


def test_the_state_of_the_account_decides_what_may_be_asked(account: BrokerAccount) -> None:
    ask(account, Verb.PAUSE)
    with pytest.raises(CommandRefusedError, match="resume it first"):
        ask(account, Verb.RECONNECT)
    ask(account, Verb.UNSUBSCRIBE, keys=[["NSE", "INFY"]])
    ask(account, Verb.RESUME)
    ask(account, Verb.RECONNECT)
    BrokerAccount.objects.update(enabled=False)
    with pytest.raises(CommandRefusedError, match="enable it first"):
        ask(account, Verb.RESUME)
    account.delete()
    with pytest.raises(CommandRefusedError, match="does not exist"):
        ask(BrokerAccount(pk=99), Verb.RESUME)


def test_pausing_is_remembered_at_the_account_at_once(account: BrokerAccount) -> None:
    """It holds even when no worker is there to take the request."""
    ask(account, Verb.PAUSE)
    assert account.paused
    assert BrokerAccount.objects.get().to_spec().is_paused
    ask(account, Verb.RESUME)
    assert not BrokerAccount.objects.get().paused


def test_the_queue_of_a_pool_is_bounded(account: BrokerAccount) -> None:
    for _ in range(command_queue.MAX_WAITING_PER_ACCOUNT):
        ask(account)
    with pytest.raises(CommandRefusedError, match="runpool"):
        ask(account)


def test_one_worker_takes_what_is_for_its_pools_and_nobody_else_does(
    account: BrokerAccount, user: User
) -> None:
    other = BrokerAccount.objects.create(user=user, broker="binance")
    first, second, foreign = ask(account), ask(account, Verb.PAUSE), ask(other)
    assert command_queue.take("w1", {account.pk}) == [first, second]
    assert command_queue.take("w2", {account.pk, other.pk}) == [foreign]
    assert command_queue.take("w1", {account.pk, other.pk}) == []
    first.refresh_from_db()
    assert first.taken_by == "w1"
    assert first.taken is not None


def test_looking_while_nothing_waits_is_one_query(
    account: BrokerAccount, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(1):
        assert command_queue.take("w1", {account.pk}) == []


def test_the_end_is_written_once(account: BrokerAccount) -> None:
    command = ask(account)
    command_queue.take("w1", {account.pk})
    assert command_queue.finish(command.pk, is_done=True, result="It moved 3 symbols.")
    assert not command_queue.finish(command.pk, is_done=False, result="too late")
    command.refresh_from_db()
    assert (command.state, command.result) == (State.DONE, "It moved 3 symbols.")
    assert command.finished is not None


def test_what_nobody_took_or_finished_in_a_minute_expires(account: BrokerAccount) -> None:
    untaken, taken, pause = ask(account), ask(account), ask(account, Verb.PAUSE)
    now = timezone.now()
    PoolCommand.objects.update(requested=now)
    PoolCommand.objects.filter(pk=taken.pk).update(taken=now, taken_by="w1")
    assert command_queue.expire_old(now + timedelta(seconds=59)) == 0
    assert command_queue.expire_old(now + timedelta(seconds=61)) == 3
    results = dict(PoolCommand.objects.values_list("pk", "result"))
    assert "nothing was done" in results[untaken.pk]
    assert "before it said" in results[taken.pk]
    assert "remembers" in results[pause.pk]
    assert set(PoolCommand.objects.values_list("state", flat=True)) == {"expired"}


def test_a_request_that_is_too_old_is_not_taken_any_more(account: BrokerAccount) -> None:
    """A worker that starts an hour later must not do what somebody wanted then."""
    ask(account)
    later = timezone.now() + timedelta(seconds=61)
    assert command_queue.take("w1", {account.pk}, later) == []


def test_waiting_ends_with_what_the_worker_wrote(account: BrokerAccount) -> None:
    worker_is_there(account)
    command = ask(account)
    clock = Clock(lambda: command_queue.finish(command.pk, is_done=False, result="It is broken."))
    ended = command_queue.wait_for(command, clock=clock, sleep=clock.sleep)
    assert (ended.state, ended.result) == (State.FAILED, "It is broken.")


@pytest.mark.parametrize(("verb", "words"), [(Verb.PAUSE, "kept paused"), (Verb.REBALANCE, "")])
def test_without_a_worker_it_says_so_instead_of_waiting(
    account: BrokerAccount, verb: str, words: str
) -> None:
    worker_is_there(account, age_seconds=6)
    clock = Clock()
    ended = command_queue.wait_for(ask(account, verb), clock=clock, sleep=clock.sleep)
    assert clock.now == 0
    assert ended.state == State.WAITING
    assert "runpool" in ended.result
    assert words in ended.result


def test_a_worker_that_does_not_answer_is_not_waited_for_for_ever(account: BrokerAccount) -> None:
    worker_is_there(account)
    clock = Clock()
    ended = command_queue.wait_for(ask(account), 2.0, clock=clock, sleep=clock.sleep)
    assert 2.0 <= clock.now < 2.5
    assert "2 s" in ended.result
    assert PoolCommand.objects.get().result == ""


def test_a_status_whose_worker_fell_silent_says_no_worker(account: BrokerAccount) -> None:
    worker_is_there(account)
    status = PoolStatus.objects.get()
    now = status.heartbeat
    assert state_now(account, status, now + timedelta(seconds=4.9)).state == "live"
    late = state_now(account, status, now + timedelta(seconds=5))
    assert late.state == "no worker"
    assert "host:1" in late.reason
    assert not PoolStatus.objects.alive(now + timedelta(seconds=5)).exists()


def test_a_worker_that_ended_is_not_there_any_more(account: BrokerAccount) -> None:
    """Its last words are no state of the pool, and nobody waits for it."""
    worker_is_there(account)
    assert PoolStatus.objects.has_worker(account.pk)
    PoolStatus.objects.update(state=FeedStatus.CLOSED, reason=CLOSED_REASON)
    status = PoolStatus.objects.get()
    assert not PoolStatus.objects.has_worker(account.pk)
    told = state_now(account, status, status.heartbeat)
    assert told.state == "no worker"
    assert told.reason.startswith("worker host:1 ended at ")
    status.reason = PAUSED_REASON
    assert state_now(account, status, status.heartbeat).state == "paused"
