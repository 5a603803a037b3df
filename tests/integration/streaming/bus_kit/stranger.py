"""Another account of this machine, with nothing of the installation in hand: run as a process.

It is told where everything is and what bytes would be believed, which anybody can find out.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import zmq

NOBODY = 65_534
_SECONDS = 1.0


def _become_another() -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _attempt(act: Any) -> str:
    """Return how it ended: the error's name, or ``done``."""
    try:
        act()
    except OSError as error:
        return type(error).__name__
    return "done"


def _connect(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(str(path))


def _bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _heard(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> int:
    """Return how many messages a subscriber to everything gets."""
    with context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.LINGER, 0)
        reader.setsockopt(zmq.SUBSCRIBE, b"")
        reader.connect(endpoint)
        return int(reader.poll(int(_SECONDS * 1000)))


def look(folder: Path, port: int, names: list[str]) -> dict[str, Any]:
    """Try every way in: to hear, to ask, and to put oneself in the worker's place."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    report = {
        "list": _attempt(lambda: os.listdir(folder)),
        "connect": [_attempt(lambda name=name: _connect(folder / name)) for name in names],
        "bind": _attempt(lambda: _bind(folder / "9.ticks")),
        "unlink": [_attempt(lambda name=name: os.unlink(folder / name)) for name in names],
        "rename": _attempt(lambda: os.rename(folder, f"{folder}-away")),
        "lock": _attempt(lambda: (folder / f"{port}.lock").open("w")),
        "files heard": [_heard(context, f"ipc://{folder / name}") for name in names],
        "port heard": _heard(context, f"tcp://127.0.0.1:{port}"),
    }
    context.term()
    return report


def forge(port: int, messages: list[bytes]) -> None:
    """Stand on the port as a publisher and say ``messages`` to whoever comes, until the input
    ends; then say how many came.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context.socket(zmq.XPUB) as publisher:
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.bind(f"tcp://127.0.0.1:{port}")
        _say("bound")
        came = 0
        poller = zmq.Poller()
        poller.register(publisher, zmq.POLLIN)
        poller.register(sys.stdin.fileno(), zmq.POLLIN)
        while True:
            ready = dict(poller.poll(50))
            if publisher in ready:
                came += publisher.recv()[:1] == b"\x01"
            if sys.stdin.fileno() in ready:
                break
            for message in messages:
                publisher.send(message)
    context.term()
    _say(str(came))


def _main() -> None:
    job = json.loads(sys.argv[1])
    _become_another()
    if job["do"] == "look":
        _say(json.dumps(look(Path(job["folder"]), job["port"], job["names"])))
    else:
        forge(job["port"], [bytes.fromhex(each) for each in job["messages"]])


if __name__ == "__main__":
    _main()
