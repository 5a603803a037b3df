"""Everything that runs below the clients: servers, exchanges, worker, gateways."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from brokers.times.market_clock import INDIA
from tests.soak.clients import User
from tests.soak.market import names_of, tradable
from tests.soak.processes import ManagedProcess, answer_of, module_answer, run_manage
from tests.soak.samples import metric, sample
from tests.soak.servers import Nginx, PgBouncer, Postgres, Redis
from tests.soak.verdict import Sample
from tests.support import free_port

__all__ = ["Exchange", "Gateway", "System"]

_CONTROL_TOKEN = "soak-control"
_METRICS_KEY = "the-soak-reads-metrics"
_NAMES_OF_A_USER = 60
_SYMBOLS_PER_CONNECTION = 100
_GATEWAYS = 2
# The user, their broker, and the first of the names that they have to themselves.
_USERS = (("ada", "zerodha", 0), ("bea", "zerodha", 30), ("cyd", "angel", 60))
_CREDENTIALS = {
    "zerodha": {"api_key": "soak-key", "access_token": "first-token"},
    "angel": {
        "api_key": "soak-key",
        "client_code": "S1",
        "access_token": "first-token",
        "feed_token": "soak-feed",
    },
}


class Exchange(ManagedProcess):
    """A local exchange whose prices are stamped with its number."""

    def __init__(self, number: int, broker: str, rate: float, folder: Path) -> None:
        self.number, self.broker, self.port = number, broker, free_port()
        arguments = {
            "--broker": broker,
            "--port": str(self.port),
            "--rate": f"{rate:g}",
            "--stamp": str(number),
            "--access-token": "first-token",
        }
        super().__init__(
            f"exchange-{number}",
            ["manage.py", "runsimulator", *(part for each in arguments.items() for part in each)],
            {
                "SIMULATOR_CONTROL_TOKEN": _CONTROL_TOKEN,
                "SIMULATOR_LOGIN_PORT": str(free_port()),
                "DATA_DIR": str(folder / "exchange"),
                "DATABASE_URL": "",
                "REDIS_URL": "",
                "LOG_FORMAT": "json",
            },
            folder / f"exchange-{number}.log",
        )

    @property
    def endpoint(self) -> str:
        path = "/smart-stream" if self.broker == "angel" else ""
        return f"ws://127.0.0.1:{self.port}{path}"

    async def do(self, verb: str) -> None:
        """Call a verb, with its parameters in its query. Raises RuntimeError where it fails."""
        url = f"http://127.0.0.1:{self.port}/control/{verb}"
        headers = {"X-Control-Token": _CONTROL_TOKEN}
        status, text = await asyncio.to_thread(answer_of, url, headers)
        if status != 200:
            raise RuntimeError(f"{self.name} {verb}: {status} {text}")


class Gateway(ManagedProcess):
    """One gateway with two ports of its own behind the front."""

    def __init__(self, number: int, environment: dict[str, str], folder: Path) -> None:
        self.port, self.openalgo_port = free_port(), free_port()
        ports = {"PORT": str(self.port), "OPENALGO_PORT": str(self.openalgo_port)}
        super().__init__(
            f"gateway-{number}",
            ["manage.py", "rungateway"],
            environment | ports,
            folder / f"gateway-{number}.log",
        )

    async def serves(self) -> None:
        """Wait until it serves and a worker answers it."""
        await self.answers(f"http://127.0.0.1:{self.port}/readyz", '"workers": 1')

    async def sample(self) -> Sample | None:
        """Return what it uses now; None while it does not answer."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        headers = {"Authorization": f"Bearer {_METRICS_KEY}"}
        status, text = await asyncio.to_thread(answer_of, url, headers)
        if status != 200 or self.process is None:
            return None
        tasks, clients = metric(text, "tickpool_tasks"), metric(text, "tickpool_clients")
        return sample(self.name, self.process.pid, tasks=tasks, clients=clients)


