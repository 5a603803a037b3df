"""What an adapter may do beside messages and ticks: answer at once, settle, keep a link alive."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import pytest

from brokers.contract import BrokerEvent, Confirmed, SendNow
from brokers.types import Subscription
from pooling.testing import FakeAdapter, FakeBroker
from pooling.testing.broker import FakeTransport
from tests.unit.pooling.kit import ACTIVE, ANN, BOB, DEPTH, LTP, key, open_kit, virtual

PING = '{"do":"ping","items":[]}'
ACK = '{"do":"ack","items":[]}'


class Listener(FakeBroker):
    """Notes pings and acknowledgements, and does not answer them."""

    def heard(self, transport: FakeTransport, message: str | bytes) -> None:
        said = msgspec.json.decode(message)
        if said["do"] in ("ping", "ack"):
            self.messages.append((self.now(), transport, said))
        else:
            super().heard(transport, message)

    def times(self, do: str) -> list[float]:
        return [at for at, _, said in self.messages if said["do"] == do]


@virtual
async def test_a_keepalive_that_nobody_answers_goes_with_a_ping(monkeypatch: pytest.MonkeyPatch):
    """A quiet link of such a broker is alive as long as it answers pings, and lost when not."""
    monkeypatch.setattr(FakeAdapter, "keepalive", lambda self: PING)
    async with open_kit(broker=Listener(), liveness_timeout_seconds=30.0) as kit:
        kit.want(1)
        await asyncio.sleep(600)
        assert len(kit.broker.attempts) == 1
        assert isinstance(kit.broker, Listener)
        assert len(kit.broker.times("ping")) >= 59
        kit.broker.go_silent()
        await asyncio.sleep(60)
        assert len(kit.broker.attempts) > 1


@virtual
async def test_where_the_answer_is_known_it_is_not_pinged_beside(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FakeAdapter, "keepalive", lambda self: PING)
    async with open_kit(
        broker=Listener(), liveness_timeout_seconds=30.0, keepalive_answer="pong"
    ) as kit:
        kit.want(1)
        await asyncio.sleep(60)
        assert len(kit.broker.attempts) > 1


@virtual
async def test_what_is_wanted_back_at_once_waits_for_no_turn(monkeypatch: pytest.MonkeyPatch):
    receive = FakeAdapter.receive

    def answer(self: FakeAdapter, frame: str | bytes, now_us: int) -> Sequence[BrokerEvent]:
        return SendNow(ACK), *receive(self, frame, now_us)

    monkeypatch.setattr(FakeAdapter, "receive", answer)
    async with open_kit(broker=Listener(), message_interval_seconds=5.0) as kit:
        kit.want(1)
        await asyncio.sleep(20)
        assert isinstance(kit.broker, Listener)
        said = len(kit.broker.times("ack"))
        for _ in range(3):
            kit.broker.tick()
            await asyncio.sleep(0.1)
        acks = kit.broker.times("ack")[said:]
        assert len(acks) == 3
        assert acks[-1] - acks[0] < 1


@virtual
async def test_what_settles_without_a_message_is_confirmed(monkeypatch: pytest.MonkeyPatch):
    changed: list[Subscription] = []

    def change(
        self: FakeAdapter, items: Sequence[tuple[Subscription, Subscription]]
    ) -> list[str | bytes]:
        changed.extend(new for _, new in items)
        return []

    def settle(self: FakeAdapter) -> Sequence[BrokerEvent]:
        settled = tuple(item.instrument.key for item in changed)
        changed.clear()
        return (Confirmed(settled),) if settled else ()

    monkeypatch.setattr(FakeAdapter, "change_mode", change)
    monkeypatch.setattr(FakeAdapter, "settle", settle)
    async with open_kit() as kit:
        kit.want(1, mode=LTP, holder=ANN)
        await asyncio.sleep(1)
        kit.events.clear()
        kit.want(1, mode=DEPTH, holder=BOB)
        await asyncio.sleep(1)
        assert [(o.key, o.state, o.mode) for o in kit.outcomes] == [(key(1), ACTIVE, DEPTH)]
