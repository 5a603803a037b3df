"""``python -m tests.fuzz [NAME…] [--cases N] [--seed N]``: many broken frames, one line each."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz.bus import BUS_TARGETS
from tests.fuzz.edge_run import run_edge
from tests.fuzz.mutations import fuzz
from tests.fuzz.targets import TARGETS

EDGE = "edge"


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    known = [*TARGETS, *BUS_TARGETS, EDGE]
    parser.add_argument("brokers", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if strangers := set(chosen.brokers) - set(known):
        parser.error(f"no such broker: {', '.join(sorted(strangers))}; known: {', '.join(known)}")
    for broker in chosen.brokers or known:
        started = time.monotonic()
        if broker == EDGE:
            run_edge(seed=chosen.seed, frames=chosen.cases)
            continue
        rng = random.Random(chosen.seed)
        if broker in BUS_TARGETS:
            refused = BUS_TARGETS[broker](rng, chosen.cases)
            sys.stdout.write(
                f"{broker}: {chosen.cases:,} messages, {refused:,} refused, "
                f"{time.monotonic() - started:.0f} s\n"
            )
            sys.stdout.flush()
            continue
        target = TARGETS[broker]()
        refused, ticks = fuzz(target.seeds, target.decode, rng=rng, count=chosen.cases)
        sys.stdout.write(
            f"{broker}: {chosen.cases:,} frames, {refused:,} refused, {ticks:,} ticks, "
            f"{time.monotonic() - started:.0f} s\n"
        )
        sys.stdout.flush()


main()
