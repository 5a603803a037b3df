"""Memory that is given back once most of what was read or held is no more.

What clients held alike is kept for others who may want it, each piece somewhere between what was
there for a moment only, so that a little of it keeps much of the allocator's memory from the
system. It is let go of, and the allocator asked for what it has left.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from streaming.allocator import give_free_back
from streaming.protocol.held import forget_shared, shared_feeds

__all__ = ["give_back", "shrink_when_left"]

_LOOK_SECONDS = 5.0
# Fewer are not worth it: some megabytes.
_FEW = 1000
_SHARE = 4
# Small objects that are there no more, a megabyte or two of them.
_MANY_BLOCKS = 10_000
# Looks between two times that memory is given back, which takes milliseconds.
_LOOKS_BETWEEN = 4
# Looks until it is given back once more: what goes on meanwhile takes pages here and there again.
_LOOKS_UNTIL_AGAIN = 4


async def shrink_when_left(
    in_use: Callable[[], int],
    *,
    kept: Callable[[], int] = shared_feeds,
    blocks: Callable[[], int] = sys.getallocatedblocks,
    shrink: Callable[[], None] | None = None,
    trim: Callable[[], None] | None = None,
    seconds: float = _LOOK_SECONDS,
) -> None:
    """Shrink whenever no more than a quarter of what is kept was in use at two looks, for ever.

    Two, as a request under way asks for what nobody reads yet. Where that is not so and the process
    had many more objects at an earlier look than at two in a row, whoever they were of, what is
    free is given back all the same. Once more some looks after either. May be cancelled.

    Args:
        in_use: how many feeds somebody reads.
        kept: how many are kept.
        blocks: how many small objects the process has.
        shrink: what to do; ``give_back`` if not given.
        trim: what to do where nothing is to be forgotten; ``give_free_back`` if not given.
        seconds: between two looks.
    """
    left = fallen = most = since = again = 0
    while True:
        await asyncio.sleep(seconds)
        read, now = in_use(), blocks()
        most, since = max(most, now), since + 1
        is_left = kept() > _FEW and read * _SHARE <= kept()
        left = left + 1 if is_left else 0
        fallen = fallen + 1 if most - now >= _MANY_BLOCKS else 0
        again -= 1
        if left == 2:
            (shrink or give_back)()
        elif fallen >= 2 and since >= _LOOKS_BETWEEN:
            (trim or give_free_back)()
        elif again == 0:
            (trim or give_free_back)()
            continue
        else:
            continue
        left = fallen = since = 0
        most, again = now, _LOOKS_UNTIL_AGAIN


def give_back() -> None:
    """Forget what nobody may want again, and give the system what is free."""
    forget_shared()
    give_free_back()
