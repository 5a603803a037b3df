"""An adapter that nobody pooled publishes by itself, as the site configures it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from brokers.context import set_standalone_sink_factory
from brokers.testing import kite_frame, kite_ltp
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from brokers.zerodha.connection import ZerodhaAdapter
from streaming.apps import StreamingConfig, standalone_bus
from tests.support import free_port

INFY = Instrument(InstrumentKey("NSE", "INFY"), "408065")


@pytest.fixture
def site_bus(settings: Any) -> Iterator[int]:
    """Configure a free bus address and let the app register itself as at start."""
    port = free_port()
    settings.ENV = msgspec.structs.replace(settings.ENV, zmq_port=port)
    standalone_bus.cache_clear()
    StreamingConfig("streaming", __import__("streaming")).ready()
    yield port
    standalone_bus().close()
    standalone_bus.cache_clear()
    set_standalone_sink_factory(None)


def test_two_adapters_without_a_pool_share_one_publisher(site_bus: int) -> None:
    """The second one must not find the port taken by the first."""
    adapters = [ZerodhaAdapter(), ZerodhaAdapter()]
    for adapter in adapters:
        adapter.subscribe([Subscription(INFY, FeedMode.LTP)])
        adapter.receive(kite_frame(kite_ltp(408065, 157_370)), 1)

    publisher = standalone_bus().publisher()

    assert publisher.bus.port == site_bus
    assert publisher.published == 2
    snapshot = publisher.snapshot("standalone-zerodha", INFY.key)
    assert snapshot is not None
    assert b'"ltp":1573.7' in snapshot.body
