"""Everything over PgBouncer, which gives every transaction another connection of the server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fix_services import PgBouncer
from tests.integration.database.kit import run

pytestmark = pytest.mark.postgres

LOADS = """
import threading
import django
django.setup()
from django.core.management import call_command
from django.db import connection, transaction
from brokers.types import InstrumentRow
from pooling.instruments.loader import store_instruments
from pooling.models import Instrument

call_command("migrate", verbosity=0)
stop, failed = threading.Event(), []

def traffic():
    # Others' transactions: each takes a connection away that one of ours has just used.
    try:
        while not stop.is_set():
            with transaction.atomic():
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_sleep(0.002)")
            connection.close()
    except Exception as error:
        failed.append(repr(error))

others = [threading.Thread(target=traffic) for _ in range(6)]
for each in others: each.start()
try:
    rows = [
        InstrumentRow("NSE", f"S{n}", f"S{n}", f"S{n}", "Name", "", "", "1", "0.05", "EQ")
        for n in range(11_000)
    ]
    assert store_instruments("zerodha", rows).written == len(rows)
    for _ in range(3):
        assert store_instruments("zerodha", rows).unchanged == len(rows)
    # As the choices of a form in the admin are read.
    assert sum(1 for _ in Instrument.objects.order_by("pk").iterator(chunk_size=500)) == len(rows)
    # The same statement often enough to be prepared, were that on.
    for n in range(40):
        assert Instrument.objects.filter(symbol=f"S{n}").count() == 1
finally:
    stop.set()
    for each in others: each.join()
assert not failed, failed
connection.close_pool()
print("done")
"""


def test_instruments_are_loaded_beside_other_traffic(pgbouncer: PgBouncer, tmp_path: Path) -> None:
    assert run(LOADS, tmp_path, DATABASE_URL=pgbouncer.url) == "done"
