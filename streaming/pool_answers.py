"""What the pools answer to one client's wants, by feed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brokers.feed import Outcome, Want
from streaming.client import Client
from streaming.holdings import Feed
from streaming.link import FeedLink, TickMessage

__all__ = ["ask_pools"]


async def ask_pools(
    link: FeedLink, client: Client, wants: Mapping[str, Sequence[Want]]
) -> tuple[dict[Feed, Outcome], dict[bytes, TickMessage]]:
    """Ask each pool in turn; return the outcomes by feed and the snapshots by topic.

    May be cancelled: the client's ``pools`` names every pool that was asked by then.
    """
    outcomes: dict[Feed, Outcome] = {}
    snapshots: dict[bytes, TickMessage] = {}
    for pool_id, pool_wants in wants.items():
        client.pools.add(pool_id)
        reply = await link.want(pool_id, client.id, pool_wants)
        for outcome in reply.outcomes:
            outcomes[Feed(pool_id, outcome.key)] = outcome
        for message in reply.snapshots:
            snapshots[message.topic] = message
    return outcomes, snapshots
