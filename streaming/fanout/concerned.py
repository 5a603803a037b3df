"""Clients of a gateway whom a pool's word on subscriptions concerns. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

from brokers.pool_service import Outcome, SubscriptionChange
from streaming.fanout.index import Groups
from streaming.wire.topics import tick_topic

__all__ = ["concerned"]

Member = TypeVar("Member")


def concerned(
    change: SubscriptionChange, groups: Groups[Member], planning: Collection[Member]
) -> Mapping[Member, Sequence[Outcome]]:
    """Return who is told which of the outcomes: each those that it reads, in their order.

    Those that are asking for something right now may have asked for any. What it costs is what is
    read of these instruments, however many of them there are and however many clients.
    """
    found: dict[Member, list[Outcome]] = {}
    for outcome in change.outcomes:
        group = groups.by_topic.get(tick_topic(change.pool_id, outcome.key))
        if group is None:
            continue
        readers: set[Member] = set()
        for lines in group.lines.values():
            readers.update(lines.members)
        for member in readers:
            found.setdefault(member, []).append(outcome)
    return {**found, **dict.fromkeys(planning, change.outcomes)}
