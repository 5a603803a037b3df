"""Runs a demo from start to end: children up, instruments in, announcement, and down again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import msgspec

from brokers.contract import BrokerAdapter
from brokers.endpoints.addresses import host_to_connect, netloc
from brokers.exceptions import BrokerUnavailableError
from openalgo_site.config.env import Environment
from openalgo_site.demo.announcement import Processes, Ready, announce
from openalgo_site.demo.installation import store_master
from openalgo_site.demo.secrets_file import DemoSecrets, write
from openalgo_site.processes.ready_pipe import ready_pipe
from openalgo_site.processes.stopping import stop_signals
from openalgo_site.processes.supervisor import ChildSpec, Supervisor
from pooling.instruments.download import download_master

__all__ = ["DemoPlan", "NotReadyError", "run_demo"]

READY_SECONDS = 90.0
POLL_SECONDS = 0.1
# Variables with something secret in them, and the only parts that have a use for it.
OWNED = {
    "DATABASE_URL": ("worker", "gateway"),
    "REDIS_URL": ("worker", "gateway"),
    "EMAIL_PASSWORD": ("worker",),
    "SIMULATOR_API_KEY": ("simulator",),
    "SIMULATOR_ACCESS_TOKEN": ("simulator",),
    "METRICS_KEY": ("gateway",),
    "SIMULATOR_CONTROL_TOKEN": ("simulator",),
}
STOP_ORDER = (("gateway", "worker"), ("simulator",))


class NotReadyError(Exception):
    """The parts did not come up in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """What this run of the demo starts, and where its instruments come from.

    ``master`` is a master that was downloaded before; None takes it from the simulator once that
    is up. ``simulator_arguments`` None starts no simulator.
    """

    base_dir: Path
    env: Environment
    adapter: type[BrokerAdapter]
    secrets: DemoSecrets
    secrets_path: Path
    simulator_arguments: tuple[str, ...] | None
    master: tuple[bytes, ...] | None = None

    def children(self, ready_fd: int) -> Iterator[ChildSpec]:
        """Yield what to start, in order; the gateway tells ``ready_fd`` when all of it serves."""
        if self.simulator_arguments is not None:
            yield self._child("simulator", "runsimulator", *self.simulator_arguments)
        yield self._child("worker", "runpool")
        yield self._child("gateway", "rungateway", "--ready-fd", str(ready_fd), fds=(ready_fd,))

    def _child(self, name: str, *arguments: str, fds: tuple[int, ...] = ()) -> ChildSpec:
        env = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if name == "simulator":
            given = self.env
            env["SIMULATOR_API_KEY"] = given.simulator_api_key or self.secrets.simulator_api_key
            env["SIMULATOR_ACCESS_TOKEN"] = (
                given.simulator_access_token or self.secrets.simulator_access_token
            )
        elif name == "gateway" and self.simulator_arguments is not None:
            broker = self.adapter.capabilities.name
            feed = f"ws://127.0.0.1:{self.env.simulator_port}"
            local = f"{broker}={feed} http://127.0.0.1:{self.env.simulator_login_port}"
            env["LOCAL_EXCHANGES"] = self.env.local_exchanges or local
        for variable, owners in OWNED.items():
            if name not in owners:
                env.pop(variable, None)
        return ChildSpec(
            name=name,
            argv=(sys.executable, str(self.base_dir / "manage.py"), *arguments),
            env=env,
            pass_fds=fds,
        )


async def run_demo(plan: DemoPlan, say: Callable[[str], None], started: float) -> None:
    """Run until a signal asks to stop. ``started`` is when this run began (``time.monotonic``).

    Raises:
        ChildFailedError: a part cannot be started.
        NotReadyError: a part did not answer in time.
        BrokerError: the simulator's instruments cannot be loaded.
    """
    supervisor = Supervisor(say=say)
    stop = asyncio.Event()

    def drain() -> None:
        stop.set()
        say("stopping")

    def force() -> None:
        say("stopping at once")
        supervisor.kill()

    with ready_pipe(1) as (ready_fd, gateway_serves), stop_signals(drain, force):
        try:
            for child in plan.children(ready_fd):
                supervisor.start(child)
            work = _bring_up(plan, supervisor, gateway_serves)
            ready = await _unless_stopped(work, supervisor, stop)
            if ready is not None:
                supervisor.settled()
                say(announce(ready, time.monotonic() - started))
                await stop.wait()
        finally:
            await supervisor.stop(STOP_ORDER)


