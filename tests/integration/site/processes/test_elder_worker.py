"""Of two workers that began in the same moment the younger gives way, whenever each writes."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from openalgo_site.processes.workers import AnotherWorkerError, OtherWorkers
from pooling.models import BrokerAccount, PoolStatus
from pooling.store.accounts import DjangoAccountStore
from tests.integration.site.admin.admin_kit import make_status
from tests.integration.site.store.store_kit import stats

STARTED_MS = 1_796_000_000_000

# A store writes in Django's thread.
pytestmark = pytest.mark.django_db(transaction=True)

make = sync_to_async(make_status)


@sync_to_async
def write_again() -> None:
    for row in PoolStatus.objects.all():
        row.heartbeat += timedelta(seconds=1)
        row.save()


@pytest.fixture
def ended_process() -> str:
    """The name of a worker that ran on this machine."""
    with subprocess.Popen([sys.executable, "-c", "runpool = 0"]) as process:
        process.wait(60)
    return f"{socket.gethostname()}:{process.pid}"


class Younger:
    """A worker that began in the same moment as another, and a second of its writing at a time."""

    def __init__(self, account: BrokerAccount, *, owner: str, epoch: int = STARTED_MS + 1) -> None:
        self.now = 0.0
        self.others = OtherWorkers(None, clock=lambda: self.now)
        self._pool_id = account.pool_id
        self._owner = owner
        self._epoch = epoch
        self._store = DjangoAccountStore(key_file=Path(), elders_of=self.others.elders_of)

    async def write(self) -> None:
        self.now += 1
        await self._store.save_status(self._owner, self._epoch, [stats(self._pool_id)])

    async def is_to_give_way(self) -> bool:
        try:
            async with asyncio.timeout(0.1):
                await self.others.until_elder()
        except TimeoutError:
            return False
        except AnotherWorkerError:
            return True
        return False


@sync_to_async
def stored_owner() -> str:
    return PoolStatus.objects.get().owner


async def test_the_younger_of_two_that_write_gives_way(account: BrokerAccount) -> None:
    """Neither its own writes nor the moment at which it looks hide the elder's word from it."""
    await make(account, owner="elsewhere:1", epoch=STARTED_MS)
    younger = Younger(account, owner="here:2")
    await younger.write()
    assert await stored_owner() == "elsewhere:1"
    assert not await younger.is_to_give_way()


async def test_an_elder_that_goes_on_writing_is_named_to_the_younger(
    account: BrokerAccount,
) -> None:
    await make(account, owner="elsewhere:1", epoch=STARTED_MS, stats={"bus_port": 5555})
    younger = Younger(account, owner="here:2")
    await younger.write()
    await write_again()
    await younger.write()
    with pytest.raises(AnotherWorkerError, match=r"process 1 on elsewhere, .*ZMQ_PORT 5555"):
        await younger.others.until_elder()
    assert await stored_owner() == "elsewhere:1"


async def test_the_elder_writes_over_the_younger(account: BrokerAccount) -> None:
    await make(account, owner="elsewhere:1", epoch=STARTED_MS + 2)
    elder = Younger(account, owner="here:2")
    for _ in range(2):
        await elder.write()
        assert await stored_owner() == "here:2"
        assert not await elder.is_to_give_way()


async def test_two_of_one_moment_agree_who_is_the_elder(account: BrokerAccount) -> None:
    one = Younger(account, owner="elsewhere:1", epoch=STARTED_MS)
    two = Younger(account, owner="elsewhere:2", epoch=STARTED_MS)
    for each in (two, one, two, one, two, one, two):
        await each.write()
    assert await two.is_to_give_way()
    assert not await one.is_to_give_way()


async def make_word_ahead(account: BrokerAccount) -> None:
    """Leave the last word of a worker elsewhere, by a clock that is an hour ahead."""
    ahead = timezone.now() + timedelta(hours=1)
    await make(account, owner="elsewhere:1", epoch=STARTED_MS, heartbeat=ahead)


async def test_a_word_left_behind_by_a_clock_ahead_is_written_over_after_five_seconds(
    account: BrokerAccount,
) -> None:
    """However long it stays fresh, by the clock of the machine that wrote it."""
    await make_word_ahead(account)
    younger = Younger(account, owner="here:2")
    for _ in range(5):
        await younger.write()
        assert await stored_owner() == "elsewhere:1"
    await younger.write()
    assert await stored_owner() == "here:2"
    assert not await younger.is_to_give_way()


@sync_to_async
def write(owner: str, heartbeat: datetime) -> None:
    PoolStatus.objects.update(owner=owner, epoch=STARTED_MS, heartbeat=heartbeat)


async def test_an_elder_whose_clock_is_set_back_lives(account: BrokerAccount) -> None:
    """Its words are of an earlier moment than the first, and new all the same."""
    await make_word_ahead(account)
    younger = Younger(account, owner="here:2")
    await younger.write()
    await write("elsewhere:1", timezone.now())
    await younger.write()
    assert await younger.is_to_give_way()
    assert await stored_owner() == "elsewhere:1"


async def test_of_each_worker_it_is_its_own_last_word_that_is_left_behind(
    account: BrokerAccount,
) -> None:
    """That of the one before, at another clock, says nothing of whether the next one lives."""
    await make_word_ahead(account)
    younger = Younger(account, owner="here:2")
    await younger.write()
    younger.now += 3600
    await write("elsewhere:3", timezone.now() + timedelta(hours=1))
    for _ in range(5):
        await younger.write()
        assert await stored_owner() == "elsewhere:3"
    await younger.write()
    assert await stored_owner() == "here:2"


async def test_what_was_waited_for_before_the_start_is_not_waited_for_again(
    account: BrokerAccount,
) -> None:
    await make_word_ahead(account)
    younger = Younger(account, owner="here:2")

    def sleep(seconds: float) -> None:
        younger.now += seconds

    await sync_to_async(younger.others.refuse_second)(sleep=sleep)
    await younger.write()
    assert await stored_owner() == "here:2"


async def test_the_row_of_a_worker_killed_on_this_machine_is_written_over_at_once(
    account: BrokerAccount, ended_process: str
) -> None:
    await make(account, owner=ended_process, epoch=STARTED_MS)
    younger = Younger(account, owner="here:2")
    await younger.write()
    assert await stored_owner() == "here:2"


async def test_an_elder_found_late_is_told_of_and_ends_nobody(
    account: BrokerAccount, caplog: pytest.LogCaptureFixture
) -> None:
    """An account of both was enabled while they served others."""
    younger = Younger(account, owner="here:2")
    younger.now = 60
    await make(account, owner="elsewhere:1", epoch=STARTED_MS)
    for _ in range(3):
        await younger.write()
        await write_again()
    assert not await younger.is_to_give_way()
    (line,) = [each for each in caplog.messages if "another worker" in each]
    assert "process 1 on elsewhere" in line
