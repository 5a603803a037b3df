"""Work that blocks and may hang, away from the loop and from the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["in_daemon_thread"]

P = ParamSpec("P")
T = TypeVar("T")


async def in_daemon_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run ``function`` in a thread of its own and return what it returns, or raise what it raises.

    The threads of the loop's executor are waited for when a process ends, so that a mail server
    that hangs would hold up the worker; nobody waits for these. A cancelled call goes on in its
    thread.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(act: Callable[[], None]) -> None:
        if not future.done():
            act()

    def run() -> None:
        act: Callable[[], None]
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            # Supervision point: it is raised again where it was asked for.
            failure = error
            act = lambda: future.set_exception(failure)  # noqa: E731
        else:
            act = lambda: future.set_result(result)  # noqa: E731
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, act)

    threading.Thread(target=run, name=f"alert-{function.__name__}", daemon=True).start()
    return await future
