"""What the commands of this package share: a folder to write to, and an end by a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from tests.soak.servers import MISSING, missing_programs

__all__ = ["Ended", "report_folder", "until_signal"]

T = TypeVar("T")


class Ended(Exception):  # noqa: N818
    """The command ends without a verdict: 2 usage, 3 not possible, 128 and more by a signal."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


def report_folder(given: Path | None, prefix: str) -> Path:
    """Return the empty folder for reports and logs: the given one, or one of its own.

    Raises:
        Ended: programs are missing, or the folder is not empty.
    """
    if missing := missing_programs():
        raise Ended(3, MISSING.format(names=", ".join(missing)))
    folder = given or Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL runs as somebody else
    if any(folder.iterdir()):
        raise Ended(2, f"{folder} is not empty: name another folder")
    return folder


def until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. The first SIGINT or SIGTERM cancels it; later ones do not disturb its end.

    Raises:
        Ended: a signal came, and everything that was started has ended.
    """
    return asyncio.run(_watched(work))


async def _watched(work: Coroutine[Any, Any, T]) -> T:
    running = asyncio.create_task(work, name="work")
    signals: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        if not signals:
            print(f"{number.name}: ending what was started", file=sys.stderr, flush=True)
            running.cancel()
        signals.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await running
    except (Exception, asyncio.CancelledError):
        if not signals:
            raise
    first = signals[0]
    raise Ended(128 + first, f"Ended by {first.name}: nothing was judged, nothing runs on.")
