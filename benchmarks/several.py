"""Two gateway processes behind one port, and what a tick costs that nobody here wants."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from benchmarks.bare_stack import BareStack, accounts, judged, limited_by, running_bare_stack
from benchmarks.harness import RUNS, SECONDS, Result, median
from brokers.types import FeedMode

__all__ = ["several", "unwanted"]


_OFFERED = 1000.0


async def several() -> AsyncIterator[Result]:
    """100 x 100 by one process and by two, saturated and at a fixed rate; none is pinned.

    On a machine without cores to spare saturation shows nothing: publisher and load want them as
    well. The fixed rate does: what the busiest process takes of a core is what bounds a gateway
    that has cores enough.
    """
    mode, rates, shares = FeedMode.QUOTE, [], []
    for workers in (1, 2):
        async with running_bare_stack(workers=workers, is_gateway_pinned=False) as stack:
            await stack.connect(100, 100, mode)
            runs = await stack.runs(RUNS, SECONDS, mode)
            before, began = stack.gateway.cpu_seconds_by_process(), time.monotonic()
            steady = await stack.runs(RUNS, SECONDS, mode, rate=_OFFERED)
            after, seconds = stack.gateway.cpu_seconds_by_process(), time.monotonic() - began
            await stack.disconnect()
        figures = accounts(runs)
        rates.append(figures["delivered_per_s"])
        yield Result(
            f"rungateway --workers {workers}: 100 x 100, Quote, saturated, not pinned",
            {**figures, "over_one_worker": rates[-1] / rates[0]},
            correct=all(run.is_right for run in runs),
            notes=judged(runs, f"publisher, load and gateways share all cores; {limited_by(runs)}"),
            runs=RUNS,
        )
        shares.append(max(after[one] - before.get(one, 0.0) for one in after) / seconds)
        yield Result(
            f"rungateway --workers {workers}: 100 x 100, Quote, {_OFFERED:,.0f} ticks/s",
            {
                "delivered_per_s": median([run.per_s for run in steady]),
                "busiest_process_busy": shares[-1],
                "over_one_worker": shares[-1] / shares[0],
            },
            correct=all(run.is_right for run in steady),
            notes=judged(steady, "the share of a core that the busiest gateway process took"),
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
