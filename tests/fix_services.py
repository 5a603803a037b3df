"""Real servers for tests: PostgreSQL in a cluster of its own, Redis on a port of its own.

A missing one skips the test and names the command that installs it; with ``CI=true`` it fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support import eventually_sync, free_port

__all__ = ["RedisServer", "own_redis", "postgres_url", "redis_url", "require"]


def require(what: str, found: object, install: str) -> None:
    """Skip the test, or in CI fail it, when ``found`` is nothing."""
    if found:
        return
    sentence = f"{what} is not installed: {install}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def _postgres_binary(name: str) -> str | None:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(versions[-1]) if versions else None)


def _as_postgres() -> list[str]:
    """Return how to start a command as somebody whom PostgreSQL accepts: never root."""
    return ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start PostgreSQL and return the URL of an empty database in it."""
    initdb, postgres = _postgres_binary("initdb"), _postgres_binary("postgres")
    require("PostgreSQL", initdb and postgres, "apt-get install -y postgresql")
    assert initdb is not None
    assert postgres is not None
    as_postgres = _as_postgres()
    folder = Path(tempfile.mkdtemp(prefix="tickpool-postgres-", dir="/tmp"))
    if as_postgres:
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    data = str(folder / "data")
    create = [*as_postgres, initdb, "-D", data, "-U", "tester", "-A", "trust", "--no-sync"]
    subprocess.run(create, check=True, capture_output=True, cwd="/")
    options = ["-c", "fsync=off", "-c", "max_connections=30", "-k", str(folder), "-h", "127.0.0.1"]
    server = subprocess.Popen(
        [*as_postgres, postgres, "-D", data, "-p", str(port), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )
    url = f"postgresql://tester@127.0.0.1:{port}/postgres"

    def answers() -> bool:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        eventually_sync(answers, timeout=90, message="PostgreSQL did not start")
        yield url
    finally:
        # runuser passes the signal on; PostgreSQL's fast shutdown is SIGINT.
        subprocess.run(
            [
                *as_postgres,
                _postgres_binary("pg_ctl") or "pg_ctl",
                "-D",
                data,
                "-m",
                "fast",
                "stop",
            ],
            capture_output=True,
            check=False,
            cwd="/",
        )
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


class RedisServer:
    """A Redis without persistence on a port of its own, which can be ended in several ways."""

    def __init__(self, folder: Path) -> None:
        binary = shutil.which("redis-server")
        require("Redis", binary, "apt-get install -y redis-server")
        assert binary is not None
        self.port = free_port()
        self._command = [
            binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(folder),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it serves; with nothing of what it knew."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually_sync(self._answers, timeout=60, message="Redis did not start")

    def kill(self) -> None:
        """End at once, as a crash does. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=60)

    def hang(self) -> None:
        """Keep every connection and answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End the hanging."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link:
                link.sendall(b"PING\r\n")
                return link.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start Redis and return its URL."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server.url
    server.kill()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test's own, not yet started."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()
