"""Real servers for tests: PostgreSQL in a cluster of its own, PgBouncer in front of it, Redis.

A missing one skips the test and names the command that installs it; with ``CI=true`` it fails.
"""

from __future__ import annotations

import contextlib
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

__all__ = [
    "PgBouncer",
    "PostgresServer",
    "RedisServer",
    "own_redis",
    "pgbouncer",
    "postgres",
    "postgres_url",
    "redis_url",
    "require",
]


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


class PostgresServer:
    """A PostgreSQL server with a cluster of its own; its failures are verbs."""

    def __init__(self) -> None:
        initdb, postgres = _postgres_binary("initdb"), _postgres_binary("postgres")
        require("PostgreSQL", initdb and postgres, "apt-get install -y postgresql")
        assert initdb is not None
        assert postgres is not None
        self._postgres = postgres
        self._folder = Path(tempfile.mkdtemp(prefix="tickpool-postgres-", dir="/tmp"))
        if _as_postgres():
            shutil.chown(self._folder, "postgres", "postgres")
        self._data = str(self._folder / "data")
        self.port = free_port()
        self._server: subprocess.Popen[bytes] | None = None
        create = [initdb, "-D", self._data, "-U", "tester", "-A", "trust", "--no-sync"]
        subprocess.run([*_as_postgres(), *create], check=True, capture_output=True, cwd="/")

    @property
    def url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["-D", self._data, "-p", str(self.port), "-h", "127.0.0.1"]
        options += ["-k", str(self._folder), "-c", "fsync=off", "-c", "max_connections=60"]
        self._server = subprocess.Popen(
            [*_as_postgres(), self._postgres, *options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        eventually_sync(lambda: answers(self.url), timeout=90, message="PostgreSQL did not start")

    def stop(self) -> None:
        """Stop it, ending its connections. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.send_signal(signal.SIGCONT)
        self.resume()
        # runuser passes the signal on; PostgreSQL's fast shutdown is SIGINT.
        stop = [_postgres_binary("pg_ctl") or "pg_ctl", "-D", self._data, "-m", "fast", "stop"]
        subprocess.run([*_as_postgres(), *stop], capture_output=True, check=False, cwd="/")
        server.wait(timeout=60)

    def hang(self) -> None:
        """Take connections and bytes, and answer nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Answer again, also what came meanwhile."""
        self._signal(signal.SIGCONT)
        if self._server is not None:
            self._server.send_signal(signal.SIGCONT)  # runuser stops with its child

    def remove(self) -> None:
        """Stop it and delete its files."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        main = int(Path(self._data, "postmaster.pid").read_text().split()[0])
        os.kill(main, number)  # first, so that nobody is added to the list
        for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)


class PgBouncer:
    """A PgBouncer in front of a PostgreSQL server, pooling by transaction."""

    def __init__(self, server: PostgresServer, *, size: int = 3) -> None:
        binary = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
        require("PgBouncer", binary, "apt-get install -y pgbouncer")
        assert binary is not None
        self._folder = Path(tempfile.mkdtemp(prefix="tickpool-pgbouncer-", dir="/tmp"))
        self.port = free_port()
        users, settings = self._folder / "users.txt", self._folder / "pgbouncer.ini"
        users.write_text('"tester" ""\n')
        settings.write_text(
            f"[databases]\n* = host=127.0.0.1 port={server.port}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"unix_socket_dir =\nauth_type = trust\nauth_file = {users}\n"
            f"pool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 200\n"
            "server_login_retry = 1\n"
        )
        if _as_postgres():
            for path in (self._folder, users, settings):
                shutil.chown(path, "postgres", "postgres")
        self._process = subprocess.Popen(
            [*_as_postgres(), binary, "-q", str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
        eventually_sync(lambda: answers(self.url), timeout=60, message="PgBouncer did not start")

    @property
    def url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"

    def remove(self) -> None:
        """Stop it and delete its files."""
        self._process.terminate()
        self._process.wait(timeout=60)
        shutil.rmtree(self._folder, ignore_errors=True)


def answers(url: str) -> bool:
    """Tell whether a PostgreSQL server answers a query."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Start PostgreSQL and return the URL of an empty database in it."""
    server = PostgresServer()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """Start a server of the module's own, which may be stopped and hung."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def pgbouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    """Start PgBouncer in front of the module's own server."""
    bouncer = PgBouncer(postgres)
    try:
        yield bouncer
    finally:
        bouncer.remove()


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
