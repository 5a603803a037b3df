"""The worker processes that are there, as far as this machine and the database can tell."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from django.utils import timezone

from brokers.times.moments import moment_text
from pooling.models import STATUS_KEPT, PoolStatus

__all__ = [
    "AnotherWorkerError",
    "OtherWorkers",
    "is_worker",
    "process_name",
    "worker_on_this_machine",
]

logger = logging.getLogger("openalgo_site")

LOOK_SECONDS = 0.2
MOST_LOOKS = 30  # six seconds: a row that stands still for five tells of a worker that is gone

# So long after its start a worker ends for the sake of an elder: both began in the same moment.
GIVE_WAY_SECONDS = 60.0


class _Heard(NamedTuple):
    """A worker's last word of an account: whose, of when, and when it was read (monotonic)."""

    owner: str
    heartbeat: datetime
    at: float


class AnotherWorkerError(Exception):
    """A worker serves these accounts already; the message names it and what to do."""

    def __init__(self, row: PoolStatus) -> None:
        host, _, pid = row.owner.rpartition(":")
        since = datetime.fromtimestamp(row.epoch / 1000, UTC)
        port = row.stats.get("bus_port")
        names = [
            f"process {pid} on {host}",
            f"since {moment_text(timezone.localtime(since))}",
            *([f"ZMQ_PORT {port}"] if port else []),
        ]
        super().__init__(
            f"another worker serves account {row.account_id} already ({', '.join(names)}): stop it "
            "first, or start this one with --account for accounts that it does not serve"
        )


class OtherWorkers:
    """Who else serves these accounts: refuses to begin beside another, and gives way to an elder.

    Two that are started in the same moment cannot see a row of the other before they write their
    own. The row of an account has room for one, so the younger leaves a living elder's word where
    it stands (``elders_of``, at each write), and can hear whether it goes on. The elder writes in
    any case: exactly one stays, however their writes fall together.

    ``elders_of`` runs in the thread that writes, everything else on the main thread.

    Args:
        account_ids: which accounts are to be served; None: all that are enabled.
        clock: monotonic seconds.
    """

    def __init__(
        self, account_ids: Sequence[int] | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._account_ids = account_ids
        self._clock = clock
        self._started = clock()
        # By account, the last word that was new. Of the writing thread, once it runs.
        self._heard: dict[int, _Heard] = {}
        # Elders that came to notice too late to give way to: each is told of once.
        self._told: set[str] = set()
        # Fails once this worker is to give way.
        self._elder: Future[None] = Future()

    def refuse_second(self, *, sleep: Callable[[float], object] = time.sleep) -> None:
        """Make sure that no other worker serves these accounts, before anything is begun.

        A worker writes its rows every second. One whose process is gone from this machine is not
        waited for; whether another one lives, of which there is fresh word, its next word tells,
        or that there is none for five seconds.

        Args:
            sleep: passes so many seconds.

        Raises:
            AnotherWorkerError: one does.
            django.db.Error: the database does not answer.
        """
        for look in range(MOST_LOOKS):
            rows = _of_others(self._account_ids)
            if not rows:
                return
            for row in rows:
                if self._has_written_since(row):
                    raise AnotherWorkerError(row)
            if look == 1:
                logger.info("looking whether worker %s still lives", rows[0].owner)
            sleep(LOOK_SECONDS)

    def elders_of(self, rows: Sequence[PoolStatus]) -> set[int]:
        """Return the accounts whose stored row is to stay, and note who is to be given way to.

        Args:
            rows: fresh ones of other workers that began before this one.
        """
        elders: set[int] = set()
        for row in rows:
            if not _may_live(row.owner):
                continue
            if self._has_written_since(row):
                self._give_way(row)
            elif self._clock() - self._heard[row.account_id].at >= STATUS_KEPT.total_seconds():
                continue  # a word left behind, by a clock that is ahead of ours
            elders.add(row.account_id)
        return elders

    async def until_elder(self) -> None:
        """Wait for an elder worker of these accounts. Cancelling it is safe.

        Raises:
            AnotherWorkerError: this worker is to give way.
        """
        await asyncio.shield(asyncio.wrap_future(self._elder))

    def _has_written_since(self, row: PoolStatus) -> bool:
        """Tell whether the row was written since it was last looked at; False the first time.

        Any other word is a new one, also of an earlier moment: a clock may be set back.
        """
        heard = self._heard.get(row.account_id)
        if heard is not None and (row.owner, row.heartbeat) == (heard.owner, heard.heartbeat):
            return False
        self._heard[row.account_id] = _Heard(row.owner, row.heartbeat, self._clock())
        return heard is not None

    def _give_way(self, row: PoolStatus) -> None:
        if self._clock() - self._started < GIVE_WAY_SECONDS:
            with contextlib.suppress(InvalidStateError):
                self._elder.set_exception(AnotherWorkerError(row))
        elif row.owner not in self._told:
            # An account that was enabled later: this worker may be all that others live on.
            self._told.add(row.owner)
            logger.warning("%s", AnotherWorkerError(row))


def process_name() -> str:
    """Return what this process is called as the owner of status rows: ``host:process``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _of_others(account_ids: Sequence[int] | None) -> list[PoolStatus]:
    rows = PoolStatus.objects.alive()
    rows = rows.filter(account__enabled=True, account__user__is_active=True)
    if account_ids is not None:
        rows = rows.filter(account__in=account_ids)
    return [row for row in rows.order_by("account") if _may_live(row.owner)]


def _may_live(owner: str) -> bool:
    """Tell whether a worker may be there; one with this very process's name was its predecessor."""
    host, _, pid = owner.rpartition(":")
    if host != socket.gethostname():
        return True
    return pid != str(os.getpid()) and worker_on_this_machine(owner) is not None


def worker_on_this_machine(owner: str) -> int | None:
    """Return the process id of a worker (``host:process``), if it runs on this machine."""
    host, _, pid = owner.rpartition(":")
    if host != socket.gethostname() or not pid.isdecimal() or not is_worker(int(pid)):
        return None
    return int(pid)


def is_worker(pid: int) -> bool:
    """Tell whether a process is there and, where the system tells, is a worker."""
    try:
        return b"runpool" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        pass
    if Path("/proc/self").exists():
        return False
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
