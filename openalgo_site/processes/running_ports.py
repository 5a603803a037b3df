"""The ports of a demo that runs now, told to commands of the next terminal.

``PORT=8010 make run`` is known to that shell only; whoever asks ``pool doctor`` in another one
means the demo that runs. So it leaves its addresses in ``DATA_DIR`` while it runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from openalgo_site.config.env import Environment

__all__ = ["RunningPorts", "as_running", "say_running"]

FILE_NAME = "demo-ports.json"


class RunningPorts(msgspec.Struct, frozen=True):
    """The addresses of a running demo; fields beside ``pid`` are those of ``Environment``."""

    pid: int
    host: str
    port: int
    openalgo_port: int
    zmq_host: str
    zmq_port: int
    simulator_port: int


@contextlib.contextmanager
def say_running(data_dir: Path, env: Environment) -> Iterator[None]:
    """Keep the addresses of ``env`` in a file while the context lasts.

    Raises:
        OSError: the file cannot be written.
    """
    path = data_dir / FILE_NAME
    facts = {name: getattr(env, name) for name in RunningPorts.__struct_fields__ if name != "pid"}
    path.write_bytes(msgspec.json.encode(RunningPorts(pid=os.getpid(), **facts)))
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def as_running(env: Environment, data_dir: Path) -> tuple[Environment, int | None]:
    """Return the environment with the addresses of a running demo, and its process id.

    Without one (no file, one that nobody can read, or its process is gone) it is ``env`` as it
    was, and None.
    """
    try:
        ports = msgspec.json.decode((data_dir / FILE_NAME).read_bytes(), type=RunningPorts)
        os.kill(ports.pid, 0)
    except (OSError, msgspec.MsgspecError, OverflowError):
        return env, None
    facts = msgspec.structs.asdict(ports)
    pid = facts.pop("pid")
    return msgspec.structs.replace(env, **facts), pid
