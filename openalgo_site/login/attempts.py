"""Counts of what was tried of late, kept by all processes of an installation together.

A small file of its own in ``DATA_DIR``, not a table: it must be there when the database is busy or
away, and every attempt of a stranger is a write.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

__all__ = ["Refusal", "SharedAttempts", "TooManyAttemptsError"]

logger = logging.getLogger("openalgo_site")

WINDOW_SECONDS = 60.0
MOST_ROWS = 50_000  # the oldest are forgotten beyond, which makes the limits milder
REFUSALS_KEPT_SECONDS = 24 * 3600.0
MOST_REFUSALS = 1_000  # buckets; those refused longest ago are forgotten beyond
LOCK_SECONDS = 2.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (attempt TEXT NOT NULL, bucket BLOB NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_bucket ON attempts (bucket, at);
CREATE TABLE IF NOT EXISTS refusals (bucket BLOB PRIMARY KEY, note TEXT NOT NULL,
    most INTEGER NOT NULL, refused INTEGER NOT NULL, first REAL NOT NULL, last REAL NOT NULL);
"""

T = TypeVar("T")


class TooManyAttemptsError(Exception):
    """A bucket is full; ``seconds`` says how long."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} seconds")
        self.seconds = seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A bucket that was found full within the last day. Times are seconds since the epoch.

    ``until`` is when there is room again, None: there is. ``bucket`` names it for ``forget``.
    """

    bucket: str
    note: str
    refused: int
    first: float
    last: float
    until: float | None


class SharedAttempts:
    """Attempts of the last minute by bucket. Safe from any thread and process.

    An attempt is counted when it begins, so that many at once are not judged by the same count.
    Names of buckets are kept as digests. While the file cannot be used each process counts alone.

    Args:
        path: the file; made when needed, for this user only.
        secret: keys the digests.
        clock: seconds since the epoch, which all processes share.
    """

    def __init__(self, path: Path, *, secret: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._key = hashlib.blake2b(secret.encode(), digest_size=32).digest()
        self._clock = clock
        self._lock = threading.Lock()
        # From the first time that the file could not be used.
        self._alone: sqlite3.Connection | None = None

    def reserve(self, limits: Mapping[str, int], notes: Mapping[str, str] | None = None) -> str:
        """Count one attempt in each bucket, and return its name for ``release``.

        Args:
            limits: how many attempts a minute each bucket takes.
            notes: what ``refusals`` tells of a bucket that was full; kept as it is.

        Raises:
            TooManyAttemptsError: one of them is full; nothing was counted.
        """
        attempt, now = os.urandom(16).hex(), self._clock()
        buckets = {self.digest(name): most for name, most in limits.items()}
        words = {self.digest(name): note for name, note in (notes or {}).items()}

        def count(connection: sqlite3.Connection) -> None:
            # A clock that was set back must not keep anybody out for longer than a minute.
            connection.execute(
                "DELETE FROM attempts WHERE at <= ? OR at > ?", (now - WINDOW_SECONDS, now + 1.0)
            )
            connection.execute(
                "DELETE FROM attempts WHERE rowid <= (SELECT max(rowid) FROM attempts) - ?",
                (MOST_ROWS,),
            )
            began = {
                bucket: since
                for bucket, most in buckets.items()
                if (since := _full_since(connection, bucket, most)) is not None
            }
            if began:
                rows = [(each, words.get(each, ""), buckets[each]) for each in began]
                _note_refusals(connection, rows, now)
                until = max(began.values()) + WINDOW_SECONDS
                raise TooManyAttemptsError(max(1, math.ceil(until - now)))
            connection.executemany(
                "INSERT INTO attempts VALUES (?, ?, ?)",
                [(attempt, bucket, now) for bucket in buckets],
            )

        self._within(count)
        return attempt

    def release(self, attempt: str) -> None:
        """Count an attempt no longer: it was none of a stranger."""
        self._within(
            lambda connection: connection.execute(
                "DELETE FROM attempts WHERE attempt = ?", (attempt,)
            )
        )

    def refusals(self) -> list[Refusal]:
        """Return what was refused within the last day, the newest first."""
        now = self._clock()

        def read(connection: sqlite3.Connection) -> list[Refusal]:
            rows = connection.execute(
                "SELECT bucket, note, most, refused, first, last FROM refusals "
                "WHERE last > ? ORDER BY last DESC",
                (now - REFUSALS_KEPT_SECONDS,),
            ).fetchall()
            found = []
            for bucket, note, most, refused, first, last in rows:
                since = _full_since(connection, bucket, most)
                until = None if since is None else since + WINDOW_SECONDS
                found.append(
                    Refusal(
                        bucket=bucket.hex(),
                        note=note,
                        refused=refused,
                        first=first,
                        last=last,
                        until=until if until is not None and until > now else None,
                    )
                )
            return found

        return self._within(read)

    def forget(self, bucket: str) -> None:
        """Count the attempts of a bucket no longer, in no other either; nor that it was full."""
        digest = bytes.fromhex(bucket)

        def delete(connection: sqlite3.Connection) -> None:
            connection.execute(
                "DELETE FROM attempts WHERE attempt IN "
                "(SELECT attempt FROM attempts WHERE bucket = ?)",
                (digest,),
            )
            connection.execute("DELETE FROM refusals WHERE bucket = ?", (digest,))

        self._within(delete)

    def close(self) -> None:
        """Forget what was counted without the file. Idempotent."""
        with self._lock:
            alone, self._alone = self._alone, None
            if alone is not None:
                alone.close()

    def digest(self, name: str) -> bytes:
        """Return what is kept of a name; it says nothing without the installation's secret."""
        text = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()

    def _within(self, act: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``act`` in a transaction that keeps all other processes out; return its value."""
        with self._lock:
            try:
                connection = self._open_file()
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    return _committed(connection, act)
                finally:
                    connection.close()
            except (OSError, sqlite3.Error) as error:
                if self._alone is None:
                    words = "%s cannot be used, each process counts logins alone: %s"
                    logger.warning(words, self._path, error)
                    self._alone = _connect(":memory:")
                self._alone.execute("BEGIN")
                return _committed(self._alone, act)

    def _open_file(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        return _connect(str(self._path))


def _committed(connection: sqlite3.Connection, act: Callable[[sqlite3.Connection], T]) -> T:
    try:
        return act(connection)
    finally:
        connection.execute("COMMIT")


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA synchronous=OFF")  # a minute's count may be lost with a machine
        connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _full_since(connection: sqlite3.Connection, bucket: bytes, most: int) -> float | None:
    """Return when the attempt was after whose minute there is room again; None: there is room."""
    rows = connection.execute(
        "SELECT at FROM attempts WHERE bucket = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
        (bucket, most - 1),
    ).fetchone()
    return None if rows is None else float(rows[0])


def _note_refusals(
    connection: sqlite3.Connection, rows: Sequence[tuple[bytes, str, int]], now: float
) -> None:
    connection.executemany(
        "INSERT INTO refusals VALUES (?, ?, ?, 1, ?, ?) ON CONFLICT (bucket) DO UPDATE SET "
        "note = excluded.note, most = excluded.most, refused = refused + 1, last = excluded.last",
        [(*row, now, now) for row in rows],
    )
    connection.execute(
        "DELETE FROM refusals WHERE last <= ? OR bucket IN "
        "(SELECT bucket FROM refusals ORDER BY last DESC LIMIT -1 OFFSET ?)",
        (now - REFUSALS_KEPT_SECONDS, MOST_REFUSALS),
    )
