"""Topics that fell silent while their feed lives, told from when they ticked. Pure.

A tick only leaves its time. A look every 5 s makes a history of that: a topic that ticked before
each of six looks in a row had plenty, and has dried up after 25 s without a tick. One that ticks
now and then is quiet after a minute; that is no fault, but its price is that old. One that the
broker acknowledged and that has not ticked at all has nothing to show.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from streaming.fanout.index import Group
from streaming.protocol.entries import Silence

__all__ = ["OLD_SECONDS", "look", "silence_of"]

BUSY_LOOKS = 6
OLD_SECONDS = 25.0
QUIET_SECONDS = 60.0


def silence_of(group: Group[Any], now: float) -> Silence | None:
    """Return what is to be said of a topic's silence; None: it ticks, or may soon."""
    last = group.last_tick_seconds
    if last is None:
        since = group.since_seconds
        if since is None or now < since + OLD_SECONDS:
            return None
        return Silence(since, "subscribed, no price yet", has_ticked=False)
    if now >= last + OLD_SECONDS and group.busy_until == last:
        reason = f"no tick for {OLD_SECONDS:g} s, though it ticked often before"
        return Silence(last, reason, has_ticked=True)
    if now >= last + QUIET_SECONDS:
        return Silence(last, f"no tick for {QUIET_SECONDS:g} s", has_ticked=True)
    return None


def look(groups: Iterable[Group[Any]], before: float) -> None:
    """Note which topics ticked since ``before``, the time of the look before this one."""
    for group in groups:
        last = group.last_tick_seconds
        if last is None:
            continue
        if last <= before:
            group.busy_looks = 0
            continue
        group.busy_looks += 1
        if group.busy_looks >= BUSY_LOOKS:
            group.busy_until = last
