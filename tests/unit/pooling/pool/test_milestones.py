"""What a pool's life looks like in the log: its milestones by their ``action``, each when due."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from pooling.contracts import PoolOptions
from tests.unit.pooling.kit import BOB, DEPTH, LTP, TOKEN_FIELD, open_kit, virtual


class Log:
    """The records of the pool's logger so far."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG, "pooling")
        self._caplog = caplog

    @property
    def records(self) -> list[logging.LogRecord]:
        return [record for record in self._caplog.records if record.name == "pooling"]

    def of(self, action: str) -> list[logging.LogRecord]:
        return [record for record in self.records if vars(record).get("action") == action]

    def count(self, action: str) -> int:
        return len(self.of(action))

    def fields(self, action: str, *names: str) -> list[tuple[Any, ...]]:
        return [tuple(vars(record)[name] for name in names) for record in self.of(action)]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    return Log(caplog)


def test_a_pool_starts_with_its_configuration_and_ends_with_its_peaks(log):
    @virtual
    async def run():
        async with open_kit() as kit:
            started = log.fields("pool_started", "max_connections", "symbols_per_connection")
            assert started == [(3, 3)]
            kit.want(1, 2)
            await asyncio.sleep(1)
        ((peaks,),) = log.fields("pool_closed", "peaks")
        assert peaks.startswith("2 symbols, 1 connection, 1 client, ")
        assert peaks.endswith(" ticks/s")

    run()


def test_a_connection_opens_because_the_previous_is_full(log):
    @virtual
    async def run():
        async with open_kit() as kit:
            kit.want(1, 2, 3, 4)
            await asyncio.sleep(1)
            assert log.count("connected") == 2
            kit.want(5, 6, 7)
            await asyncio.sleep(1)
            opened = log.fields("connection_opened", "slot", "reason")
            assert [slot for slot, _ in opened] == [1, 2, 3]
            first, second, third = [reason for _, reason in opened]
            assert first != second, "also where both were needed at once"
            assert second == third

    run()


def test_each_further_hundred_of_symbols_is_told_once(log):
    @virtual
    async def run():
        big: dict[str, Any] = {"symbols_per_connection": 500, "max_connections": 3}
        async with open_kit(options={**big, "linger_seconds": 0.1}, **big) as kit:
            for start in range(0, 250, 10):
                kit.want(*range(start, start + 10))
            assert log.fields("symbols_milestone", "symbols") == [(100,), (200,)]
            kit.want(*range(250))
            assert log.count("symbols_milestone") == 2, "nothing new was taken"
            kit.release(*range(100, 250))
            await asyncio.sleep(1)
            kit.want(*range(100, 130))
            assert log.count("symbols_milestone") == 2
            kit.want(*range(130, 430))
            assert log.fields("symbols_milestone", "symbols")[2:] == [(430,)]

    run()


def test_reaching_the_capacity_is_told_once_a_minute(log):
    @virtual
    async def run():
        async with open_kit() as kit:
            for _ in range(30):
                kit.want(*range(12))
                await asyncio.sleep(1)
            assert log.count("capacity_reached") == 1
            await asyncio.sleep(31)
            kit.want(*range(12))
            assert log.count("capacity_reached") == 2

    run()


def test_modes_that_go_up_and_down_are_counted(log):
    @virtual
    async def run():
        async with open_kit(options={"linger_seconds": 0.1}) as kit:
            kit.want(1, 2, mode=LTP)
            await asyncio.sleep(1)
            assert not log.of("modes_changed")
            kit.want(1, 2, mode=DEPTH, holder=BOB)
            await asyncio.sleep(1)
            kit.release(1, holder=BOB)
            await asyncio.sleep(1)
            assert log.fields("modes_changed", "raised", "lowered") == [(2, 0), (0, 1)]

    run()


def test_a_loss_comes_with_the_peaks_until_then(log):
    @virtual
    async def run():
        async with open_kit() as kit:
            kit.want(1, 2, 3, 4)
            await asyncio.sleep(1)
            kit.broker.drop(kit.broker.open[0])
            await asyncio.sleep(5)
            ((slot, symbols, peaks),) = log.fields("lost", "slot", "symbols", "peaks")
            assert (slot, symbols) == (1, 3)
            assert peaks.startswith("4 symbols, 2 connections")

    run()


def test_edits_are_told_when_they_are_in_force(log):
    @virtual
    async def run():
        async with open_kit() as kit:
            kit.want(*range(9))
            await asyncio.sleep(1)
            one = PoolOptions(symbols_per_connection=3, max_connections=1, revision=4)
            kit.pool.update_options(one)
            await asyncio.sleep(5)
            assert log.fields("config_applied", "revision") == [(4,)]
            assert log.fields("displaced", "symbols") == [(6,)]

    run()


def test_no_line_shows_a_credential_and_none_is_written_per_tick(log):
    @virtual
    async def run():
        async with open_kit(credential_fields=TOKEN_FIELD) as kit:
            kit.store.save_credentials("7", {"token": "s3cret-token"})
            kit.pool.credentials_changed(2)
            kit.want(1)
            await asyncio.sleep(1)
            written = len(log.records)
            for _ in range(1000):
                kit.broker.tick()
                await asyncio.sleep(0.001)
            assert len(log.records) == written
            kit.broker.drop()
            kit.broker.refuse(403)
            await asyncio.sleep(5)
            assert log.count("auth_required") == 1
        assert "s3cret" not in "".join(record.getMessage() for record in log.records)

    run()
