"""Several gateway processes behind one pair of ports.

Each process listens on sockets of its own (``SO_REUSEPORT``) and Linux deals the connections out.
With one socket for all of them an idle process that is quick to accept gets nearly every client.
A dead process's sockets are gone with it, so the others get what comes meanwhile; only a connection
that waits at the dying one is reset, and its client connects again. This process only
holds the ports. Nothing else is shared: each process has its own bus subscriber, its own hub and
its own id at the workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openalgo_site.processes.ready_pipe import ready_pipe
from openalgo_site.processes.stopping import stop_signals
from openalgo_site.processes.supervisor import ChildSpec, Supervisor
from streaming.gateway.server import listen

__all__ = ["ENV_SIBLINGS", "listen_beside_others", "serve_processes"]

# Where the processes of one gateway find each other's metrics, and which of them this one is.
ENV_SIBLINGS = "TICKPOOL_GATEWAY_SIBLINGS"
GRACE_SECONDS = 8.0


def serve_processes(
    *,
    count: int,
    manage: Path,
    host: str,
    port: int,
    openalgo_port: int,
    say: Callable[[str], None],
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Keep ``count`` gateway processes running until SIGINT, SIGTERM or SIGHUP.

    ``on_ready`` is called once, when all of them serve. They are drained then, for less than 10
    seconds; a second signal ends them at once. They die with this process, however it ends.

    Raises:
        PortTakenError: one of the two ports is in use; nothing was started.
        ChildFailedError: a process cannot be started, and trying again would not mend that.
    """
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(_hold(host, port, "PORT")),
            stack.enter_context(_hold(host, openalgo_port, "OPENALGO_PORT")),
        ]
        ports = [one.getsockname()[1] for one in held]
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tickpool-gateway-"))
        asyncio.run(_supervise(count, manage, host, ports, Path(folder), say, on_ready))


async def _supervise(
    count: int,
    manage: Path,
    host: str,
    ports: Sequence[int],
    folder: Path,
    say: Callable[[str], None],
    on_ready: Callable[[], None],
) -> None:
    supervisor = Supervisor(say=say)
    stop = asyncio.Event()
    names = [f"gateway-{number}" for number in range(1, count + 1)]

    def drain() -> None:
        say("gateways: stopping")
        stop.set()

    def force() -> None:
        say("gateways: stopping at once")
        supervisor.kill()

    with ready_pipe(count) as (ready_fd, all_ready), stop_signals(drain, force):
        for number, name in enumerate(names, 1):
            supervisor.start(_child(name, number, manage, host, ports, folder, ready_fd))
        waiting = {
            asyncio.create_task(stop.wait(), name="gateways.stop"),
            asyncio.create_task(supervisor.failure(), name="gateways.failure"),
        }
        started = asyncio.create_task(all_ready.wait(), name="gateways.ready")
        try:
            await asyncio.wait({*waiting, started}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                supervisor.settled()
                say(f"gateway: {count} processes, site on port {ports[0]}, OpenAlgo on {ports[1]}")
                on_ready()
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in waiting:
                if task.done():
                    task.result()
        finally:
            for task in (*waiting, started):
                task.cancel()
            await asyncio.wait({*waiting, started})
            await supervisor.stop([names], grace_seconds=GRACE_SECONDS)


def _child(
    name: str,
    number: int,
    manage: Path,
    host: str,
    ports: Sequence[int],
    folder: Path,
    ready_fd: int,
) -> ChildSpec:
    return ChildSpec(
        name=name,
        argv=(
            sys.executable,
            str(manage),
            "rungateway",
            "--skip-checks",  # the parent has made them
            "--host",
            host,
            "--port",
            str(ports[0]),
            "--openalgo-port",
            str(ports[1]),
            "--beside-others",
            str(number),
            "--ready-fd",
            str(ready_fd),
        ),
        env={**os.environ, "PYTHONUNBUFFERED": "1", ENV_SIBLINGS: f"{folder}:{number}"},
        pass_fds=(ready_fd,),
    )


def _hold(host: str, port: int, variable: str) -> socket.socket:
    """Return a socket that keeps the port for our processes and takes no connection itself.

    Raises:
        PortTakenError: somebody listens there, another gateway of several processes included.
    """
    with listen(host, port, variable) as probe:
        port = probe.getsockname()[1]
    return _bound(host, port)


def listen_beside_others(host: str, port: int) -> socket.socket:
    """Return a listening socket on a port that a gateway's parent holds.

    Raises:
        OSError: the port is not held for this user.
    """
    listener = _bound(host, port)
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound
