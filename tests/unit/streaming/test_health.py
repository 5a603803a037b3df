"""The look at the database: bounded, one at a time, of whatever kind its failure is."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import InterfaceError, OperationalError

from streaming import health
from streaming.health import DatabaseProbe


async def test_a_database_that_hangs_is_told_and_asked_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PROBE_SECONDS", 0.02)
    looks, answer = [], threading.Event()

    def hang() -> None:
        looks.append(1)
        answer.wait()

    probe = DatabaseProbe(hang)
    try:
        assert await asyncio.gather(*(probe.answers() for _ in range(20))) == [False] * 20
        assert len(looks) == 1
    finally:
        answer.set()
    monkeypatch.setattr(health, "PROBE_SECONDS", 30)
    assert await probe.answers()


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed")])
async def test_a_database_that_fails_is_told(error: Exception) -> None:
    def fail() -> None:
        raise error

    assert not await DatabaseProbe(fail).answers()
