"""Fixtures: somebody else's clients, run in an environment of their own.

``make test`` creates ``.venv-oracles`` from ``requirements-oracles.txt``; the variable
``TICKPOOL_ORACLE_PYTHON`` names another interpreter that has them. Where there is neither, tests
that ask for one are skipped, and fail with ``CI=true``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

__all__ = ["RunOracle", "oracle_python", "run_oracle"]

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "tests" / "oracles"
DEFAULT_PYTHON = ROOT / ".venv-oracles" / "bin" / "python"
MISSING = (
    "the official clients are not installed: run `make test`, or "
    "`python3 -m venv .venv-oracles && .venv-oracles/bin/pip install -r requirements-oracles.txt`"
)

RunOracle = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture(scope="session")
def oracle_python() -> Path:
    """The interpreter that has the official clients."""
    path = Path(os.environ.get("TICKPOOL_ORACLE_PYTHON") or DEFAULT_PYTHON)
    if not path.exists():
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    return path


@pytest.fixture
def run_oracle(oracle_python: Path) -> RunOracle:
    """Run a script of ``tests/oracles`` with JSON on its stdin; returns the JSON that it prints."""

    async def run(script: str, *arguments: str, given: object = None, timeout: float = 60) -> Any:
        process = await asyncio.create_subprocess_exec(
            str(oracle_python),
            str(SCRIPTS / script),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Kite's client turns times into naive local ones.
            env={"TZ": "UTC", "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        try:
            async with asyncio.timeout(timeout):
                out, errors = await process.communicate(json.dumps(given).encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, errors.decode()
        return json.loads(out)

    return run
