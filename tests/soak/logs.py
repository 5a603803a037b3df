"""What logs say above WARNING, and what of it is expected. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from tests.soak.plan import Happening
from tests.soak.verdict import ExpectedLine, LogLine

__all__ = ["EXPECTED", "grave_lines"]

_GRAVE = ("error", "critical")

# Each says why the line is no fault.
EXPECTED = (
    # The database is away or busy; who brings a key that is not remembered is told to come again,
    # and whether that was right is judged by when it was. psycopg calls it an InternalError where a
    # server ends within a COMMIT.
    ExpectedLine(r"gateway-\d", r"keys cannot be looked up"),
    ExpectedLine(
        r"gateway-\d",
        r"requests fail, as the database does|Service Unavailable: /"
        r"|cannot look whether clients are still allowed"
        r"|its presence could not be written: (?:Operational|Internal)Error",
        (Happening.POSTGRES_RESTARTED,),
    ),
    ExpectedLine("worker", r"failed, will be retried (\(the database|\| TimeoutError)"),
    ExpectedLine(
        "worker",
        r"failed, will be retried \((?:Operational|Internal)Error",
        (Happening.POSTGRES_RESTARTED,),
    ),
    # channels_redis cleans up behind a read in a task that nobody looks at.
    ExpectedLine(
        r"gateway-\d",
        r"never retrieved\s+future: .*RedisChannelLayer\._clean_receive_backup",
        (Happening.REDIS_RESTARTED,),
    ),
    # Somebody has to log in.
    ExpectedLine("worker", r"pool \d+ needs a new credential", (Happening.TOKEN_ENDED,)),
    # What a command or a replaced process says for people, without a level.
    ExpectedLine(r"gateway-\d", r"^gateway: site on "),
    ExpectedLine(r"exchange-\d", r"^The local exchange listens on |^Logins are at "),
)


def grave_lines(process: str, lines: Iterable[str]) -> list[LogLine]:
    """Return the lines above WARNING, and those that are no log line: a bare traceback, a print.

    The lines of a bare traceback are one.
    """
    found: list[LogLine] = []
    bare: list[str] = []

    def end_bare() -> None:
        if bare:
            found.append(LogLine(process, None, " | ".join(bare)))
            bare.clear()

    for line in lines:
        if not line.strip():
            continue
        entry = _entry(line)
        if entry is None:
            if bare and not line.startswith((" ", "Traceback")) and not _is_traceback(bare):
                end_bare()
            bare.append(line.rstrip())
            continue
        end_bare()
        if entry.get("level") in _GRAVE:
            at = datetime.fromisoformat(str(entry["time"])).timestamp()
            last = str(entry.get("exception", "")).strip().splitlines()[-1:]
            text = " | ".join([f"{entry.get('logger')}: {entry.get('message')}", *last])
            found.append(LogLine(process, at, text))
    end_bare()
    return found


def _is_traceback(bare: list[str]) -> bool:
    return bare[0].startswith("Traceback") and bare[-1].startswith(" ")


def _entry(line: str) -> dict[str, object] | None:
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "level" in entry and "time" in entry else None
