"""``python -m tests.soak``: run it and judge; exit code 0 green, 1 red, 2 usage, 3 not possible.

130 where Ctrl-C ended it; then everything that it started has ended, too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.soak.command_line import Ended, report_folder, until_signal
from tests.soak.report import as_text, write_report
from tests.soak.run import soak


def main() -> int:
    """Parse arguments, run, write the report, say the verdict."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rate", type=float, default=100.0, help="ticks a second per exchange")
    parser.add_argument("--seed", type=int, default=1, help="of who holds what")
    parser.add_argument("--report", type=Path, help="a folder for report, chart and logs")
    given = parser.parse_args()
    try:
        folder = report_folder(given.report, "tickpool-soak-")
        print(f"Soaking for {given.minutes:g} minutes; logs and report: {folder}", flush=True)
        result = until_signal(
            soak(
                folder,
                seconds=given.minutes * 60,
                clients=given.clients,
                rate=given.rate,
                seed=given.seed,
                say=lambda line: print(line, flush=True),
            )
        )
    except Ended as ended:
        print(ended, file=sys.stderr)
        return ended.code
    write_report(folder, result)
    print(as_text(result))
    return 0 if result.verdict.is_green else 1


if __name__ == "__main__":
    sys.exit(main())
