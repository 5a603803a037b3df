"""``manage.py runpool`` that writes its number of tasks to a file every second.

A worker has no page of metrics. One more thread, and nothing else is different.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path

from django.core.management import execute_from_command_line


def count_into(file: Path) -> None:
    """Write the number of unfinished tasks of all loops, for ever."""
    # A set of weak references: 3.12 renamed it.
    known = getattr(asyncio.tasks, "_scheduled_tasks", None)
    known = known if known is not None else asyncio.tasks._all_tasks  # type: ignore[attr-defined]
    while True:
        time.sleep(1.0)
        try:
            count = sum(not task.done() for task in list(known))
        except RuntimeError:
            continue  # it changed meanwhile
        file.write_text(str(count))


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openalgo_site.settings")
    threading.Thread(target=count_into, args=(Path(sys.argv[1]),), daemon=True).start()
    execute_from_command_line(["manage.py", "runpool"])
