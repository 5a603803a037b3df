"""Fixtures: somebody else's clients, run in an environment of their own.

``make test`` creates ``.venv-oracles`` from ``requirements/oracles.txt`` and, inside of it,
``brokers`` from ``requirements/oracles-brokers.txt``; ``TICKPOOL_ORACLE_PYTHON`` and
``TICKPOOL_BROKER_ORACLE_PYTHON`` name other interpreters that have them. Where there is neither,
tests that ask for one are skipped, and fail with ``CI=true``.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

__all__ = ["RunOracle", "oracle_python", "run_broker_oracle", "run_oracle"]

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / "tests" / "oracles"
ENVIRONMENT = ROOT / ".venv-oracles"
MISSING = "the official clients are not installed in {folder}: run `make test`"

RunOracle = Callable[..., Coroutine[Any, Any, Any]]


@pytest.fixture(scope="session")
def oracle_python() -> Path:
    """The interpreter that has Kite's client and the OpenAlgo SDK."""
    return _interpreter("TICKPOOL_ORACLE_PYTHON", ENVIRONMENT)


@pytest.fixture(scope="session")
def broker_oracle_python() -> Path:
    """The interpreter that has the clients of Angel One, Upstox, Dhan and Fyers."""
    return _interpreter("TICKPOOL_BROKER_ORACLE_PYTHON", ENVIRONMENT / "brokers")


@pytest.fixture
def run_oracle(oracle_python: Path, tmp_path: Path) -> RunOracle:
    """Run a script of ``tests/oracles`` with JSON on its stdin; returns the JSON that it prints."""
    return _runner(oracle_python, tmp_path)


@pytest.fixture
def run_broker_oracle(broker_oracle_python: Path, tmp_path: Path) -> RunOracle:
    """The same with the other brokers' clients, whose logs go to a folder of the test's own."""
    return _runner(broker_oracle_python, tmp_path)


def _interpreter(variable: str, environment: Path) -> Path:
    path = Path(os.environ.get(variable) or environment / "bin" / "python")
    if not path.exists():
        missing = MISSING.format(folder=environment.relative_to(ROOT))
        if os.environ.get("CI", "").lower() in ("true", "1"):
            pytest.fail(missing)
        pytest.skip(missing)
    return path


def _runner(python: Path, folder: Path) -> RunOracle:
    async def run(script: str, *arguments: str, given: object = None, timeout: float = 110) -> Any:
        process = await asyncio.create_subprocess_exec(
            str(python),
            str(SCRIPTS / script),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
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
