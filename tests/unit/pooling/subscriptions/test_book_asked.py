"""The book is asked; nobody outside its room reaches through it, or holds one of its parts."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
ROOM = "pooling/subscriptions"
# What the book has inside, by class and by file.
PARTS = {"Allocator", "Tracker", "Rebalancer", "Reconciler", "Mover"}
# What the book's own rebalancer, moves and renaming ask of it, and nobody else.
INSIDE = {"record", "perform", "place", "displaced", "replaced", "dropped", "refill"} | {
    "reconciler",
    "changed",
}
# The book's values, and the two concepts of its own with their questions and their verbs.
WITH_MORE = {"limits", "slots", "moves", "renaming"}


def is_book(node: ast.AST) -> bool:
    """Tell whether an expression is a book: ``book``, ``self._book``, ``parts.book``."""
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return isinstance(node, ast.Name | ast.Attribute) and name in ("book", "_book")


def reached_through(source: str) -> Iterator[str]:
    """Yield what reaches through a book, with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            ROOM.replace("/", ".")
        ):
            yield from (f"{node.lineno}: {a.name}" for a in node.names if a.name in PARTS)
        if not isinstance(node, ast.Attribute):
            continue
        if is_book(node.value) and (node.attr.startswith("_") or node.attr in INSIDE):
            yield f"{node.lineno}: {ast.unparse(node)}"
        held = node.value
        if (
            isinstance(held, ast.Attribute)
            and is_book(held.value)
            and (held.attr not in WITH_MORE or node.attr.startswith("_"))
        ):
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_nobody_reaches_through_the_book():
    outside = (
        path
        for path in sorted((ROOT / "pooling").rglob("*.py"))
        if not path.is_relative_to(ROOT / ROOM)
    )
    found = {
        str(path.relative_to(ROOT)): lines
        for path in outside
        if (lines := list(reached_through(path.read_text())))
    }
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "self._book._tracker.get(key)",
        "book._allocator",
        "parts.book._rebalancer.waiting",
        "self._book.tracker.held",
        "self._book.waiting.add(key)",
        "self._book.moves._allocator",
        "self._book.record(plan)",
        "self._parts.book.reconciler(1).sent",
        "from pooling.subscriptions.tracker import Tracker",
    ],
)
def test_the_search_finds_what_reaches_through(line):
    assert list(reached_through(line))


@pytest.mark.parametrize(
    "line",
    [
        "self._book.is_confirmed(key)",
        "book.limits.max_connections",
        "self._book.moves.retire(1)",
        "self._book.slots[1].used",
        "from pooling.subscriptions.reconciler import Batch",
    ],
)
def test_a_question_is_no_reach(line):
    assert not list(reached_through(line))
