"""Time of a simulation: it jumps to what is due next, and everything runs in one thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pooling.testing import VirtualTimeLoop

__all__ = ["SimulationLoop", "run_simulated"]

T = TypeVar("T")


class SimulationLoop(VirtualTimeLoop):
    """A ``VirtualTimeLoop`` without a second thread, so that nothing needs to wake it up."""

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Any = None
    ) -> asyncio.Handle:
        """Do as ``call_soon``: the only thread is the loop's own."""
        return self.call_soon(callback, *args, context=context)


def run_simulated(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` to its end on virtual time."""
    with asyncio.Runner(loop_factory=SimulationLoop) as runner:
        return runner.run(work)
