"""A pool's parts: made once, joined wholly, and guarded by one lock that is born in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from brokers.testing import RecordingSink
from pooling.clock import SystemClock
from pooling.pool.build import BuiltPool, build_pool
from pooling.testing import (
    FakeBroker,
    InMemoryAccountStore,
    MiddleOfRange,
    make_adapter_class,
)
from tests.unit.pooling.kit import spec

ROOMS = [Path(__file__).resolve().parents[4] / "pooling" / name for name in ("pool", "exclusive")]


async def nothing() -> None:
    pass


def built() -> BuiltPool:
    account = spec()
    return build_pool(
        spec=account,
        adapter_class=make_adapter_class(),
        sink=RecordingSink(),
        store=InMemoryAccountStore(account),
        clock=SystemClock(),
        rng=MiddleOfRange(),
        connector=FakeBroker(),
        on_event=lambda event: None,
        on_note=lambda kind, message: None,
        prepare=nothing,
        pulse=None,
    )


def declared(one: object) -> Iterator[str]:
    """Yield the attributes that a class only declares: somebody else has to set them."""
    yield from (name for name in type(one).__annotations__ if not hasattr(type(one), name))


def test_every_circle_is_closed():
    pool = built()
    late = {
        f"{type(part).__name__}.{name}": hasattr(part, name)
        for part in (pool.runtime, pool.seats, pool.parts.table, pool.feed, pool.exclusive)
        for name in declared(part)
    }
    assert {"PoolRuntime.feed", "AccountSeats._lock", "ConnectionTable.on_closed"} <= late.keys()
    assert [name for name, is_set in late.items() if not is_set] == []


def test_all_are_given_the_same_lock():
    pool = built()
    holders = (pool.runtime, pool.seats, pool.feed, pool.operator)
    assert all(holder._lock is pool.parts.lock for holder in holders)


def locks_made(source: str) -> int:
    """Return in how many places a lock of threads is made; one that is named as a type is not."""
    tree = ast.parse(source)
    types = {id(n.annotation) for n in ast.walk(tree) if isinstance(n, ast.AnnAssign | ast.arg)}
    named = (n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and id(n) not in types)
    return sum(ast.unparse(node) in ("threading.Lock", "threading.RLock") for node in named)


def test_a_lock_is_born_with_the_parts_alone():
    files = [path for room in ROOMS for path in sorted(room.glob("*.py"))]
    born = {path.name: made for path in files if (made := locks_made(path.read_text()))}
    assert born == {"parts.py": 1}


def test_the_search_finds_a_second_lock():
    assert locks_made("self._lock = threading.Lock()") == 1
    assert locks_made("lock: threading.Lock = field(default_factory=threading.RLock)") == 1
    assert locks_made("class A:\n    _lock: threading.Lock\ndef f(lock: threading.Lock): ...") == 0
