"""Where the kernel's CPU quotas are, what is written there, and why they cannot be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from benchmarks.quotas import (
    CpuQuotas,
    Layout,
    QuotasUnavailableError,
    find_layout,
    usable_quotas,
)

FIRST = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0"
FIRST_WITHOUT = "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0"
SECOND = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0"
DISK = "/dev/vda / ext4 rw,relatime 0 0"


@pytest.mark.parametrize(
    ("mounts", "layout"),
    [
        ([DISK, FIRST_WITHOUT, FIRST], Layout(Path("/sys/fs/cgroup/cpu,cpuacct"), 1)),
        ([DISK, SECOND], Layout(Path("/sys/fs/cgroup"), 2)),
        ([SECOND, FIRST], Layout(Path("/sys/fs/cgroup/cpu,cpuacct"), 1)),
        ([FIRST_WITHOUT, SECOND], Layout(Path("/sys/fs/cgroup"), 2)),
    ],
)
def test_the_controller_is_where_it_is_mounted(mounts: list[str], layout: Layout) -> None:
    assert find_layout("\n".join(mounts)) == layout


def test_without_a_controller_there_are_no_quotas() -> None:
    with pytest.raises(QuotasUnavailableError, match="mounted"):
        find_layout(f"{DISK}\n{FIRST_WITHOUT}\n")


def test_each_version_has_its_own_files() -> None:
    assert Layout(Path("/x"), 2).settings(0.3) == {"cpu.max": "3000 10000"}
    assert Layout(Path("/x"), 1).settings(0.3) == {
        "cpu.cfs_period_us": "10000",
        "cpu.cfs_quota_us": "3000",
    }


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        ("cpu memory", r"echo \+cpu > .*cgroup.subtree_control"),
        ("memory pids", "does not have the CPU controller"),
    ],
)
async def test_a_controller_that_is_off_says_what_mends_it(
    tmp_path: Path, there: str, reason: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text(there)
    (tmp_path / "cgroup.subtree_control").write_text("memory")
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup2 {tmp_path} cgroup2 rw 0 0")
    with pytest.raises(QuotasUnavailableError, match=reason):
        await usable_quotas(mounts)


async def test_who_may_make_no_group_hears_why(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"cgroup {tmp_path / 'gone'} cgroup rw,cpu 0 0")
    with pytest.raises(QuotasUnavailableError, match="No such file"):
        await usable_quotas(mounts)


def files_of(folder: Path) -> dict[str, str]:
    """What stands in all files of all folders within; as the kernel's, they go when read."""
    found = {}
    for file in [*folder.glob("*/*")]:
        found[file.name] = file.read_text()
        file.unlink()
    return found


async def test_a_process_is_put_into_a_group_of_its_own_that_goes_at_the_end(
    tmp_path: Path,
) -> None:
    async with CpuQuotas(Layout(tmp_path, 2)) as quotas:
        quotas.limit(4711, 0.5)
        assert files_of(tmp_path) == {"cpu.max": "5000 10000", "cgroup.procs": "4711"}
    assert os.listdir(tmp_path) == []