class System:
    """All of it; enter it with ``async with``.

    ``users`` are those of the clients; ``exchanges`` are in the same order.
    """

    def __init__(self, folder: Path, *, rate: float) -> None:
        self.folder = folder
        self.today = datetime.now(INDIA).date()  # as the exchange's listing has it
        self.postgres, self.pgbouncer = Postgres(folder), PgBouncer(folder)
        self.redis, self.nginx = Redis(folder), Nginx(folder)
        self.environment = {
            "DATA_DIR": str(folder / "data"),
            "DATABASE_URL": self.pgbouncer.url,
            "REDIS_URL": self.redis.url,
            "ZMQ_PORT": str(free_port()),
            "LOG_FORMAT": "json",
            "GATEWAY_WORKERS": "1",
            "TRUSTED_PROXIES": "127.0.0.1",
            "METRICS_KEY": _METRICS_KEY,
            "PYTHONUNBUFFERED": "1",
        }
        self.exchanges = [
            Exchange(number, broker, rate, folder)
            for number, (_, broker, _) in enumerate(_USERS, 1)
        ]
        self._tasks_file = folder / "worker-tasks"
        self.worker = ManagedProcess(
            "worker",
            ["-m", "tests.soak.counted_worker", str(self._tasks_file)],
            self.environment,
            folder / "worker.log",
        )
        self.gateways = [
            Gateway(number, self.environment, folder) for number in range(1, _GATEWAYS + 1)
        ]
        self.users: Sequence[User] = ()
        self.all_names = {broker: names_of(broker, self.today) for broker in ("zerodha", "angel")}
        self._exits = AsyncExitStack()

    @property
    def site(self) -> str:
        return f"127.0.0.1:{self.nginx.port}"

    @property
    def openalgo(self) -> str:
        return f"127.0.0.1:{self.nginx.openalgo_port}"

    @property
    def gateway_names(self) -> dict[str, str]:
        """Which gateway is behind an address that the front names."""
        return {
            f"127.0.0.1:{port}": each.name
            for each in self.gateways
            for port in (each.port, each.openalgo_port)
        }

    @property
    def logs(self) -> dict[str, Path]:
        """The logs of the project's own processes."""
        return {each.name: each.log for each in (*self.gateways, self.worker, *self.exchanges)}

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exits.aclose()

    async def _open(self) -> None:
        (self.folder / "data").mkdir()
        (self.folder / "exchange").mkdir()
        for server in (self.postgres, self.pgbouncer, self.redis, self.nginx):
            self._exits.push_async_callback(server.stop)
        await self.postgres.start()
        await self.pgbouncer.start(self.postgres)
        await self.redis.start()
        for exchange in self.exchanges:
            self._exits.push_async_callback(exchange.end)
            await exchange.start()
        for exchange in self.exchanges:
            await exchange.answers(f"http://127.0.0.1:{exchange.port}/health")
        await self._prepare()
        for process in (self.worker, *self.gateways):
            self._exits.push_async_callback(process.end)
            await process.start()
        for gateway in self.gateways:
            await gateway.serves()
        await self.nginx.start(
            [each.port for each in self.gateways], [each.openalgo_port for each in self.gateways]
        )

    async def _prepare(self) -> None:
        wanted: list[dict[str, Any]] = []
        for (name, broker, start), exchange in zip(_USERS, self.exchanges, strict=True):
            names = tradable(self.all_names[broker], _NAMES_OF_A_USER, start)
            wanted.append(
                {
                    "name": name,
                    "password": secrets.token_urlsafe(12),
                    "broker": broker,
                    "endpoint": exchange.endpoint,
                    "credentials": _CREDENTIALS[broker],
                    "symbols_per_connection": _SYMBOLS_PER_CONNECTION,
                    "list": names[:10] if name == _USERS[0][0] else [],
                }
            )
        made = await module_answer(
            self.environment, "tests.soak.installation", "prepare", users=wanted
        )
        self.users = [
            User(
                name=each["name"],
                password=each["password"],
                key=made[each["name"]]["key"],
                pool=made[each["name"]]["pool"],
                number=exchange.number,
                names=tradable(self.all_names[each["broker"]], _NAMES_OF_A_USER, start),
            )
            for each, (_, _, start), exchange in zip(wanted, _USERS, self.exchanges, strict=True)
        ]
        for broker in ("zerodha", "angel"):
            await self.load(broker)

    async def load(self, broker: str, master: Path | None = None) -> None:
        """Load a broker's instruments: the exchange's own, or a file."""
        path = (
            "/instruments"
            if broker == "zerodha"
            else ("/OpenAPI_File/files/OpenAPIScripMaster.json")
        )
        port = next(each.port for each in self.exchanges if each.broker == broker)
        url = f"http://127.0.0.1:{port}{path}"
        source = ("--file", str(master)) if master else ("--url", url)
        await run_manage(self.environment, "loadinstruments", "--broker", broker, *source)

    async def store(self, user: User, broker: str, access_token: str) -> None:
        """Store a new access token for a user's account, as a login does."""
        values = {**_CREDENTIALS[broker], "access_token": access_token}
        await self._by_hand("credentials", pool=user.pool, values=values)

    async def switch(self, user: User, *, on: bool) -> None:
        """Switch a user's account on or off."""
        await self._by_hand("enabled", pool=user.pool, value=on)

    async def _by_hand(self, verb: str, **given: object) -> None:
        await module_answer(self.environment, "tests.soak.installation", verb, **given)

    async def sample(self) -> list[Sample]:
        """Return what the processes use now; one that does not answer is left out."""
        found = [await gateway.sample() for gateway in self.gateways]
        if self.worker.process is not None and self.worker.process.returncode is None:
            tasks = self._tasks_file.read_text() if self._tasks_file.exists() else ""
            pid = self.worker.process.pid
            found.append(sample("worker", pid, tasks=int(tasks or -1)))
        return [each for each in found if each is not None]
