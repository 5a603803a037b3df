"""A worker and a gateway of two versions, and somebody who is neither and only looks."""

from __future__ import annotations

import pytest

from streaming.wire import control as cm
from streaming.wire.versions import PROTOCOL_VERSION, UNTOLD
from streaming.worker import control_server
from tests.integration.streaming.bus_kit.ends import Gateway
from tests.integration.streaming.worker.test_control_guards import RawGateway
from tests.support import eventually


def told(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [one.levelname for one in caplog.records if words in one.getMessage()]


async def test_ends_of_one_version_say_nothing_of_it(worker, gateway, caplog):
    assert gateway.link.version_troubles() == []
    assert not told(caplog, "of the bus, the gateway")


@pytest.mark.parametrize("version", [PROTOCOL_VERSION + 1, UNTOLD])
async def test_a_worker_of_another_version_is_told_of_once(
    port, worker, stack, monkeypatch, caplog, version
):
    monkeypatch.setattr(control_server, "PROTOCOL_VERSION", version)
    beats = worker.server._beat_number
    await eventually(lambda: worker.server._beat_number > beats)
    gateway = await Gateway(port).open()
    stack.push_async_callback(gateway.close)
    await gateway.met()
    await eventually(lambda: gateway.link.gateway_id in worker.server.gateways)
    (trouble,) = gateway.link.version_troubles()
    assert f"the gateway version {PROTOCOL_VERSION}: restart the" in trouble
    beats = worker.server._beat_number
    await eventually(lambda: worker.server._beat_number > beats + 2)
    # Each end says it once: the worker was told by the gateway's hello.
    assert told(caplog, trouble) == ["WARNING", "WARNING"]
    await worker.close()
    await gateway.give_up()
    assert gateway.link.version_troubles() == []


async def test_a_gateway_that_does_not_say_its_version_is_told_of(worker, stack, caplog):
    raw = RawGateway(worker.server, b"raw")
    stack.callback(raw.close)
    raw.say(cm.encode(cm.Hello()))
    await eventually(lambda: "raw" in worker.server.gateways)
    assert told(caplog, "gateway 'raw': the worker speaks version") == ["WARNING"]


async def test_who_only_looks_is_no_gateway_and_leaves_the_log_alone(port, worker, stack, caplog):
    caplog.set_level("INFO", logger="streaming")
    looking = await Gateway(port, only_looks=True).open()
    stack.push_async_callback(looking.close)
    await looking.met()
    beats = worker.server._beat_number
    await eventually(lambda: worker.server._beat_number > beats + 2)
    stats = await looking.link.stats("1")
    assert stats is not None
    await looking.close()
    assert worker.server.gateways == ()
    assert not told(caplog, "arrived")
    assert not told(caplog, "answers at")
