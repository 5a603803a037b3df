"""How long a worker's threads keep their connections to the database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db.utils import ConnectionHandler
from pytest_django.plugin import DjangoDbBlocker

from pooling.store import database
from pooling.store.database import keep_connections

SQLITE, POSTGRESQL = "django.db.backends.sqlite3", "openalgo_site.postgresql"


@pytest.fixture
def connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, django_db_blocker: DjangoDbBlocker
) -> Iterator[ConnectionHandler]:
    """The connections of a process that has a file and a server."""
    handler = ConnectionHandler(
        {
            "default": {"ENGINE": SQLITE, "NAME": str(tmp_path / "x.sqlite3")},
            "other": {"ENGINE": POSTGRESQL, "NAME": "x"},
        }
    )
    monkeypatch.setattr(database, "connections", handler)
    with django_db_blocker.unblock():
        yield handler
        handler["default"].close()


def end_of_call(connections: ConnectionHandler) -> None:
    """Do what stands around every call into the database."""
    connections["default"].close_if_unusable_or_obsolete()


def test_the_file_is_opened_once_for_many_calls(connections: ConnectionHandler) -> None:
    keep_connections()
    connections["default"].connect()
    opened = connections["default"].connection
    end_of_call(connections)
    assert opened is not None
    assert connections["default"].connection is opened


def test_a_file_that_took_its_place_is_noticed_after_five_seconds(
    connections: ConnectionHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept connection would go on with a file that nobody else has."""
    keep_connections()
    connections["default"].connect()
    later = time.monotonic() + 5
    monkeypatch.setattr("django.db.backends.base.base.time.monotonic", lambda: later)
    end_of_call(connections)
    assert connections["default"].connection is None


def test_what_comes_from_a_pool_is_given_back_after_each_call(
    connections: ConnectionHandler,
) -> None:
    keep_connections()
    assert connections.settings["other"]["CONN_MAX_AGE"] == 0


def test_other_processes_open_it_for_each_call(connections: ConnectionHandler) -> None:
    """Their threads come and go, and one that ends would leave its connection open."""
    connections["default"].connect()
    end_of_call(connections)
    assert connections["default"].connection is None
