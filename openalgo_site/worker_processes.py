"""Which worker processes are there, as far as this machine and the database can tell."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from django.db import Error, connection
from django.utils import timezone

from brokers.feed import FeedStatus
from brokers.moments import moment_text
from pooling.feed_health import CLOSED_REASON
from pooling.models import PoolStatus

__all__ = [
    "AnotherWorkerError",
    "is_worker",
    "process_name",
    "refuse_second_worker",
    "watch_for_elder_worker",
    "worker_on_this_machine",
]

logger = logging.getLogger("openalgo_site")

LOOK_SECONDS = 0.2
MOST_LOOKS = 30  # six seconds: a row that stands still for five tells of a worker that is gone

# By account, whose row was seen first, and of when.
Heard = dict[int, tuple[str, datetime]]


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


def refuse_second_worker(
    account_ids: Sequence[int] | None, *, sleep: Callable[[float], object] = time.sleep
) -> None:
    """Make sure that no other worker serves these accounts (None: all that are enabled).

    A worker writes its rows every second. One whose process is gone from this machine is not waited
    for; whether another one lives, of which there is fresh word, its next word tells, or that there
    is none for five seconds.

    Args:
        account_ids: which accounts; None: all.
        sleep: passes so many seconds.

    Raises:
        AnotherWorkerError: one does.
        django.db.Error: the database does not answer.
    """
    heard: Heard = {}
    for look in range(MOST_LOOKS):
        rows = _of_others(account_ids)
        if not rows:
            return
        _raise_if_written_since(heard, rows)
        if look == 1:
            logger.info("looking whether worker %s still lives", rows[0].owner)
        sleep(LOOK_SECONDS)


async def watch_for_elder_worker(
    account_ids: Sequence[int] | None,
    epoch: int,
    *,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Look for six seconds whether another worker was started in the same moment as this one.

    Neither could see a row of the other before it wrote its own. Both write on and see each other's
    now: the one of the later epoch gives way, so that exactly one stays. A database that does not
    answer tells nothing, and is not waited for. Cancelling it is safe.

    Args:
        account_ids: which accounts; None: all.
        epoch: of this worker.
        sleep: passes so many seconds.

    Raises:
        AnotherWorkerError: this worker is to give way.
    """
    mine = (epoch, process_name())
    heard: Heard = {}
    for _ in range(MOST_LOOKS):
        await sleep(LOOK_SECONDS)
        rows = await asyncio.to_thread(_of_others_now, account_ids)
        _raise_if_written_since(heard, [row for row in rows if (row.epoch, row.owner) < mine])


def process_name() -> str:
    """Return what this process is called as the owner of status rows: ``host:process``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _raise_if_written_since(heard: Heard, rows: Sequence[PoolStatus]) -> None:
    """Raise AnotherWorkerError for a row that was written after it was first seen, else note it."""
    for row in rows:
        owner, heartbeat = heard.setdefault(row.account_id, (row.owner, row.heartbeat))
        if row.owner != owner or row.heartbeat > heartbeat:
            raise AnotherWorkerError(row)


def _of_others_now(account_ids: Sequence[int] | None) -> list[PoolStatus]:
    """Read ``_of_others`` in a thread that is lent; nothing where the database does not answer."""
    try:
        return _of_others(account_ids)
    except Error:
        return []
    finally:
        connection.close()


def _of_others(account_ids: Sequence[int] | None) -> list[PoolStatus]:
    rows = PoolStatus.objects.alive().filter(account__enabled=True, account__user__is_active=True)
    if account_ids is not None:
        rows = rows.filter(account__in=account_ids)
    # The last word of a worker that was stopped is no sign of life.
    rows = rows.exclude(state=FeedStatus.CLOSED.value, reason=CLOSED_REASON)
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
