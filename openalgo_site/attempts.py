"""How often something was tried of late, counted by all processes of an installation together.

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
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["SharedAttempts", "TooManyAttemptsError"]

logger = logging.getLogger("openalgo_site")

WINDOW_SECONDS = 60.0
MOST_ROWS = 50_000  # the oldest are forgotten beyond, which makes the limits milder
LOCK_SECONDS = 2.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (attempt TEXT NOT NULL, bucket BLOB NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS attempts_by_bucket ON attempts (bucket, at);
"""


class TooManyAttemptsError(Exception):
    """A bucket is full; ``seconds`` says how long."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"try again in {seconds} seconds")
        self.seconds = seconds


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

    def reserve(self, limits: Mapping[str, int]) -> str:
        """Count one attempt in each bucket, and return its name for ``release``.

        Args:
            limits: how many attempts a minute each bucket takes.

        Raises:
            TooManyAttemptsError: one of them is full; nothing was counted.
        """
        attempt, now = os.urandom(16).hex(), self._clock()
        buckets = {self._digest(name): most for name, most in limits.items()}

        def count(connection: sqlite3.Connection) -> None:
            # A clock that was set back must not keep anybody out for longer than a minute.
            connection.execute(
                "DELETE FROM attempts WHERE at <= ? OR at > ?", (now - WINDOW_SECONDS, now + 1.0)
            )
            connection.execute(
                "DELETE FROM attempts WHERE rowid <= (SELECT max(rowid) FROM attempts) - ?",
                (MOST_ROWS,),
            )
            full = [_full_since(connection, bucket, most) for bucket, most in buckets.items()]
            until = [began + WINDOW_SECONDS for began in full if began is not None]
            if until:
                raise TooManyAttemptsError(max(1, math.ceil(max(until) - now)))
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

    def close(self) -> None:
        """Forget what was counted without the file. Idempotent."""
        with self._lock:
            alone, self._alone = self._alone, None
            if alone is not None:
                alone.close()

    def _digest(self, name: str) -> bytes:
        text = name.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=16).digest()

    def _within(self, act: Callable[[sqlite3.Connection], object]) -> None:
        """Run ``act`` in a transaction that keeps all other processes out."""
        with self._lock:
            try:
                connection = self._open_file()
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    _committed(connection, act)
                finally:
                    connection.close()
            except (OSError, sqlite3.Error) as error:
                if self._alone is None:
                    words = "%s cannot be used, each process counts logins alone: %s"
                    logger.warning(words, self._path, error)
                    self._alone = _connect(":memory:")
                self._alone.execute("BEGIN")
                _committed(self._alone, act)

    def _open_file(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        return _connect(str(self._path))


def _committed(connection: sqlite3.Connection, act: Callable[[sqlite3.Connection], object]) -> None:
    try:
        act(connection)
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
