"""An edited endpoint is where every connection goes next, whatever it is doing or waiting for."""

from __future__ import annotations

import asyncio

from brokers.contract import Handshake
from pooling.testing import FakeBroker
from tests.unit.pooling.kit import TOKEN_FIELD, open_kit, virtual

OTHER = "ws://other.invalid"


class Broker(FakeBroker):
    """Takes its time to answer, and remembers where it was asked."""

    seconds = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, str]] = []

    async def __call__(self, handshake: Handshake, **options):
        self.asked.append((self.now(), handshake.url.partition("?")[0]))
        await asyncio.sleep(self.seconds)
        return await super().__call__(handshake, **options)


@virtual
async def test_who_waits_for_a_turn_to_connect_goes_to_the_new_endpoint():
    broker = Broker()
    broker.seconds = 3.0
    async with open_kit(broker=broker) as kit:
        kit.want(*range(6))  # two connections; the second waits until the first is open
        await asyncio.sleep(1)
        kit.pool.update_endpoint(OTHER)
        await asyncio.sleep(20)
        assert [url for _, url in broker.asked] == ["ws://fake.invalid", OTHER, OTHER]
        assert len(kit.broker.subscribed) == 6


@virtual
async def test_a_new_endpoint_ends_the_wait_after_failures():
    broker = Broker()
    async with open_kit(broker=broker) as kit:
        broker.refuse(503)
        kit.want(1)
        await asyncio.sleep(300)  # by now the waits are long
        tried = len(broker.asked)
        broker.accept()
        kit.pool.update_endpoint(OTHER)
        await asyncio.sleep(0.5)
        assert broker.asked[tried:] == [(300.0, OTHER)]
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_new_endpoint_that_fails_is_waited_for_like_any_other():
    broker = Broker()
    async with open_kit(broker=broker) as kit:
        broker.refuse(503)
        kit.want(1)
        await asyncio.sleep(300)
        tried = len(broker.asked)
        kit.pool.update_endpoint(OTHER)
        await asyncio.sleep(60)
        assert 1 < len(broker.asked) - tried < 10


@virtual
async def test_a_retry_after_binds_where_it_was_told_also_who_comes_back():
    broker = Broker()
    async with open_kit(broker=broker) as kit:
        broker.refuse(429, Retry_After="100")
        kit.want(1)
        await asyncio.sleep(1)
        broker.accept()
        kit.pool.update_endpoint(OTHER)
        await asyncio.sleep(9)
        kit.pool.update_endpoint(None)
        await asyncio.sleep(200)
        assert [url for _, url in broker.asked] == ["ws://fake.invalid", OTHER, "ws://fake.invalid"]
        assert broker.asked[2][0] >= 100
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_refusal_that_comes_after_an_edit_does_not_bind_the_new_endpoint():
    broker = Broker()
    broker.seconds = 3.0
    async with open_kit(broker=broker, credential_fields=TOKEN_FIELD) as kit:
        kit.store.save_credentials("7", {"token": "good"})
        broker.good_tokens = set()
        kit.want(1)
        await asyncio.sleep(1)
        kit.pool.update_endpoint(OTHER)
        await asyncio.sleep(2.5)
        broker.good_tokens = {"good"}
        await asyncio.sleep(20)
        assert [url for _, url in broker.asked] == ["ws://fake.invalid", OTHER]
        assert kit.broker.subscribed.keys() == {"1"}
