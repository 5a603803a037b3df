"""Answers of the pools to one client's wants, by feed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping, Sequence

from brokers.pool_service import Outcome, Want
from streaming.clients.client import Client
from streaming.fanout.pending_ticks import Arrivals
from streaming.ports.link import FeedLink
from streaming.protocol.held import Feed, shared_feed
from streaming.protocol.subscribe_plan import SubscribePlan
from streaming.shares.share import Share
from streaming.slices import SLICE, slices
from streaming.wire.topics import tick_topic

__all__ = ["ask_pools"]


async def ask_pools(
    link: FeedLink,
    client: Client,
    plan: SubscribePlan,
    arrivals: Arrivals,
    topics: MutableMapping[Feed, bytes],
    share: Share,
) -> dict[Feed, Outcome]:
    """Ask what a plan wants; return the outcomes by feed. ``arrivals`` get the snapshots.

    Long plans are asked in parts, none of which waits for the answer to the one before. ``topics``
    gets what ``arrivals`` is told to expect, which is for the caller to undo. May be cancelled: the
    client's ``pools`` names every pool that was asked by then.
    """
    feeds = list(plan.feeds)
    if len(feeds) <= SLICE:
        await share.turn(len(feeds))
        _expect(feeds, arrivals, topics)
        return await _ask_in_turn(link, client, plan.wants, arrivals)
    asked = []
    async with asyncio.TaskGroup() as group:
        for _, part in slices(feeds):
            await share.turn(len(part))
            _expect(part, arrivals, topics)
            asking = _ask_in_turn(link, client, plan.wants_of(part), arrivals)
            asked.append(group.create_task(asking, name=f"client {client.id} ask"))
    outcomes: dict[Feed, Outcome] = {}
    for task in asked:
        outcomes |= task.result()
    return outcomes


def _expect(feeds: Sequence[Feed], arrivals: Arrivals, topics: MutableMapping[Feed, bytes]) -> None:
    of_part = {feed: tick_topic(*feed) for feed in feeds}
    arrivals.expect(of_part.values())
    topics.update(of_part)


async def _ask_in_turn(
    link: FeedLink, client: Client, wants: Mapping[str, Sequence[Want]], arrivals: Arrivals
) -> dict[Feed, Outcome]:
    """Ask each pool in turn."""
    outcomes: dict[Feed, Outcome] = {}
    for pool_id, pool_wants in wants.items():
        client.pools.add(pool_id)
        reply = await link.want(pool_id, client.id, pool_wants)
        # By the feed that all share, as two more objects a symbol take a megabyte.
        for outcome in reply.outcomes:
            outcomes[shared_feed(pool_id, *outcome.key)] = outcome
        arrivals.offer(reply.snapshots)
    return outcomes
