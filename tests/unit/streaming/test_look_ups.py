"""Look-ups of a request's symbols while the directory fails: what is logged, and how often."""

from __future__ import annotations

import logging

import pytest

from brokers.logs.failing import FAILURE_LOG_SECONDS
from brokers.pool_service import RefusalCode
from brokers.types import InstrumentKey
from streaming.exceptions import DirectoryUnavailableError
from streaming.fanout.look_up_log import LookUp, LookUpLog
from tests.support import eventually
from tests.unit.streaming.fanout.test_hub import Edge, edge_in_time, of_type


async def ask_twenty_times(edge: Edge) -> None:
    """Ask for a symbol that might be called so, and for one that nobody knows."""
    edge.link.refuse(InstrumentKey("NSE", "INFI"), RefusalCode.SYMBOL_NOT_FOUND, "Unknown.")
    client, sender = edge.client()
    for _ in range(20):
        await edge.subscribe(client, "INFY:5", 3)
        await edge.subscribe(client, "INFI", 2)
    await eventually(lambda: len(of_type(sender, "subscribe")) == 40)


async def test_a_directory_that_is_away_is_one_line_a_minute_however_many_ask(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "streaming")
    failed = [
        "gateway: symbols cannot be looked up: the directory is away",
        "gateway: the nearest symbols cannot be looked up: the directory is away",
    ]
    async with edge_in_time() as (edge, clocks):
        edge.directory.fail()
        await ask_twenty_times(edge)
        assert caplog.messages == failed
        clocks.move(FAILURE_LOG_SECONDS)
        await ask_twenty_times(edge)
        assert caplog.messages == failed * 2
        caplog.clear()
        edge.directory.recover()
        await ask_twenty_times(edge)
        assert caplog.messages == [
            "gateway: symbols are looked up again, after 60 s",
            "gateway: the nearest symbols are looked up again, after 60 s",
        ]


def test_what_a_database_says_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    log = LookUpLog(clock=lambda: now)
    log.failed(LookUp.EXACT_NAMES, DirectoryUnavailableError("no way:\n\tis the server\nrunning?"))
    log.failed(LookUp.NEAREST_NAMES, TimeoutError())
    assert caplog.messages == [
        "gateway: symbols cannot be looked up: no way: is the server running?",
        "gateway: the nearest symbols cannot be looked up: too slow",
    ]
    caplog.clear()
    now = FAILURE_LOG_SECONDS
    log.failed(LookUp.EXACT_NAMES, KeyError("ours"))
    (record,) = caplog.records
    assert record.getMessage() == "gateway: symbols cannot be looked up"
    assert record.exc_info is not None
