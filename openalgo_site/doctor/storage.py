"""Database, migrations, instruments, disk, and who may read the files."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import Error, connection, transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.crypto import get_random_string

from openalgo_site.cli.tables import tables_trouble
from openalgo_site.config.private_files import open_to_others, usual_mode
from openalgo_site.doctor.findings import Finding, failed, fine, skipped, warned
from pooling.models import BrokerAccount, Instrument

__all__ = [
    "database",
    "disk",
    "instruments",
    "migrations",
    "private",
    "writable",
]

MASTER_AGE = timedelta(days=2)
LOW_BYTES = 1 << 30
LOWEST_BYTES = 64 << 20
WRITABLE = stat.S_IWGRP | stat.S_IWOTH
SECRET_WORDS = frozenset({"KEY", "PASSWORD", "PASS", "SECRET", "TOKEN"})
PASSWORD_IN_URL = re.compile(r"://[^/@]*:[^/@]+@|[?&](password|token|key)=", re.I)


def database() -> Iterator[Finding]:
    """Check whether the database answers."""
    name = "database"
    try:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (Error, ValueError) as error:
        yield failed(
            name,
            f"the database does not answer: {_first_line(error)}",
            "check DATABASE_URL and that the server runs; for SQLite, that DATA_DIR "
            f"({settings.DATA_DIR}) can be read",
        )
        return
    yield fine(name, f"{connection.vendor} answers")


def migrations() -> Iterator[Finding]:
    """Check whether the tables are those of this version."""
    trouble = tables_trouble()
    if trouble is None:
        yield fine("migrations", "all are applied")
    else:
        words = f"{trouble.what}; {trouble.details}" if trouble.details else trouble.what
        yield (failed if trouble.is_behind else warned)("migrations", words, trouble.mends)


def writable() -> Iterator[Finding]:
    """Check whether a row can be written; it is taken back."""
    try:
        with transaction.atomic():
            Session.objects.create(
                session_key=f"doctor{get_random_string(26)}",
                session_data="",
                expire_date=timezone.now(),
            )
            transaction.set_rollback(True)
    except Error as error:
        yield failed(
            "writable",
            f"nothing can be written to the database: {_first_line(error)}",
            f"let this user write to DATA_DIR ({settings.DATA_DIR}) and all files in it, or grant "
            "the role of DATABASE_URL INSERT, UPDATE and DELETE; check that the disk is not full",
        )
        return
    yield fine("writable", "a row was written and taken back")


def instruments() -> Iterator[Finding]:
    """Check whether each broker in use has instruments, and recent ones."""
    name, now = "instruments", timezone.now()
    used = BrokerAccount.objects.filter(enabled=True).values_list("broker", flat=True)
    for broker in sorted(set(used)):
        load = f"run `python manage.py loadinstruments --broker {broker}`"
        newest = Instrument.objects.filter(broker=broker).aggregate(at=Max("loaded"))["at"]
        if newest is None:
            yield failed(name, f"{broker} has none, so nothing can be subscribed", load)
        elif now - newest > MASTER_AGE:
            yield warned(name, f"those of {broker} are of {newest:%Y-%m-%d}", load)
        else:
            yield fine(name, f"those of {broker} are of {newest:%Y-%m-%d}")
    if not used:
        yield skipped(name, "there is no enabled account")


def disk() -> Iterator[Finding]:
    """Check whether there is room left."""
    path = Path(settings.DATA_DIR)
    if not path.is_dir():
        yield failed("disk", f"DATA_DIR {path} is not there", f"make it: `mkdir -m 700 -p {path}`")
        return
    free = shutil.disk_usage(path).free
    words = f"{free / 1e9:.1f} GB are free in DATA_DIR"
    mends = "make room, or set DATA_DIR to another disk"
    if free < LOWEST_BYTES:
        yield failed("disk", words, mends)
    elif free < LOW_BYTES:
        yield warned("disk", words, mends)
    else:
        yield fine("disk", words)


def private() -> Iterator[Finding]:
    """Check whether others on this machine may read or write the installation's files."""
    name, folder = "private", Path(settings.DATA_DIR)
    if not folder.is_dir():
        yield skipped(name, f"DATA_DIR {folder} is not there")
        return
    is_open = False
    for path, mode in open_to_others(folder, _elsewhere()):
        if path.name == ".env" and not mode & WRITABLE and not _holds_secret(path):
            continue
        is_open = True
        tell = failed if mode & stat.S_IRWXO else warned
        mends = f"run `chmod {usual_mode(folder, path):o} {path}`"
        yield tell(name, f"{path} has mode {mode:04o}: others on this machine can get at it", mends)
    if not is_open:
        yield fine(name, f"{folder} and the files of this installation are its user's only")


def _holds_secret(path: Path) -> bool:
    """Tell whether a file of settings has a value that others must not read, or cannot be read."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return True
    settings_of_file = (line.removeprefix("export ").partition("=") for line in _lines_of(text))
    return any(_is_secret(name.strip(), value.strip("\"' ")) for name, _, value in settings_of_file)


def _lines_of(text: str) -> Iterator[str]:
    lines = (line.strip() for line in text.splitlines())
    return (line for line in lines if line and not line.startswith("#"))


def _is_secret(name: str, value: str) -> bool:
    # Also of a name that is none of ours: whoever put it there has a use for it.
    words = name.upper().split("_")
    is_named_so = words[-1] != "FILE" and not SECRET_WORDS.isdisjoint(words)
    return bool(value) and (is_named_so or PASSWORD_IN_URL.search(value) is not None)


def _elsewhere() -> list[Path]:
    """Return what others must not get at either: of the bus, and what is not in ``DATA_DIR``."""
    env = settings.ENV
    files = [Path(settings.BASE_DIR) / ".env"]
    if settings.BUS_DIR is not None:
        files.append(Path(settings.BUS_DIR))
    if env.zmq_curve_key_file:
        files.append(Path(env.zmq_curve_key_file))
    if connection.vendor == "sqlite":
        database = Path(str(connection.settings_dict["NAME"]))
        if database.parent != Path(settings.DATA_DIR):
            files += [database, *(Path(f"{database}-{beside}") for beside in ("wal", "shm"))]
    return files


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
