"""Workers of this installation whose process lives while nothing is heard of it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.utils import timezone

from brokers.times.moments import moment_text
from openalgo_site.processes.workers import worker_on_this_machine
from pooling.models import PoolStatus

__all__ = ["HungWorker", "hung_worker"]

# A worker writes its rows every second; one that is busy starting or draining takes longer.
SILENT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class HungWorker:
    """The process id of a worker on this machine, and when it last wrote its status."""

    pid: int
    heard: datetime

    @property
    def words(self) -> str:
        """Words for it; the time is in the site's zone."""
        at = moment_text(timezone.localtime(self.heard))
        return f"the worker of this installation (process {self.pid}) does not answer since {at}"

    @property
    def mends(self) -> str:
        """Advice that ends it and brings another."""
        return (
            f"restart it: `kill -9 {self.pid}`, then start `python manage.py runpool` again, "
            "unless what supervises it does; its log says what it did last"
        )


def hung_worker(account_id: int | None = None) -> HungWorker | None:
    """Return the worker that was heard last, if it runs on this machine and fell silent.

    Args:
        account_id: whose worker; None: that of any account.
    """
    rows = PoolStatus.objects.order_by("-heartbeat")
    if account_id is not None:
        rows = rows.filter(account=account_id)
    row = None
    with contextlib.suppress(DatabaseError):  # said by a check of its own
        row = rows.first()
    if row is None or timezone.now() - row.heartbeat < SILENT:
        return None
    pid = worker_on_this_machine(row.owner)
    return None if pid is None else HungWorker(pid=pid, heard=row.heartbeat)
