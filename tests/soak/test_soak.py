"""Three minutes of everything at once: every event on the schedule, nobody loses anything."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.fix_services import require
from tests.soak.report import as_text, write_report
from tests.soak.run import soak
from tests.soak.servers import missing_programs

SECONDS = 180.0
CLIENTS = 40
RATE = 60.0

# It takes as long as the machine makes its events take; no bound of it is about speed.
pytestmark = [pytest.mark.soak, pytest.mark.oracle, pytest.mark.timeout(1800)]


@pytest.mark.usefixtures("oracle_python")
def test_nothing_is_lost_wrong_or_left_behind_whatever_happens() -> None:
    missing = missing_programs()
    require(", ".join(missing) or "All", not missing, "scripts/install-test-services")
    # Not pytest's own folder: PostgreSQL runs as a user that may not enter it.
    folder = Path(tempfile.mkdtemp(prefix="tickpool-soak-", dir="/tmp"))
    folder.chmod(0o755)
    result = asyncio.run(soak(folder, seconds=SECONDS, clients=CLIENTS, rate=RATE))
    write_report(folder, result)
    assert result.ticks > 0
    assert result.verdict.is_green, f"logs and report: {folder}\n{as_text(result)}"
    shutil.rmtree(folder, ignore_errors=True)
