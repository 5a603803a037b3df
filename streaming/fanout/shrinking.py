"""Memory that is given back once most of what was read is read no more.

What clients held alike is kept for others who may want it, each piece somewhere between what was
there for a moment only, so that a little of it keeps much of the allocator's memory from the
system. It is let go of, and the allocator asked for what it has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streaming.allocator import give_free_back
from streaming.protocol.held import forget_shared, shared_feeds

__all__ = ["give_back", "shrink_when_left"]

_LOOK_SECONDS = 5.0
# Fewer are not worth it: some megabytes.
_FEW = 1000
_SHARE = 4


async def shrink_when_left(
    in_use: Callable[[], int],
    *,
    kept: Callable[[], int] = shared_feeds,
    shrink: Callable[[], None] | None = None,
    seconds: float = _LOOK_SECONDS,
) -> None:
    """Shrink whenever no more than a quarter of what is kept was in use at two looks, for ever.

    Two, as a request under way asks for what nobody reads yet. May be cancelled.

    Args:
        in_use: how many feeds somebody reads.
        kept: how many are kept.
        shrink: what to do; ``give_back`` if not given.
        seconds: between two looks.
    """
    looks = 0
    while True:
        await asyncio.sleep(seconds)
        read = in_use()
        is_left = kept() > _FEW and read * _SHARE <= kept()
        looks = looks + 1 if is_left else 0
        if looks == 2:
            looks = 0
            (shrink or give_back)()


def give_back() -> None:
    """Forget what nobody may want again, and give the system what is free."""
    forget_shared()
    give_free_back()
