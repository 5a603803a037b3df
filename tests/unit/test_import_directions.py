"""Imports run one way: openalgo_site → pooling, streaming → brokers.

``pooling`` and ``streaming`` never import each other, nor anything above them; only the management
commands compose them. Imports for typing count too: they bind just as much.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("brokers", "pooling", "streaming", "openalgo_site")

MAY_IMPORT = {
    "brokers": {"brokers"},
    "pooling": {"brokers", "pooling"},
    "streaming": {"brokers", "streaming"},
    "openalgo_site": set(PACKAGES),
}
# The composition roots: a command joins real brokers, pool, bus and database.
COMPOSITION_ROOTS = ("pooling/management/commands/", "streaming/management/commands/")


def forbidden(path: str, source: str) -> Iterator[str]:
    """Yield each import of ``source`` that a module at ``path`` may not make, with its line."""
    if path.startswith(COMPOSITION_ROOTS):
        return
    package = path.partition("/")[0]
    for node in ast.walk(ast.parse(source)):
        for name in imported(node):
            top = name.partition(".")[0]
            if top in PACKAGES and top not in MAY_IMPORT[package]:
                yield f"{path}:{node.lineno} imports {name}"  # type: ignore[attr-defined]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level and node.module:
        return [node.module]
    return []


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def test_the_tree_keeps_the_directions() -> None:
    found = [
        line
        for path in modules()
        for line in forbidden(path.relative_to(ROOT).as_posix(), path.read_text())
    ]
    assert found == []


def test_nothing_is_imported_relatively() -> None:
    """A relative import would slip past the check above."""
    relative = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("brokers/x.py", "import pooling.pool"),
        ("brokers/x.py", "from streaming import topics"),
        ("pooling/x.py", "def f():\n    from streaming.topics import topic"),
        ("pooling/x.py", "if TYPE_CHECKING:\n    import openalgo_site.settings"),
        ("streaming/x.py", "from pooling.models import PoolConfig"),
        ("streaming/management/x.py", "import pooling"),
    ],
)
def test_the_check_bites(path: str, source: str) -> None:
    assert list(forbidden(path, source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("pooling/x.py", "from brokers.types import Tick"),
        ("streaming/x.py", "import brokers.feed"),
        ("openalgo_site/urls.py", "import pooling, streaming, brokers"),
        ("pooling/management/commands/runpool.py", "import streaming.publisher"),
        ("brokers/x.py", "import poolingtools"),
    ],
)
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert not list(forbidden(path, source))
