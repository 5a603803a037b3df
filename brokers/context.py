"""The pooled creation context: how an adapter finds the sink that it publishes to.

A pool builds its adapters inside ``pooled_creation(sink)``; an adapter built there publishes to
that sink and opens nothing of its own, whatever its constructor forwards. An adapter built outside
gets a sink of its own from the factory that the bus registers. A ``ContextVar`` makes this hold per
thread and per task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from brokers.types import TickSink

__all__ = ["current_sink", "pooled_creation", "set_standalone_sink_factory", "standalone_sink"]

_sink: ContextVar[TickSink | None] = ContextVar("tickpool_sink", default=None)
_factory: Callable[[str], TickSink] | None = None


@contextmanager
def pooled_creation(sink: TickSink) -> Iterator[None]:
    """Make adapters built in this block publish to ``sink``. Blocks nest; the inner one wins."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


def current_sink() -> TickSink | None:
    """Return the sink of the enclosing ``pooled_creation`` block, or None outside of any."""
    return _sink.get()


def set_standalone_sink_factory(factory: Callable[[str], TickSink] | None) -> None:
    """Register how to make a sink for an adapter of the named broker that has no pool."""
    global _factory  # one process-wide composition point, set once at start
    _factory = factory


def standalone_sink(broker: str) -> TickSink:
    """Make a sink for an adapter built outside of a pool.

    Raises:
        RuntimeError: no bus has registered a factory in this process.
    """
    if _factory is None:
        raise RuntimeError(
            f"adapter {broker!r} was built outside of a pool and no bus is configured; "
            "build it inside pooled_creation(sink) or pass sink="
        )
    return _factory(broker)
