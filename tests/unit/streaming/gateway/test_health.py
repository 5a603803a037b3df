"""The look at the database: bounded, one at a time, of whatever kind its failure is."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import InterfaceError, OperationalError

from streaming.gateway import database_probe
from streaming.gateway.database_probe import DatabaseLook, DatabaseProbe
from streaming.tables import NOT_MIGRATED


async def test_a_database_that_hangs_is_told_and_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert database_probe.PROBE_SECONDS < 2, "what supervisors are promised"
    monkeypatch.setattr(database_probe, "PROBE_SECONDS", 0.02)
    looks, answer = [], threading.Event()

    def hang() -> int:
        looks.append(1)
        answer.wait()
        return 3

    probe = DatabaseProbe(hang)
    try:
        found = await asyncio.gather(*(probe.look() for _ in range(20)))
        assert {look.trouble for look in found} == {"the database does not answer"}
        assert len(looks) == 1
    finally:
        answer.set()
    monkeypatch.setattr(database_probe, "PROBE_SECONDS", 30)
    assert await probe.look() == DatabaseLook(accounts=3)


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")])
async def test_a_database_that_fails_is_told(error: Exception) -> None:
    def fail() -> None:
        raise error

    assert (await DatabaseProbe(fail).look()).trouble == "the database does not answer"


async def test_a_table_that_is_missing_is_no_silence() -> None:
    def fail() -> None:
        raise OperationalError("no such table: pooling_brokeraccount")

    assert (await DatabaseProbe(fail).look()).trouble == NOT_MIGRATED
