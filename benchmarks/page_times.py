"""Asks every page of a site with a thousand pools, in this process; prints what each one took.

Run as a process of its own in a throw-away installation's environment. Nothing is in between: the
time is that of Django, its templates and its database, from the request to the answer's last byte.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client, RequestFactory  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402
from django.utils import timezone  # noqa: E402

from benchmarks.thousand_pools import POOLS, fill, pages_of  # noqa: E402
from openalgo_site.web.status.source import read_views  # noqa: E402
from pooling.models import (  # noqa: E402
    BrokerAccount,
    Instrument,
    PoolEvent,
    PoolUsage,
    PoolUsageDay,
)
from pooling.models.history import STATES_KEPT_PER_POOL  # noqa: E402
from streaming.ports.status import StatusView  # noqa: E402

TIMES = 7
INSTRUMENTS = 50_000
KEPT_DAYS = 90


def _main() -> None:
    call_command("migrate", verbosity=0)
    fill()
    account = BrokerAccount.objects.order_by("pk")[POOLS // 2]
    _history(account)
    Instrument.objects.bulk_create(
        Instrument(
            broker="zerodha",
            exchange="NFO",
            symbol=f"F{n}",
            broker_token=f"9{n}",
            loaded=timezone.now(),
        )
        for n in range(INSTRUMENTS)
    )
    boss = User.objects.create_superuser("boss")
    client = Client(SERVER_NAME="localhost")
    client.force_login(boss)
    request = RequestFactory().get("/")
    request.user = boss
    for kind, path in pages_of(account, request):
        print(json.dumps({"kind": kind, "path": path, **_measured(partial(_ask, client, path))}))
    view = StatusView(boss.pk, 1, "")
    answer = _measured(partial(_read, view))
    print(json.dumps({"kind": "status: figures", "path": "/ws/ticks/", **answer}))


def _history(account: BrokerAccount) -> None:
    """Store what a pool leaves in 90 days: one row each five minutes, and one a day."""
    now = timezone.now()
    names = ("symbols", "connections", "clients", "ticks_per_second")
    peaks: dict[str, Any] = {f"{name}_at": now for name in names}
    PoolUsage.objects.bulk_create(
        PoolUsage(
            account=account,
            started=now - timedelta(minutes=5 * n + 6),
            ended=now - timedelta(minutes=5 * n + 1),
            **peaks,
        )
        for n in range(KEPT_DAYS * 288)
        if n != KEPT_DAYS * 288 // 2
    )
    # All changes of state that are kept: one each hour or so.
    PoolEvent.objects.bulk_create(
        PoolEvent(
            account=account,
            kind=("feed_live", "feed_stale")[n % 2],
            message="no market data for 25 s",
            at=now - timedelta(minutes=60 * n + 7),
        )
        for n in reversed(range(STATES_KEPT_PER_POOL))
    )
    PoolUsageDay.objects.bulk_create(
        PoolUsageDay(account=account, day=(now - timedelta(days=n)).date(), **peaks)
        for n in range(1, KEPT_DAYS)
    )


def _ask(client: Client, path: str) -> int:
    answer = client.get(path)
    assert answer.content
    return answer.status_code


def _read(view: StatusView) -> int:
    return 200 if read_views([view], "g0")[view] else 404


def _measured(ask: Callable[[], int]) -> dict[str, Any]:
    """Return the median time, the number of queries and the answer's status."""
    status = ask()  # the first one compiles the page's templates
    seconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        ask()
        seconds.append(time.perf_counter() - started)
    with CaptureQueriesContext(connection) as queries:
        ask()
    return {
        "status": status,
        "ms": sorted(seconds)[TIMES // 2] * 1e3,
        "worst_ms": max(seconds) * 1e3,
        "queries": len(queries),
    }


if __name__ == "__main__":
    _main()
