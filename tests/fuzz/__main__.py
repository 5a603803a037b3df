"""``python -m tests.fuzz [BROKER…] [--cases N] [--seed N]``: many broken frames, one line each."""

from __future__ import annotations

import argparse
import random
import sys
import time

from tests.fuzz.mutations import fuzz
from tests.fuzz.targets import TARGETS


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("brokers", nargs="*", metavar="BROKER", help=", ".join(TARGETS))
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    if strangers := set(chosen.brokers) - set(TARGETS):
        parser.error(f"no such broker: {', '.join(sorted(strangers))}; known: {', '.join(TARGETS)}")
    for broker in chosen.brokers or TARGETS:
        target = TARGETS[broker]()
        started = time.monotonic()
        rng = random.Random(chosen.seed)
        refused, ticks = fuzz(target.seeds, target.decode, rng=rng, count=chosen.cases)
        sys.stdout.write(
            f"{broker}: {chosen.cases:,} frames, {refused:,} refused, {ticks:,} ticks, "
            f"{time.monotonic() - started:.0f} s\n"
        )
        sys.stdout.flush()


main()
