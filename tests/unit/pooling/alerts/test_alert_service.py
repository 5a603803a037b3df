"""Alerts on virtual time: retries, bounds, and that nobody waits for anybody."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from pooling.alerts import delivery, service
from pooling.alerts.contracts import AlertKind, PoolTargets, Target
from pooling.alerts.delivery import Deliveries
from pooling.alerts.message import Alert
from pooling.alerts.service import AlertService
from pooling.exceptions import AlertError, AlertRefusedError
from pooling.operations.pool_state import PoolState
from pooling.testing import MiddleOfRange, VirtualClock
from tests.unit.pooling.kit import virtual
from tests.unit.pooling.test_alert_rules import ALERT

LIVE, STALE = PoolState.LIVE, PoolState.STALE


def target(number: int = 1, **values: Any) -> Target:
    return Target(id=number, kind=AlertKind.WEBHOOK, address="https://a.example/x", **values)


class Receiver:
    """Takes alerts; fails by verbs."""

    def __init__(self) -> None:
        self.tried: list[tuple[float, int, PoolState]] = []
        self.arrived: list[Alert] = []
        self.error: Exception | None = None
        self.hangs = asyncio.Event()
        self.hangs.set()

    async def __call__(self, target: Target, alert: Alert) -> None:
        self.tried.append((asyncio.get_running_loop().time(), target.id, alert.state))
        await self.hangs.wait()
        if self.error is not None:
            raise self.error
        self.arrived.append(alert)


class Kit:
    """A service with one receiver; ``targets`` are told of every pool."""

    def __init__(self, hold: float = 10.0) -> None:
        self.receiver = Receiver()
        self.list: list[Target] = [target()]
        self.ended: list[tuple[int, str]] = []
        self.announced: list[Alert] = []
        self.is_down = False
        self.announce: Callable[[Alert], None] = self.announced.append
        self.service = AlertService(
            store=self,
            senders={AlertKind.WEBHOOK: self.receiver},
            announce=self._announce,
            clock=VirtualClock(),
            rng=MiddleOfRange(),
            hold_seconds=hold,
        )

    async def targets(self, pool_id: str) -> PoolTargets | None:
        if self.is_down:
            raise OSError("the database is down")
        return PoolTargets(user="asha", broker="zerodha", label="main", targets=self.list)

    async def delivered(self, target_id: int, error: str) -> None:
        self.ended.append((target_id, error))

    async def _announce(self, alert: Alert) -> None:
        self.announce(alert)

    def see(self, state: PoolState, pool_id: str = "7") -> None:
        stats: Any = SimpleNamespace(
            pool_id=pool_id, status=state.feed_status, reason="r", since_ms=1, waiting=0
        )
        self.service.observe([stats])

    async def __aenter__(self) -> Kit:
        self.service.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.receiver.hangs.set()
        await self.service.close()


@virtual
async def test_a_lasting_change_reaches_target_and_signal():
    async with Kit() as kit:
        kit.see(STALE)
        await asyncio.sleep(9)
        kit.see(STALE)
        await asyncio.sleep(0.5)
        assert not kit.receiver.arrived
        await asyncio.sleep(1)
        kit.see(STALE)
        await asyncio.sleep(0.5)
        (alert,) = kit.receiver.arrived
        assert (alert.state, alert.previous, alert.label) == (STALE, LIVE, "main")
        assert kit.announced == [alert]
        assert kit.ended == [(1, "")]


@virtual
async def test_recoveries_are_told_to_who_wants_them():
    async with Kit(hold=0) as kit:
        kit.list = [target(1), target(2, tells_recovery=False)]
        for status in (STALE, LIVE):
            kit.see(status)
            await asyncio.sleep(1)
        assert [(who, what) for _, who, what in kit.receiver.tried] == [
            (1, STALE),
            (2, STALE),
            (1, LIVE),
        ]


@virtual
async def test_failures_are_tried_again_ever_more_seldom_and_then_given_up():
    async with Kit(hold=0) as kit:
        kit.receiver.error = AlertError("answered HTTP 503")
        kit.see(STALE)
        await asyncio.sleep(2000)
        at = [when for when, _, _ in kit.receiver.tried]
        assert [round(later - sooner, 1) for sooner, later in itertools.pairwise(at)] == [
            1.5,
            3,
            6,
            12,
            24,
        ]
        assert kit.ended == [(1, "answered HTTP 503")]


@virtual
async def test_a_target_that_takes_alerts_again_is_told_of_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", logger="pooling.alerts")
    receiver = Receiver()

    async def done(number: int, error: str) -> None:
        pass

    deliveries = Deliveries(
        senders={AlertKind.WEBHOOK: receiver}, done=done, rng=MiddleOfRange(), attempts=1
    )
    for error in (None, AlertError("away"), None, None):
        receiver.error = error
        deliveries.start(target(1), ALERT)
        await asyncio.sleep(1)
    told = [record.levelname for record in caplog.records if "target 1" in record.getMessage()]
    assert told == ["WARNING", "INFO"]


@virtual
async def test_what_is_refused_for_good_is_tried_once():
    async with Kit(hold=0) as kit:
        kit.receiver.error = AlertRefusedError("answered HTTP 404")
        kit.see(STALE)
        await asyncio.sleep(100)
        assert len(kit.receiver.tried) == 1
        assert kit.ended == [(1, "answered HTTP 404")]


@virtual
async def test_a_later_state_takes_the_place_of_one_that_did_not_arrive():
    async with Kit(hold=0) as kit:
        kit.receiver.error = AlertError("not reachable")
        kit.see(STALE)
        await asyncio.sleep(1)
        kit.receiver.error = None
        kit.see(LIVE)
        await asyncio.sleep(100)
        assert [alert.state for alert in kit.receiver.arrived] == [LIVE]


@virtual
async def test_a_target_that_hangs_holds_up_nobody_and_too_many_are_dropped(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(delivery, "MAX_WAITING", 3)
    receiver, ended = Receiver(), []
    receiver.hangs.clear()

    async def done(number: int, error: str) -> None:
        ended.append(number)

    deliveries = Deliveries(senders={AlertKind.WEBHOOK: receiver}, done=done, rng=MiddleOfRange())
    for number in range(5):
        deliveries.start(target(number), ALERT)
    await asyncio.sleep(1)
    assert len(deliveries) == 3
    receiver.hangs.set()
    await asyncio.sleep(1)
    assert (sorted(ended), len(deliveries)) == ([0, 1, 2], 0)
    assert caplog.text.count("too many wait") == 2


@virtual
async def test_changes_that_nobody_can_take_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "MAX_CHANGES", 3)
    kit = Kit(hold=0)
    stats: list[Any] = [
        SimpleNamespace(pool_id=str(n), status=STALE.feed_status, reason="", since_ms=1, waiting=0)
        for n in range(5)
    ]
    kit.service.observe(stats)
    async with kit:
        await asyncio.sleep(1)
    assert [alert.pool_id for alert in kit.receiver.arrived] == ["2", "3", "4"]


@virtual
async def test_a_store_that_is_down_and_own_code_that_raises_do_not_end_it():
    async with Kit(hold=0) as kit:
        kit.is_down = True
        kit.see(STALE)
        await asyncio.sleep(1)
        kit.is_down = False

        def fail(alert: Alert) -> None:
            kit.announced.append(alert)
            raise RuntimeError("a receiver's defect")

        kit.announce = fail
        for status in (LIVE, STALE):
            kit.see(status)
            await asyncio.sleep(1)
        assert [alert.state for alert in kit.receiver.arrived] == [LIVE, STALE]
        assert len(kit.announced) == 2


@virtual
async def test_closing_does_not_wait_for_what_hangs():
    kit = Kit(hold=0)
    kit.service.open()
    kit.receiver.hangs.clear()
    kit.see(STALE)
    await asyncio.sleep(1)
    started = asyncio.get_running_loop().time()
    await kit.service.close()
    await kit.service.close()
    assert asyncio.get_running_loop().time() - started < 2