async def _unless_stopped(
    work: Awaitable[Ready], supervisor: Supervisor, stop: asyncio.Event
) -> Ready | None:
    """Return what ``work`` returns, or None if a stop comes first; raise if a child fails first."""
    working = asyncio.ensure_future(work)
    stopped = asyncio.create_task(stop.wait(), name="demo.stopped")
    failing = asyncio.create_task(supervisor.failure(), name="demo.failure")
    tasks: set[asyncio.Future[object]] = {working, stopped, failing}  # type: ignore[arg-type]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return None
        if working.done():
            return working.result()
        await failing
        return None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _bring_up(plan: DemoPlan, supervisor: Supervisor, gateway_serves: asyncio.Event) -> Ready:
    env = plan.env
    async with httpx2.AsyncClient(timeout=2.0, trust_env=False) as client:
        master = plan.master
        simulator = plan.simulator_arguments is not None
        if simulator:
            http = f"http://127.0.0.1:{env.simulator_port}"
            await _answers(client, f"{http}/health", "the simulator", "SIMULATOR_PORT")
            if master is None:
                urls = plan.adapter.master_urls(http)
                master = await asyncio.to_thread(lambda: tuple(map(_download, urls)))
        if master is None:
            raise BrokerUnavailableError("there is no instruments master to load")
        secrets, count = await asyncio.to_thread(store_master, plan.secrets, plan.adapter, master)
        if secrets != plan.secrets:
            write(plan.secrets_path, secrets)
        host = host_to_connect(env.host)
        url = f"http://{netloc(host, env.port)}"
        # Of several processes behind the port each one is meant; an answer is any one's.
        await _all_serve(gateway_serves)
        await _answers(client, f"{url}/readyz", "the gateway with its worker", "PORT", _has_worker)
    return Ready(
        url=f"{url}/",
        openalgo_url=f"ws://{netloc(host, env.openalgo_port)}",
        admin_url=f"{url}/admin/",
        username=secrets.username,
        password=secrets.password,
        api_key=secrets.api_key,
        instruments=count,
        processes=Processes(
            worker=supervisor.pid("worker"),
            gateway=_gateways(supervisor.pid("gateway")),
            simulator=supervisor.pid("simulator") if simulator else None,
        ),
    )


async def _all_serve(gateway_serves: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(READY_SECONDS):
            await gateway_serves.wait()
    except TimeoutError:
        raise NotReadyError(f"the gateway does not serve after {READY_SECONDS:g} s") from None


def _gateways(pid: int) -> list[int]:
    """Return the processes that serve clients: those of several are children of the gateway."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # not Linux
        children = []
    return [int(child) for child in children] or [pid]


async def _answers(
    client: httpx2.AsyncClient,
    url: str,
    who: str,
    variable: str,
    is_ready: Callable[[httpx2.Response], bool] = lambda answer: True,
) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(httpx2.HTTPError):
            answer = await client.get(url)
            if answer.status_code == httpx2.codes.OK and is_ready(answer):
                return
        if time.monotonic() > deadline:
            raise NotReadyError(
                f"{who} is not ready after {READY_SECONDS:g} s at {url} ({variable})"
            )
        await asyncio.sleep(POLL_SECONDS)


def _has_worker(answer: httpx2.Response) -> bool:
    """Tell whether a gateway's readiness says that a worker is there."""
    try:
        return bool(msgspec.json.decode(answer.content, type=_Readiness).workers)
    except msgspec.MsgspecError:
        return False


class _Readiness(msgspec.Struct):
    workers: int = 0


def _download(url: str) -> bytes:
    with download_master(url) as file:
        return file.read()
