"""Every task has a name and an owner: what nobody keeps may vanish, and nobody sees it fail."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("brokers", "pooling", "streaming", "openalgo_site")


def faults(source: str) -> list[str]:
    """Return what is wrong with the tasks that a module makes, by line."""
    tree = ast.parse(source)
    dropped = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = []
    for call in calls(tree):
        if not any(keyword.arg == "name" for keyword in call.keywords):
            found.append(f"line {call.lineno}: a task without a name")
        if call in dropped:
            found.append(f"line {call.lineno}: a task that nobody keeps")
    return found


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name == "create_task":
                yield node


@pytest.mark.parametrize("package", PACKAGES)
def test_every_task_is_named_and_kept(package: str) -> None:
    modules = sorted((ROOT / package).rglob("*.py"))
    found = {str(path): wrong for path in modules if (wrong := faults(path.read_text()))}
    assert found == {}


def test_the_check_sees_what_it_is_for() -> None:
    assert faults("asyncio.create_task(work())") == [
        "line 1: a task without a name",
        "line 1: a task that nobody keeps",
    ]
    assert faults("loop.create_task(work(), name='x')") == ["line 1: a task that nobody keeps"]
    assert faults("self.task = create_task(work(), name='x')") == []
