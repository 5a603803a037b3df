"""The same work done by the obvious ways, in the same run, each on the gateway's core."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator

from benchmarks.bare_stack import BareStack, accounts, judged
from benchmarks.harness import RUNS, SECONDS, Child, Result, cores
from brokers.types import FeedMode

__all__ = ["references"]

_CLIENTS, _SYMBOLS = 100, 100
# Ticks under way. The slow ones get few, so that what is under way is delivered within seconds.
_WAYS = (
    ("picows, bare: one send per client", "reference_picows", "picows", 1000),
    ("websockets: json.dumps + send per client", "reference_json", "websockets", 200),
    ("Channels: group_send, in-memory layer", "reference_groups", "channels", 20),
)


async def references(stack: BareStack) -> AsyncIterator[Result]:
    """The gateway first, then the others; ``ours_over_it`` is the gateway's rate over theirs,
    ``its_cpu_over_ours`` their CPU per delivery over the gateway's.
    """
    mode = FeedMode.QUOTE
    await stack.connect(_CLIENTS, _SYMBOLS, mode)
    ours = accounts(await stack.runs(RUNS, SECONDS, mode))
    await stack.disconnect()
    for name, module, package, window in _WAYS:
        title = f"{_CLIENTS} x {_SYMBOLS} by {name}"
        if importlib.util.find_spec(package) is None:
            mend = f"{package} is missing: pip install -r requirements/dev.txt, or `make bench`"
            yield Result(title, {}, correct=False, notes=mend)
            continue
        yield await _reference(stack, title, module, window, ours)


async def _reference(stack: BareStack, title: str, module: str, window: int, ours: float) -> Result:
    mode = FeedMode.QUOTE
    server = Child(f"benchmarks.{module}", cores()[0], [stack.bus_endpoint, stack.pool_id])
    try:
        port = (await server.start())["port"]
        await stack.connect(_CLIENTS, _SYMBOLS, mode, port=port)
        runs = await stack.runs(RUNS, SECONDS, mode, server=server, window=window)
        await stack.disconnect()
    finally:
        await server.stop()
    figures = accounts(runs)
    return Result(
        title,
        {
            **figures,
            "ours_over_it": ours["delivered_per_s"] / max(figures["delivered_per_s"], 1.0),
            "its_cpu_over_ours": figures["us_per_delivery"] / max(ours["us_per_delivery"], 1e-3),
        },
        correct=all(run.is_right for run in runs),
        notes=judged(runs, "every client complete"),
        runs=RUNS,
    )
