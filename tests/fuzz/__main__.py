"""``python -m tests.fuzz [BROKER…] [--cases N] [--seed N]``: many broken frames, one line each."""

from __future__ import annotations

import argparse
import random
import sys
import time
from importlib import import_module

from tests.fuzz.mutations import fuzz

BROKERS = ("angel",)


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__)
    parser.add_argument("brokers", nargs="*", metavar="BROKER", default=BROKERS)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    for broker in chosen.brokers:
        target = import_module(f"tests.fuzz.{broker}_frames")
        started = time.monotonic()
        refused, ticks = fuzz(
            target.seeds(), target.decode, rng=random.Random(chosen.seed), count=chosen.cases
        )
        sys.stdout.write(
            f"{broker}: {chosen.cases:,} frames, {refused:,} refused, {ticks:,} ticks, "
            f"{time.monotonic() - started:.0f} s\n"
        )


main()
