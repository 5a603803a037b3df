"""PostgreSQL, PgBouncer, Redis and nginx as processes of the run's own; each can restart."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import free_port

__all__ = ["MISSING", "Nginx", "PgBouncer", "Postgres", "Redis", "missing_programs", "port_answers"]

MISSING = "Not installed: {names}. On Debian, as root: scripts/install-test-services"
_START_SECONDS = 90.0


def _binary(name: str, folders: str) -> str:
    found = sorted(str(each) for each in Path("/").glob(folders.lstrip("/") + name))
    return found[-1] if found else shutil.which(name) or name


def missing_programs() -> list[str]:
    """Return the names of what a run needs and this machine does not have."""
    wanted = ["redis-server", "nginx", "pgbouncer", "initdb", "chromium"]
    folders = "/usr/lib/postgresql/*/bin/"
    return [
        name
        for name in wanted
        if not shutil.which(_binary(name, folders if name == "initdb" else "/usr/sbin/"))
    ]


def _nobody_special() -> dict[str, Any]:
    """Return how to start a process as somebody whom these servers accept: never root."""
    return {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}


async def port_answers(port: int, seconds: float = _START_SECONDS) -> None:
    """Wait until something listens. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing listens on port {port}") from None
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


class _Server:
    """A server in a folder of its own, with its output in a file there."""

    name = "server"
    is_for_nobody_special = False
    _ends_with = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        self.folder = folder / self.name
        self.folder.mkdir()
        self._hand_over(self.folder)
        self.port = free_port()
        self.process: Process | None = None

    def _hand_over(self, path: Path) -> None:
        """Let whoever the server runs as read and write ``path``, whatever mask made it."""
        if _nobody_special() and self.is_for_nobody_special:
            shutil.chown(path, "postgres", "postgres")

    async def _start(self, command: Sequence[str]) -> None:
        with (self.folder.parent / f"{self.name}.out").open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                *command,
                stdin=DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                start_new_session=True,
                **(_nobody_special() if self.is_for_nobody_special else {}),
            )
        await port_answers(self.port)

    async def kill(self, number: signal.Signals) -> None:
        """Send it and all that it started a signal that ends them, and wait for its end."""
        if self.process is not None and self.process.returncode is None:
            os.killpg(self.process.pid, number)
            await self.process.wait()

    async def stop(self) -> None:
        """End it and wait for its end."""
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(self._ends_with)
        try:
            await asyncio.wait_for(self.process.wait(), 60)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self.process.wait()


class Postgres(_Server):
    """A cluster with one superuser ``tester`` who needs no password."""

    name = "postgres"
    is_for_nobody_special = True
    _ends_with = signal.SIGINT  # fast: sessions are ended, not waited for

    async def start(self) -> None:
        """Make the cluster if there is none, and serve it."""
        data = self.folder / "data"
        folders = "/usr/lib/postgresql/*/bin/"
        if not data.exists():
            made = await asyncio.create_subprocess_exec(
                *(_binary("initdb", folders), "-D", str(data), "-U", "tester"),
                *("-A", "trust", "--no-sync"),
                stdout=DEVNULL,
                cwd="/",
                start_new_session=True,
                **_nobody_special(),
            )
            try:
                code = await made.wait()
            except asyncio.CancelledError:
                os.killpg(made.pid, signal.SIGKILL)
                await made.wait()
                raise
            if code:
                raise RuntimeError("initdb failed")
        options = ("fsync=off", "max_connections=60", f"unix_socket_directories={self.folder}")
        await self._start(
            [
                *(_binary("postgres", folders), "-D", str(data), "-p", str(self.port)),
                *("-h", "127.0.0.1"),
                *(part for option in options for part in ("-c", option)),
            ]
        )


class PgBouncer(_Server):
    """Transaction pooling in front of ``Postgres``; anybody is ``tester``."""

    name = "pgbouncer"
    is_for_nobody_special = True

    async def start(self, postgres: Postgres) -> None:
        config = self.folder / "pgbouncer.ini"
        config.write_text(
            f"""[databases]
postgres = host=127.0.0.1 port={postgres.port} dbname=postgres user=tester
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 200
default_pool_size = 20
server_login_retry = 1
ignore_startup_parameters = extra_float_digits
logfile = {self.folder}/pgbouncer.log
pidfile = {self.folder}/pgbouncer.pid
"""
        )
        self._hand_over(config)
        binary = _binary("pgbouncer", "/usr/sbin/")
        await self._start([binary, str(config)])

    @property
    def url(self) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/postgres"


class Redis(_Server):
    """Redis without persistence."""

    name = "redis"

    async def start(self) -> None:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        await self._start(
            ["redis-server", "--port", str(self.port), "--dir", str(self.folder), *options]
        )

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


class Nginx(_Server):
    """One front for the gateways: ``port`` the site, ``openalgo_port`` the SDKs.

    Each answer names in ``X-Gateway`` who gave it. Time-outs are nginx's own defaults.
    ``max_fails=0``: nginx counts the end of a socket as a failure of its gateway, and turns
    everybody away once it has counted one of each.
    """

    name = "nginx"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.openalgo_port = free_port()

    async def start(self, sites: Sequence[int], openalgo: Sequence[int]) -> None:
        self._config.write_text(self._text(sites, openalgo))
        await self._start([_binary("nginx", "/usr/sbin/"), *self._arguments])

    async def reload(self) -> None:
        """Read the configuration anew; sockets stay with the old process until they end."""
        again = await asyncio.create_subprocess_exec(
            _binary("nginx", "/usr/sbin/"), *self._arguments, "-s", "reload", stderr=DEVNULL
        )
        if await again.wait():
            raise RuntimeError("nginx did not reload")

    @property
    def _config(self) -> Path:
        return self.folder / "nginx.conf"

    @property
    def _arguments(self) -> list[str]:
        return ["-p", str(self.folder), "-c", str(self._config), "-e", "error.log"]

    def _text(self, sites: Sequence[int], openalgo: Sequence[int]) -> str:
        def upstream(name: str, ports: Sequence[int]) -> str:
            servers = " ".join(f"server 127.0.0.1:{port} max_fails=0;" for port in ports)
            return f"upstream {name} {{ {servers} }}"

        def server(port: int, name: str) -> str:
            return f"""server {{
    listen 127.0.0.1:{port};
    add_header X-Gateway $upstream_addr always;
    location / {{
        proxy_pass http://{name};
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection $connection_upgrade;
    }}
}}"""

        user = "user root;" if os.getuid() == 0 else ""
        return f"""daemon off;
{user}
worker_processes 1;
pid {self.folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
access_log off;
client_body_temp_path {self.folder}/body;
proxy_temp_path {self.folder}/proxy;
fastcgi_temp_path {self.folder}/fastcgi;
uwsgi_temp_path {self.folder}/uwsgi;
scgi_temp_path {self.folder}/scgi;
map $http_upgrade $connection_upgrade {{ default upgrade; '' close; }}
{upstream("site", sites)}
{upstream("openalgo", openalgo)}
{server(self.port, "site")}
{server(self.openalgo_port, "openalgo")}
}}
"""
