"""What the benchmark has under way never makes a gateway leave ticks out."""

from __future__ import annotations

from benchmarks.bare_stack import BYTES_UNDER_WAY
from benchmarks.tick_layout import TickLayout
from brokers.types import FeedMode
from streaming.clients.client import AsgiSocket, Client
from streaming.edge_limits import EdgeLimits


async def ignore(message: object) -> None:
    """Send nothing."""


def test_all_ticks_under_way_fit_into_one_clients_own_queue() -> None:
    """Of a client that stands still, transport and kernel may hold next to nothing."""
    client = Client(client_id="1", address="a", socket=AsgiSocket(ignore), limits=EdgeLimits())
    for mode in (FeedMode.QUOTE, FeedMode.DEPTH):
        frame_bytes = TickLayout(mode).frame_bytes
        for number in range(BYTES_UNDER_WAY // frame_bytes):
            client.outbox.push_tick(number, b"x" * frame_bytes)
        assert not client.outbox.is_congested
        assert client.outbox.take(10**6)
