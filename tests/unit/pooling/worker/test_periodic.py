"""What a worker does again and again: its failures take a line a minute, and their end one."""

from __future__ import annotations

import asyncio

import pytest

from pooling.exceptions import StoreUnavailableError
from pooling.testing.times import VirtualClock
from pooling.worker.periodic import PeriodicSteps
from tests.unit.pooling.kit import virtual


class Step:
    def __init__(self) -> None:
        self.trouble: Exception | None = None

    async def __call__(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@virtual
async def test_what_was_told_to_fail_is_told_to_work_again_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", logger="pooling")
    periodic, step = PeriodicSteps(worker_id="w", clock=VirtualClock()), Step()
    periodic.every("status", 1.0, step)
    await asyncio.sleep(10.5)
    assert not caplog.records

    step.trouble = StoreUnavailableError("OperationalError: refused")
    await asyncio.sleep(90)
    step.trouble = None
    await asyncio.sleep(90)
    await periodic.stop()

    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "worker w: status failed, will be retried (OperationalError: refused)"),
        ("ERROR", "worker w: status failed, will be retried (OperationalError: refused)"),
        ("INFO", "worker w: status works again, after 90 s"),
    ]


@virtual
async def test_a_step_that_logged_a_failure_of_its_own_does_not_work_again(
    caplog: pytest.LogCaptureFixture,
):
    caplog.set_level("INFO", logger="pooling")
    periodic = PeriodicSteps(worker_id="w", clock=VirtualClock())
    is_down = True

    async def step() -> None:
        if is_down:
            periodic.log_failure("names", StoreUnavailableError("refused"))

    periodic.every("names", 1.0, step)
    await asyncio.sleep(30.5)
    assert [record.levelname for record in caplog.records] == ["ERROR"]

    is_down = False
    await asyncio.sleep(30)
    await periodic.stop()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
