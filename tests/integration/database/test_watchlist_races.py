"""Two tabs of one user, on PostgreSQL: a list that was deleted does not come back."""

from __future__ import annotations

from pathlib import Path

from tests.fix_services import PostgresServer
from tests.integration.database.kit import run

TABS = """
import threading
import django
django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from openalgo_site.web.watchlists import _others
from streaming.models import Watchlist

call_command("migrate", verbosity=0)
user = get_user_model().objects.create_user("asha", password="x")
row = Watchlist.objects.create(user=user, name="Metals", symbols=[], position=0)
client = Client()
client.force_login(user)
is_changing, may_store = threading.Event(), threading.Event()

def change():
    with transaction.atomic():
        _others(user, row.pk)
        found = Watchlist.objects.get(pk=row.pk)
        is_changing.set()
        may_store.wait(30)
        found.save()
    connection.close()

def delete():
    print(client.delete(f"/api/watchlists/{row.pk}").status_code)
    connection.close()

first, second = threading.Thread(target=change), threading.Thread(target=delete)
first.start()
is_changing.wait(30)
second.start()
second.join(1)  # long enough for one that does not wait
may_store.set()
first.join(30)
second.join(30)
print(Watchlist.objects.count())
"""


def test_a_list_that_is_deleted_while_it_is_changed_stays_deleted(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    said = run(TABS, tmp_path, DATABASE_URL=postgres.url, ALLOWED_HOSTS="testserver")
    assert said.split() == ["200", "0"]
