"""States of pools on PostgreSQL: now, as a condition, and in the past, out of their changes."""

from __future__ import annotations

from pathlib import Path

from tests.fix_services import PostgresServer
from tests.integration.database.kit import run

STATES = """
import itertools
from datetime import timedelta
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.utils import timezone
from pooling.models import BrokerAccount, PoolEvent, PoolStatus
from pooling.operations.describe import accounts_with_status
from pooling.operations.outages import states_of
from pooling.operations.pool_state import PoolState
from pooling.operations.state_rows import conditions, state_now

call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("asha", password="x")
now = timezone.now()
rows = itertools.product((True, False), (True, False), ("live", "stale", "auth_required", "closed"),
                         ("", "paused", "the pool was closed", "nothing is subscribed"),
                         (0, 3), (0, -9))
for number, (enabled, paused, state, reason, waiting, age) in enumerate(rows):
    account = BrokerAccount.objects.create(user=user, broker="zerodha", label=str(number),
                                           enabled=enabled, paused=paused)
    if number % 12:
        PoolStatus.objects.create(account=account, owner="w:1", since=now, state=state,
                                  reason=reason, waiting=waiting,
                                  heartbeat=now + timedelta(seconds=age))
decided = {}
for account in accounts_with_status():
    state = state_now(account, getattr(account, "status", None), now).state
    decided.setdefault(state, set()).add(account.pk)
found = {state: set(BrokerAccount.objects.filter(condition).values_list("pk", flat=True))
         for state, condition in conditions(now).items()}
print(found == decided, len(decided) == len(PoolState))

begin = now.replace(microsecond=0) - timedelta(hours=2)
moments = [begin + timedelta(minutes=5 * n, microseconds=n % 2 * 250) for n in range(6)]
for n in (1, 0, 2, 3, 5, 4):  # not in their order
    kind = ("feed_live", "feed_stale")[n % 2]
    PoolEvent.objects.create(account=account, at=moments[n], kind=kind)
told = states_of(account, moments[1], now, now)[:5]  # behind them: no worker
print([each.start for each in told] == moments[1:], [each.state.value for each in told])
"""


def test_states_are_those_of_every_database(tmp_path: Path, postgres: PostgresServer) -> None:
    said = run(STATES, tmp_path, DATABASE_URL=postgres.url).splitlines()
    assert said == ["True True", "True ['stale', 'live', 'stale', 'live', 'stale']"]
