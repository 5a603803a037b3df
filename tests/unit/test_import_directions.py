"""The rule book of imports: which room may import which, which room acts, how large a room may be.

One table for all four packages. A room is a folder, or a single module that joins rooms and is
named with them. Imports for typing count too: they bind just as much. To add a room, write it into
``ROOMS`` with what it may import; to add an arrow, ask first whether it should not run the other
way.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("brokers", "pooling", "streaming", "openalgo_site")

# What every room of a higher package may import of ``brokers``: its values and its contract.
_VALUES = "brokers brokers.times brokers.masters"

# Room -> the rooms that it may import beside itself. ``*`` stands for all rooms of a package.
ROOMS: dict[str, str] = {
    # brokers
    "brokers": "brokers.times",
    "brokers.registry": "brokers.angel brokers.binance brokers.dhan brokers.fyers brokers.upstox "
    "brokers.zerodha brokers.login brokers",
    "brokers.endpoints": "brokers",
    "brokers.logs": "",
    "brokers.masters": "brokers",
    "brokers.times": "",
    "brokers.login": "brokers brokers.endpoints brokers.logs brokers.times",
    **dict.fromkeys(
        [
            f"brokers.{name}"
            for name in ("_template", "angel", "binance", "dhan", "fyers", "upstox", "zerodha")
        ],
        f"brokers.login brokers.endpoints {_VALUES}",
    ),
    "brokers.simulator": _VALUES,
    "brokers.simulator.login": f"brokers.simulator {_VALUES}",
    **dict.fromkeys(
        [
            f"brokers.simulator.{name}"
            for name in ("angel", "binance", "dhan", "fyers", "upstox", "zerodha")
        ],
        f"brokers.simulator brokers.simulator.login {_VALUES}",
    ),
    "brokers.simulator.runner": f"brokers.simulator brokers.simulator.* {_VALUES}",
    # pooling
    "pooling": f"pooling.keys brokers.endpoints {_VALUES}",
    "pooling.conf": f"brokers.login pooling pooling.http brokers.registry {_VALUES}",
    "pooling.checks": "pooling pooling.conf pooling.keys brokers brokers.endpoints",
    "pooling.keys": "brokers brokers.logs",
    "pooling.subscriptions": "pooling brokers brokers.logs",
    "pooling.connectors": f"pooling brokers.endpoints {_VALUES}",
    "pooling.connection": "pooling pooling.subscriptions pooling.connectors brokers brokers.logs "
    "brokers.times",
    "pooling.exclusive": "pooling pooling.connection pooling.connectors brokers brokers.endpoints",
    "pooling.pool": "pooling pooling.subscriptions pooling.connection pooling.connectors "
    "pooling.exclusive brokers brokers.logs",
    "pooling.worker": "pooling pooling.subscriptions pooling.connection pooling.connectors "
    "pooling.exclusive pooling.pool brokers brokers.logs brokers.registry",
    "pooling.calendar": "brokers.times",
    "pooling.login": "pooling.calendar pooling pooling.http brokers brokers.login brokers.logs "
    "brokers.times",
    "pooling.http": f"pooling pooling.connectors brokers.endpoints {_VALUES}",
    "pooling.models": "pooling.calendar pooling.login brokers.login pooling pooling.conf "
    "pooling.keys "
    f"brokers.endpoints {_VALUES}",
    "pooling.instruments": f"pooling pooling.conf pooling.http pooling.models {_VALUES}",
    "pooling.store": "pooling.calendar pooling.login brokers.login pooling pooling.conf "
    "pooling.keys "
    "pooling.models pooling.instruments "
    f"{_VALUES}",
    "pooling.operations": "pooling.login brokers.login pooling pooling.conf pooling.keys "
    "pooling.models "
    "pooling.subscriptions brokers brokers.logs brokers.registry brokers.times",
    "pooling.alerts": "pooling pooling.conf pooling.keys pooling.models pooling.operations "
    "pooling.store brokers brokers.endpoints brokers.logs brokers.times",
    "pooling.admin": "pooling.login pooling pooling.conf pooling.keys pooling.models "
    "pooling.operations "
    f"pooling.store pooling.alerts pooling.admin.forms pooling.admin.lists {_VALUES}",
    "pooling.admin.forms": "pooling pooling.conf pooling.keys pooling.models pooling.operations "
    f"pooling.store pooling.subscriptions pooling.admin.lists {_VALUES}",
    "pooling.admin.lists": f"pooling pooling.conf pooling.models pooling.operations {_VALUES}",
    "pooling.templatetags": "pooling.admin pooling.admin.forms pooling.admin.lists",
    "pooling.testing": "pooling.calendar pooling.http pooling.login brokers.login pooling "
    "pooling.connectors "
    "brokers",
    # streaming
    "streaming": "brokers",
    "streaming.apps": "streaming streaming.wire streaming.worker brokers",
    "streaming.urls": "streaming.gateway",
    "streaming.ports": "streaming brokers",
    "streaming.wire": "streaming streaming.ports brokers brokers.endpoints",
    "streaming.worker": "streaming streaming.ports streaming.wire brokers",
    "streaming.link": "streaming streaming.ports streaming.wire brokers brokers.times",
    "streaming.protocol": "streaming streaming.ports brokers",
    "streaming.shares": "streaming streaming.protocol",
    "streaming.edge": "streaming streaming.protocol",
    "streaming.clients": "streaming streaming.ports streaming.protocol brokers brokers.logs "
    "brokers.times",
    "streaming.fanout": "streaming streaming.ports streaming.protocol streaming.wire "
    "streaming.shares streaming.clients brokers brokers.logs brokers.times",
    "streaming.monitoring": "streaming streaming.protocol streaming.link streaming.clients "
    "streaming.fanout brokers brokers.logs",
    "streaming.gateway": "streaming streaming.ports streaming.protocol streaming.wire "
    "streaming.link streaming.shares streaming.edge streaming.clients streaming.fanout "
    "streaming.monitoring streaming.models brokers brokers.endpoints brokers.logs",
    "streaming.models": f"streaming {_VALUES}",
    "streaming.admin": f"streaming streaming.models {_VALUES}",
    "streaming.testing": "streaming streaming.ports streaming.wire streaming.monitoring brokers",
    # openalgo_site
    "openalgo_site": "",
    "openalgo_site.settings": "openalgo_site.config streaming pooling brokers brokers.logs",
    "openalgo_site.checks": "openalgo_site.config openalgo_site.login pooling streaming brokers "
    "brokers.endpoints",
    "openalgo_site.asgi": "openalgo_site openalgo_site.config openalgo_site.adapters "
    "openalgo_site.login openalgo_site.turns openalgo_site.web openalgo_site.web.status "
    "streaming streaming.*",
    "openalgo_site.urls": "openalgo_site.login openalgo_site.web openalgo_site.web.*",
    "openalgo_site.config": "brokers brokers.endpoints brokers.logs",
    "openalgo_site.adapters": f"pooling pooling.* streaming streaming.* {_VALUES}",
    "openalgo_site.login": "openalgo_site.config pooling pooling.* streaming streaming.* brokers "
    "brokers.endpoints",
    "openalgo_site.turns": "openalgo_site.config openalgo_site.login streaming streaming.*",
    "openalgo_site.cli": "brokers.login openalgo_site pooling pooling.* streaming streaming.* "
    "brokers "
    "brokers.times",
    "openalgo_site.processes": "openalgo_site.config pooling pooling.* streaming streaming.* "
    f"brokers.registry {_VALUES}",
    "openalgo_site.web": "openalgo_site.config openalgo_site.adapters openalgo_site.turns "
    f"openalgo_site.processes pooling pooling.* streaming streaming.* {_VALUES}",
    "openalgo_site.web.account": "openalgo_site.adapters openalgo_site.login openalgo_site.web "
    f"streaming streaming.* {_VALUES}",
    "openalgo_site.web.brokers": "openalgo_site.config openalgo_site.web pooling pooling.* "
    f"brokers.login {_VALUES}",
    "openalgo_site.web.status": "openalgo_site.web pooling pooling.* streaming streaming.* "
    f"{_VALUES}",
    "openalgo_site.doctor": "openalgo_site.config openalgo_site.adapters openalgo_site.login "
    "openalgo_site.cli openalgo_site.processes openalgo_site.web pooling pooling.* streaming "
    f"streaming.* brokers.endpoints {_VALUES}",
    "openalgo_site.demo": "openalgo_site.config openalgo_site.processes pooling pooling.* "
    "streaming streaming.* brokers brokers.*",
    "openalgo_site.formats": "",
    "openalgo_site.formats.en": "",
    "openalgo_site.postgresql": "",
    "openalgo_site.management": "",
    "openalgo_site.management.commands": "openalgo_site openalgo_site.* pooling pooling.* "
    "streaming streaming.* brokers brokers.*",
}

# Outside packages that only some rooms may import.
ONLY_IN = {
    "zmq": ("streaming.wire", "streaming.link", "streaming.worker"),
    "uvicorn": ("streaming.edge", "streaming.gateway"),
}
# Rooms that know nothing of Django.
WITHOUT_DJANGO = (
    "brokers",
    "pooling.subscriptions",
    "pooling.connectors",
    "pooling.connection",
    "pooling.exclusive",
    "pooling.pool",
    "pooling.worker",
    "pooling.http",
    "streaming.wire",
    "streaming.worker",
    "streaming.link",
    "streaming.protocol",
    "streaming.shares",
    "streaming.clients",
    "streaming.fanout",
    "streaming.ports",
)
MAX_MODULES = 15
MAX_LINES = 600


def room_of(name: str, rooms: Mapping[str, str] = ROOMS) -> str | None:
    """Return the room of a module, or of a name in one; None for what is not ours."""
    if name.partition(".")[0] not in PACKAGES:
        return None
    while name and name not in rooms:
        name = name.rpartition(".")[0]
    return name


def allows(room: str, other: str) -> bool:
    if room == other:
        return True
    for allowed in ROOMS[room].split():
        if allowed == other or (allowed.endswith(".*") and other.startswith(allowed[:-1])):
            return True
    return False


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        # ``from pooling import conf`` names a module, ``from pooling.conf import X`` what is in it.
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def forbidden(path: str, source: str) -> Iterator[str]:
    """Yield each import of ``source`` that a module at ``path`` may not make, with its line."""
    room = room_of(module_name(path))
    assert room is not None
    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            other = room_of(name)
            if other is not None and not allows(room, other):
                yield f"{path}:{node.lineno} imports {name}"  # type: ignore[attr-defined]
            top = name.partition(".")[0]
            if top in ONLY_IN and room not in ONLY_IN[top]:
                yield f"{path}:{node.lineno} imports {name}"  # type: ignore[attr-defined]
            if top in ("django", "channels") and is_without_django(room):
                yield f"{path}:{node.lineno} imports {name}"  # type: ignore[attr-defined]


def is_without_django(room: str) -> bool:
    return any(room == each or room.startswith(each + ".") for each in WITHOUT_DJANGO)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def modules() -> Iterator[str]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path.relative_to(ROOT).as_posix()


def test_the_tree_keeps_the_directions() -> None:
    found = [line for path in modules() for line in forbidden(path, (ROOT / path).read_text())]
    assert found == []


def test_every_folder_is_a_room_of_the_table() -> None:
    folders = {module_name(path.rpartition("/")[0] + "/__init__.py") for path in modules()}
    # A folder that only holds one that is a room.
    assert folders - set(ROOMS) == set()


def test_the_table_names_what_exists() -> None:
    names = {module_name(path) for path in modules()}
    assert {room for room in ROOMS if room not in names} == set()


def test_the_table_has_no_circle() -> None:
    """A room never imports, by whatever way, one that imports it; what joins rooms is no room."""
    arrows = {
        room: {other for other in ROOMS if other != room and allows(room, other)} for room in ROOMS
    }
    known = set[str]()
    while len(known) < len(arrows):
        ready = {room for room in arrows if room not in known and arrows[room] <= known}
        assert ready, f"a circle among {sorted(set(arrows) - known)}"
        known |= ready


def test_a_room_has_about_a_dozen_files() -> None:
    sizes = Counter(
        path.rpartition("/")[0] for path in modules() if not path.endswith("__init__.py")
    )
    assert {room: size for room, size in sizes.items() if size > MAX_MODULES} == {}


def test_a_file_has_at_most_600_lines() -> None:
    lines = {path: len((ROOT / path).read_text().splitlines()) for path in modules()}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}


def test_nothing_is_imported_relatively() -> None:
    """A relative import would slip past the check above."""
    relative = [
        path
        for path in modules()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_nothing_but_its_command_imports_the_demo() -> None:
    users = {
        path
        for path in modules()
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        for name in imported(node)
        if room_of(name) == "openalgo_site.demo" and not path.startswith("openalgo_site/demo/")
    }
    assert users <= {"openalgo_site/management/commands/demo.py"}


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("brokers/x.py", "import pooling.pool.pool"),
        ("brokers/types.py", "from brokers.zerodha.codec import decode"),
        ("brokers/x.py", "from streaming.wire import topics"),
        ("brokers/zerodha/x.py", "import brokers.angel.codec"),
        ("brokers/angel/x.py", "import brokers.simulator.market"),
        ("pooling/x.py", "def f():\n    from streaming.wire.topics import topic"),
        ("pooling/x.py", "if TYPE_CHECKING:\n    import openalgo_site.settings"),
        ("pooling/subscriptions/x.py", "from pooling.pool.feed import PoolFeed"),
        ("pooling/connection/x.py", "from pooling.models import PoolConfig"),
        ("pooling/pool/x.py", "from django.db import models"),
        ("pooling/worker/x.py", "import channels.layers"),
        ("streaming/protocol/x.py", "from streaming.fanout import hub"),
        ("streaming/fanout/x.py", "from streaming.link.zmq_feed_link import Link"),
        ("streaming/fanout/x.py", "import zmq"),
        ("streaming/clients/x.py", "import uvicorn"),
        ("streaming/clients/x.py", "from streaming.edge.uvicorn_frames import FRAMES_EXTENSION"),
        ("streaming/x.py", "from pooling.models import PoolConfig"),
        ("openalgo_site/config/x.py", "import openalgo_site.web.api"),
        ("openalgo_site/processes/x.py", "from openalgo_site.demo.main import run"),
        ("openalgo_site/web/x.py", "from openalgo_site.cli import base"),
    ],
)
def test_the_check_bites(path: str, source: str) -> None:
    assert list(forbidden(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pooling/pool/x.py", "from brokers.types import Tick"),
        ("streaming/fanout/x.py", "import brokers.pool_service"),
        ("streaming/link/x.py", "import zmq"),
        ("openalgo_site/asgi.py", "from openalgo_site.web.bodies import Bodies"),
        ("openalgo_site/management/commands/runpool.py", "import streaming.worker.publisher"),
        ("pooling/worker/x.py", "from pooling.pool import pool"),
        ("brokers/x.py", "import poolingtools"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert not list(forbidden(path, source))
