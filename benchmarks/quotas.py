"""A share of a core for a process, kept by the kernel's CPU controller, cgroup version 1 or 2.

Where processes outnumber cores, what one of them does with more of a core cannot be seen: a quota
gives each the same, whoever else runs. Nothing of the machine is changed but the groups made here.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

__all__ = ["CpuQuotas", "Layout", "QuotasUnavailableError", "find_layout", "usable_quotas"]

MOUNTS = Path("/proc/self/mounts")
# The shortest usual one: a process that has used its share stands still for the rest of a period.
PERIOD_US = 10_000
_REMOVAL_SECONDS = 5.0


class QuotasUnavailableError(Exception):
    """Quotas cannot be set here; the text says why, and what mends it."""


class Layout(NamedTuple):
    """Where the CPU controller is, and in which version."""

    root: Path
    version: int

    def settings(self, share: float) -> dict[str, str]:
        """Return what to write into which files of a group that may use ``share`` of a core."""
        quota_us = round(PERIOD_US * share)
        if self.version == 1:
            return {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)}
        return {"cpu.max": f"{quota_us} {PERIOD_US}"}


def find_layout(mounts: str) -> Layout:
    """Return where the controller is, by the text of ``/proc/self/mounts``.

    Raises:
        QuotasUnavailableError: it is not mounted.
    """
    lines = [line.split() for line in mounts.splitlines()]
    mounted = [(kind, Path(at), options.split(",")) for _, at, kind, options, *_ in lines]
    # Where both are mounted, version 1 has the controller if it is listed there.
    for kind, at, options in mounted:
        if kind == "cgroup" and "cpu" in options:
            return Layout(at, 1)
    for kind, at, _ in mounted:
        if kind == "cgroup2":
            return Layout(at, 2)
    raise QuotasUnavailableError("no cgroup file system with the CPU controller is mounted")


class CpuQuotas:
    """The groups of one measurement. Leave it when their processes have ended: they go then."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._groups: list[Path] = []

    def limit(self, process: int, share: float) -> None:
        """Let a process, all its threads together, use ``share`` of a core from now on.

        Raises:
            OSError: it has ended, or the kernel refuses.
        """
        self._make(str(process), share).joinpath("cgroup.procs").write_text(str(process))

    def try_out(self) -> None:
        """Make a group without processes. Raises OSError where this user cannot."""
        self._make(f"trial-{os.getpid()}", 1.0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + _REMOVAL_SECONDS
        while self._groups:
            try:
                self._groups[-1].rmdir()
            except OSError:
                # The kernel takes a moment to bury the last process.
                if loop.time() > until:
                    raise
                await asyncio.sleep(0.05)
            else:
                self._groups.pop()

    def _make(self, name: str, share: float) -> Path:
        group = self._layout.root / f"tickpool-bench-{name}"
        group.mkdir()
        self._groups.append(group)
        for file, text in self._layout.settings(share).items():
            (group / file).write_text(text)
        return group


async def usable_quotas(mounts: Path = MOUNTS) -> Layout:
    """Return where this user can set quotas, after trying it.

    Raises:
        QuotasUnavailableError: nowhere.
    """
    try:
        layout = _enabled_layout(mounts)
        async with CpuQuotas(layout) as quotas:
            quotas.try_out()
    except OSError as error:
        raise QuotasUnavailableError(f"{error}; root on the machine itself may") from error
    return layout


def _enabled_layout(mounts: Path) -> Layout:
    layout = find_layout(mounts.read_text())
    if layout.version == 2:
        if "cpu" not in (layout.root / "cgroup.controllers").read_text().split():
            raise QuotasUnavailableError(f"{layout.root} does not have the CPU controller")
        enabled = layout.root / "cgroup.subtree_control"
        if "cpu" not in enabled.read_text().split():
            raise QuotasUnavailableError(f"the CPU controller is off; echo +cpu > {enabled}")
    return layout
