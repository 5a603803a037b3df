"""Two gateway processes behind one port, and what a tick costs that nobody here wants."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

from benchmarks.bare_stack import BareStack, accounts, judged, limited_by, running_bare_stack
from benchmarks.harness import RUNS, SECONDS, Result, median
from benchmarks.quotas import CpuQuotas, QuotasUnavailableError, usable_quotas
from brokers.types import FeedMode

__all__ = ["several", "unwanted"]


_MODE = FeedMode.QUOTE
_OFFERED = 1000.0
# Of a core for each process: two of them leave publisher and load what they need of two cores.
_SHARE = 0.3


async def several() -> AsyncIterator[Result]:
    """100 x 100 by one process and by two; none is pinned.

    Saturated on a machine without cores to spare this shows nothing: publisher and load want them
    as well. So it is done again with each process limited to a part of a core; what two deliver
    over one is then what a second core adds. Where no such limit can be set it is a fixed rate,
    and what the busiest process takes of a core, which is what bounds a gateway.
    """
    layout, reason = None, ""
    try:
        layout = await usable_quotas()
    except QuotasUnavailableError as error:
        reason = str(error)
    saturated: list[float] = []
    others: list[float] = []
    for workers in (1, 2):
        title = f"rungateway --workers {workers}: 100 x 100, Quote"
        async with contextlib.AsyncExitStack() as exits:
            # Entered first: a group can only be removed when its processes have ended.
            quotas = layout and await exits.enter_async_context(CpuQuotas(layout))
            stack = await exits.enter_async_context(
                running_bare_stack(workers=workers, is_gateway_pinned=False)
            )
            await stack.connect(100, 100, _MODE)
            yield await _saturated(stack, title, saturated)
            if quotas is not None:
                yield await _limited(stack, quotas, title, others)
            else:
                yield await _steady(stack, reason, title, others)
            await stack.disconnect()


async def _saturated(stack: BareStack, title: str, rates: list[float]) -> Result:
    why = "publisher, load and gateways share all cores"
    return await _rated(stack, f"{title}, saturated, not pinned", why, rates)


async def _limited(stack: BareStack, quotas: CpuQuotas, title: str, rates: list[float]) -> Result:
    for process in stack.gateway.cpu_seconds_by_process():
        quotas.limit(process, _SHARE)
    why = "by the kernel's quota, server_busy in all"
    return await _rated(stack, f"{title}, saturated, {_SHARE:g} of a core each", why, rates)


async def _rated(stack: BareStack, name: str, why: str, rates: list[float]) -> Result:
    runs = await stack.runs(RUNS, SECONDS, _MODE)
    figures = accounts(runs)
    rates.append(figures["delivered_per_s"])
    return Result(
        name,
        {**figures, "over_one_worker": rates[-1] / rates[0]},
        correct=all(run.is_right for run in runs),
        notes=judged(runs, f"{why}; {limited_by(runs)}"),
        runs=RUNS,
    )


async def _steady(stack: BareStack, reason: str, title: str, shares: list[float]) -> Result:
    before, began = stack.gateway.cpu_seconds_by_process(), time.monotonic()
    runs = await stack.runs(RUNS, SECONDS, _MODE, rate=_OFFERED)
    after, seconds = stack.gateway.cpu_seconds_by_process(), time.monotonic() - began
    shares.append(max(after[one] - before.get(one, 0.0) for one in after) / seconds)
    return Result(
        f"{title}, {_OFFERED:,.0f} ticks/s",
        {
            "delivered_per_s": median([run.per_s for run in runs]),
            "busiest_process_busy": shares[-1],
            "over_one_worker": shares[-1] / shares[0],
        },
        correct=all(run.is_right for run in runs),
        notes=judged(
            runs,
            "the share of a core that the busiest gateway process took, "
            f"since no CPU quota can be set: {reason}",
        ),
        runs=RUNS,
    )


async def unwanted(stack: BareStack) -> AsyncIterator[Result]:
    """One client reads 10 of 10,000 symbols: the bus sends the gateway nothing of the others."""
    mode, rate, total = FeedMode.QUOTE, 50_000.0, 10_000
    await stack.connect(1, 10, mode, total=total)
    runs = await stack.runs(RUNS, SECONDS, mode, rate=rate)
    await stack.disconnect()
    yield Result(
        f"gateway: 1 client reads 10 of {total:,} symbols, {rate:,.0f} ticks/s published",
        {
            "delivered_per_s": median([run.per_s for run in runs]),
            "gateway_us_per_published_tick": median(
                [run.gateway_cpu * 1e6 / run.seconds / rate for run in runs]
            ),
            "server_busy": median([run.gateway_cpu / run.seconds for run in runs]),
            "others_busy": median([run.others_busy for run in runs]),
        },
        correct=all(run.is_right for run in runs),
        notes=judged(runs, "the client complete"),
        runs=RUNS,
    )
