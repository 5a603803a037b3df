"""The word of a child that it serves, to who started it: a byte through an inherited pipe.

Asking at its port is no answer where several processes listen there: one of them answers for all.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator

__all__ = ["ready_pipe", "say_ready"]


@contextlib.contextmanager
def ready_pipe(count: int) -> Iterator[tuple[int, asyncio.Event]]:
    """Give a descriptor for children to inherit, and an event for when ``count`` of them serve.

    One that dies and comes again counts once.
    """
    loop = asyncio.get_running_loop()
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    all_ready = asyncio.Event()
    seen: set[int] = set()

    def on_readable() -> None:
        seen.update(os.read(read_end, 4096))
        if len(seen) >= count:
            all_ready.set()

    loop.add_reader(read_end, on_readable)
    try:
        yield write_end, all_ready
    finally:
        loop.remove_reader(read_end)
        os.close(read_end)
        os.close(write_end)


def say_ready(ready_fd: int, number: int = 1) -> None:
    """Tell the parent that its child ``number`` (0 to 255) serves; it may not listen any more."""
    with contextlib.suppress(OSError):
        os.write(ready_fd, bytes((number,)))
