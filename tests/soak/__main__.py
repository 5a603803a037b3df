"""``python -m tests.soak``: run it and judge; exit code 0 green, 1 red, 2 usage, 3 not possible."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from tests.soak.report import as_text, write_report
from tests.soak.run import RunResult, soak
from tests.soak.servers import MISSING, missing_programs


def main() -> int:
    """Parse arguments, run, write the report, say the verdict."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0, help="ticks a second per exchange")
    parser.add_argument("--seed", type=int, default=1, help="of who holds what")
    parser.add_argument("--report", type=Path, help="a folder for report, chart and logs")
    given = parser.parse_args()
    if missing := missing_programs():
        print(MISSING.format(names=", ".join(missing)), file=sys.stderr)
        return 3
    folder = given.report or Path(tempfile.mkdtemp(prefix="tickpool-soak-", dir="/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)  # PostgreSQL runs as somebody else
    if any(folder.iterdir()):
        print(f"{folder} is not empty: name another folder", file=sys.stderr)
        return 2
    print(f"Soaking for {given.minutes:g} minutes; logs and report: {folder}", flush=True)
    result = asyncio.run(_until_signal(folder, given))
    write_report(folder, result)
    print(as_text(result))
    return 0 if result.verdict.is_green else 1


async def _until_signal(folder: Path, given: argparse.Namespace) -> RunResult:
    """Run; a signal ends everything that was started, and judges nothing."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    seconds = given.minutes * 60
    return await soak(
        folder,
        seconds=seconds,
        clients=given.clients,
        rate=given.rate,
        seed=given.seed,
        say=lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    sys.exit(main())
