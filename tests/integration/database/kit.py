"""Processes with settings of their own: Django reads DATABASE_URL once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ROOT", "begin", "conversation", "environment", "run"]

ROOT = Path(__file__).resolve().parents[3]


def environment(data_dir: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a process of an installation in ``data_dir``."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "openalgo_site.settings",
        "DATA_DIR": str(data_dir),
        "PYTHONUNBUFFERED": "1",
        **variables,
    }


def run(code: str, data_dir: Path, **variables: str) -> str:
    """Run ``code`` to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(data_dir, **variables),
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


def begin(code: str, data_dir: Path, **variables: str) -> subprocess.Popen[str]:
    """Start ``code``; it reads and prints lines."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(data_dir, **variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def conversation(child: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End the child with the block, whatever happened in it."""
    try:
        yield child
    finally:
        child.kill()
        child.communicate()
