"""The pipe through which children tell that they serve."""

from __future__ import annotations

import asyncio
import os

from openalgo_site.processes.ready_pipe import ready_pipe, say_ready


async def test_each_of_several_children_has_to_tell_and_a_second_time_counts_for_nothing() -> None:
    with ready_pipe(2) as (ready_fd, all_ready):
        say_ready(ready_fd, 1)
        say_ready(ready_fd, 1)
        # What is written can be read at once: a turn of the loop has seen it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not all_ready.is_set()
        say_ready(ready_fd, 2)
        await asyncio.wait_for(all_ready.wait(), 30)


async def test_a_parent_that_no_longer_listens_disturbs_no_child() -> None:
    with ready_pipe(1) as (ready_fd, _):
        kept = os.dup(ready_fd)
    try:
        say_ready(kept)
    finally:
        os.close(kept)
