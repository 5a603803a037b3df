"""Pure modules decide, and import nothing that acts.

A room's pure modules are imported in a fresh interpreter in which the modules that act cannot be
imported by our code at all, and in which the network and framework ones must stay unloaded even
through what our code imports. A module that acts in a room that is pure is named with its room.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Room -> the modules of it that act. Every other module of it is pure, a new one too.
PURE_ROOMS = {
    "brokers": "",
    "brokers._template": "",
    "brokers.angel": "",
    "brokers.binance": "",
    "brokers.dhan": "",
    "brokers.endpoints": "",
    "brokers.fyers": "",
    "brokers.login": "",
    "brokers.logs": "",
    "brokers.masters": "",
    "brokers.times": "awake",
    "brokers.upstox": "",
    "brokers.zerodha": "",
    "pooling.calendar": "",
    "pooling.connection": "connection pacing pulse restart_switch task_failure watch",
    "pooling.subscriptions": "",
    "streaming.clients": "client revoked_clients senders slow_clients",
    "streaming.fanout": "exact_names hub line_watch pool_answers shrinking status_board suggesting",
    "streaming.link": "healing peer readers wants zmq_feed_link",
    "streaming.monitoring": "presence",
    "streaming.ports": "",
    "streaming.protocol": "",
    "streaming.wire": "address keys short_waits socket socket_files",
}
# Pure ones in rooms that act for the most part.
PURE_MODULES = [
    "openalgo_site.config.local_exchanges",
    "openalgo_site.config.public_url",
    "openalgo_site.turns.requests",
    "openalgo_site.web.status.history",
    "openalgo_site.web.status.shape",
    "pooling.alerts.addresses",
    "pooling.alerts.debounce",
    "pooling.alerts.message",
    "pooling.retry_waits",
    "pooling.connectors.circuit",
    "pooling.connectors.rate",
    "pooling.exceptions",
    "pooling.exclusive.options",
    "pooling.history",
    "pooling.http.policy",
    "pooling.http.stats",
    "pooling.instruments.names",
    "pooling.instruments.words",
    "pooling.lifecycle",
    "pooling.login.schedule",
    "pooling.login.states",
    "pooling.operations.pool_state",
    "pooling.pool.stats",
    "pooling.tables",
    "pooling.worker.refused",
    "pooling.worker.seat_sharing",
    "pooling.worker.shared_stats",
    "pooling.worker.untold",
    "streaming.addresses",
    "streaming.edge.frame_gate",
    "streaming.edge.large_messages",
    "streaming.edge.strangers",
    "streaming.gateway.origins",
    "streaming.edge_limits",
    "streaming.shares.budget",
    "streaming.turn_pacing",
]

# Run in the child: our modules may not import a blocked name, whoever else has already loaded it.
CHECK = """
import builtins, sys

ACTING = {"django", "channels", "asyncio", "zmq", "websockets", "socket", "threading", "time", "os"}
UNLOADED = {"django", "channels", "asyncio", "zmq", "websockets"}
OURS = ("brokers", "pooling", "streaming", "openalgo_site")
real_import = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    if importer.partition(".")[0] in OURS and name.partition(".")[0] in ACTING:
        raise ImportError(f"{importer} is pure and imports {name}")
    return real_import(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
for module in sys.argv[1:]:
    __import__(module)
loaded = sorted(UNLOADED & set(sys.modules))
if loaded:
    raise ImportError(f"one of {sys.argv[1:]} loads {', '.join(loaded)}")
"""


def check(root: Path, *modules: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHECK, *modules],
        cwd=root,
        env={"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


def pure_modules(root: Path, room: str, acting: str) -> list[str]:
    """Return the modules of a room, but for those that act; not those of rooms inside of it."""
    names = {path.stem for path in (root / room.replace(".", "/")).glob("*.py")}
    return [f"{room}.{name}" for name in sorted(names - {"__init__", *acting.split()})]


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_a_pure_room_imports_nothing_that_acts(room: str) -> None:
    result = check(ROOT, *pure_modules(ROOT, room, PURE_ROOMS[room]))
    assert result.returncode == 0, result.stderr.strip().splitlines()[-1]


def test_a_pure_module_imports_nothing_that_acts() -> None:
    result = check(ROOT, *PURE_MODULES)
    assert result.returncode == 0, result.stderr.strip().splitlines()[-1]


def test_the_rooms_name_what_exists() -> None:
    for room, acting in PURE_ROOMS.items():
        assert pure_modules(ROOT, room, acting), room
        for name in acting.split():
            assert (ROOT / room.replace(".", "/") / f"{name}.py").is_file(), f"{room}.{name}"


def test_a_new_module_of_a_pure_room_is_checked(tmp_path: Path) -> None:
    """Nobody has to enter it anywhere, and one that acts is caught behind ones that do not."""
    room = tmp_path / "pooling" / "calm"
    room.mkdir(parents=True)
    for path in (room.parent / "__init__.py", room / "__init__.py", room / "a.py", room / "b.py"):
        path.touch()
    assert pure_modules(tmp_path, "pooling.calm", "b") == ["pooling.calm.a"]
    assert check(tmp_path, *pure_modules(tmp_path, "pooling.calm", "")).returncode == 0
    (room / "b.py").write_text("import socket")
    result = check(tmp_path, *pure_modules(tmp_path, "pooling.calm", ""))
    assert "pooling.calm.b is pure" in result.stderr
    assert check(tmp_path, *pure_modules(tmp_path, "pooling.calm", "b")).returncode == 0


@pytest.mark.parametrize("source", ["import time", "from os import path", "import zmq.asyncio"])
def test_the_guard_bites(source: str, tmp_path: Path) -> None:
    """A module that acts is caught, so that a green table means something."""
    package = tmp_path / "pooling"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "impure.py").write_text(source)
    result = check(tmp_path, "pooling.impure")
    assert result.returncode != 0
    assert "pure" in result.stderr


def acting_names(source: str, class_name: str) -> set[str]:
    """Return what a class names that waits, acts, or reads a clock, although its module does so."""
    found = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef) and node.name == class_name
    ]
    assert len(found) == 1
    inside = list(ast.walk(found[0]))
    names = {node.id for node in inside if isinstance(node, ast.Name)}
    waits = {"await" for node in inside if isinstance(node, ast.Await | ast.AsyncFunctionDef)}
    return waits | names & {"asyncio", "logger", "logging", "os", "socket", "threading", "time"}


def test_the_ledger_of_lent_connections_decides_and_acts_not() -> None:
    """It stands beside the pool that it decides for, so that an ``acquire`` reads down."""
    source = (ROOT / "pooling/exclusive/pool.py").read_text()
    assert acting_names(source, "ExclusiveLedger") == set()
    assert acting_names(source, "ExclusivePool") == {"await", "asyncio", "logger"}
