"""What a load costs the gateway beside time: memory at its worst and afterwards, and disk."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ManageCommand

__all__ = ["Cost", "watched"]

MAX_GROWTH_BYTES = 64 * 1024 * 1024
# So much of that may stay: what an allocator keeps for next time is no leak.
MAX_LEFT_BYTES = 8 * 1024 * 1024
BACK_SECONDS = 60.0
# A log line or two, and what the presence of gateways and clients writes.
MAX_DISK_BYTES = 64 * 1024
_LOOK_SECONDS = 0.1


@dataclass
class Cost:
    """Bytes of the gateway's memory before, at most and in the end; what its files grew by."""

    before: int
    peak: int = 0
    after: int = 0
    back_seconds: float = 0.0
    disk: int = 0

    def complaints(self) -> list[str]:
        """Return what was too much."""
        found = []
        if self.peak - self.before > MAX_GROWTH_BYTES:
            found.append(f"memory grew by more than {MAX_GROWTH_BYTES >> 20} MiB")
        if self.after - self.before > MAX_LEFT_BYTES:
            found.append("memory is not back")
        if self.disk > MAX_DISK_BYTES:
            found.append("files grew")
        return found

    def figures(self) -> dict[str, float | int | str]:
        """Return what goes into the table."""
        mebibyte = 1024 * 1024
        return {
            "memory_mib": round(self.before / mebibyte, 1),
            "memory_more_mib": round((self.peak - self.before) / mebibyte, 1),
            "memory_left_mib": round((self.after - self.before) / mebibyte, 1),
            "memory_back_seconds": round(self.back_seconds, 1),
            "disk_more_kib": round(self.disk / 1024, 1),
        }


@contextlib.asynccontextmanager
async def watched(gateway: ManageCommand, directory: str) -> AsyncIterator[Cost]:
    """Watch a gateway for as long as the block runs, and until its memory is back."""
    cost = Cost(before=gateway.memory_bytes())
    disk_before = _disk_bytes(directory)
    watching = asyncio.create_task(_watch(gateway, cost), name="memory")
    try:
        yield cost
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    began = time.monotonic()
    while True:
        cost.after, cost.back_seconds = gateway.memory_bytes(), time.monotonic() - began
        is_back = cost.after - cost.before <= MAX_LEFT_BYTES
        if is_back or cost.back_seconds >= BACK_SECONDS:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    cost.disk = _disk_bytes(directory) - disk_before


async def _watch(gateway: ManageCommand, cost: Cost) -> None:
    while True:
        cost.peak = max(cost.peak, gateway.memory_bytes())
        await asyncio.sleep(_LOOK_SECONDS)


def _disk_bytes(directory: str) -> int:
    """Return what all files of an installation take; SQLite's log ends at 4 MiB by itself."""
    total = 0
    for path in Path(directory).rglob("*"):
        if path.name.endswith(("-wal", "-shm")):
            continue
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
