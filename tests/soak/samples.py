"""What processes use, from the kernel and from ``/metrics``."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from pathlib import Path

from tests.soak.verdict import Sample

__all__ = ["metric", "sample"]


def sample(process: str, pid: int, *, tasks: int = -1, clients: int = -1) -> Sample | None:
    """Return what a process uses now, or None where it has ended.

    Memory is what it has to itself: not the files that it maps.
    """
    try:
        status = dict(_fields(Path(f"/proc/{pid}/status").read_text()))
        descriptors = len(os.listdir(f"/proc/{pid}/fd"))
        memory = int(status["RssAnon"].split()[0]) * 1024
    except (OSError, KeyError):
        return None
    return Sample(
        process=process,
        pid=pid,
        at=time.time(),
        memory=memory,
        descriptors=descriptors,
        threads=int(status["Threads"]),
        tasks=tasks,
        clients=clients,
    )


def metric(text: str, name: str) -> int:
    """Return the sum of a metric's samples in Prometheus's text; -1 where it has none."""
    found = re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([0-9.e+]+)$", text, re.M)
    return int(sum(map(float, found))) if found else -1


def _fields(text: str) -> Iterable[tuple[str, str]]:
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()
