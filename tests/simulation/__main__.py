"""Play seeds: ``python -m tests.simulation --seeds 1000 --start 0``; ``--seed 17 -v`` replays."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.simulation.month import count_roll_overs, make_month, make_rotation
from tests.simulation.schedule import make_plan
from tests.simulation.world import play


def main() -> int:
    """Play the seeds asked for; returns 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to play")
    parser.add_argument("--start", type=int, default=0, help="the first one")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--seconds", type=float, help="virtual length of each schedule")
    parser.add_argument("--days", type=int, help="play so many whole days instead of schedules")
    parser.add_argument("--rotation", action="store_true", help="play planned rotations only")
    parser.add_argument("--plain", action="store_true", help="only the faults of FAULT_VERBS")
    parser.add_argument("--loads", action="store_true", help="masters are loaded, too")
    parser.add_argument("-v", action="store_true", help="print everything that happens")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    seeds = range(options.start, options.start + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    started, virtual, slowest, failed = time.monotonic(), 0.0, 0.0, []
    for seed in seeds:
        plan = make_plan(
            seed, seconds=options.seconds, is_plain=options.plain, has_loads=options.loads
        )
        if options.days:
            plan = make_month(seed, days=options.days)
        if options.rotation:
            plan = make_rotation(seed)
        if options.v:
            say(f"{plan}")
        report = play(plan, say if options.v else None)
        virtual += report.virtual_seconds
        slowest = max(slowest, report.settled_after)
        if options.days or options.rotation:
            say(
                f"seed {seed}: {count_roll_overs(plan)} roll-overs, {report.ticks} ticks, "
                f"{report.attempts} connects, {report.stats.reconnects if report.stats else 0} "
                f"reconnects, {report.forced} forced in a closed market"
            )
        if report.violations:
            failed.append(seed)
            say(f"seed {seed} failed: {'; '.join(report.violations[:3])}")
    took = time.monotonic() - started
    rate = len(seeds) / took * 60
    say(f"VERDICT {len(seeds)} seeds in {took:.1f} s ({rate:.0f} a minute), failed: {failed}")
    say(f"{virtual / 3600:.1f} virtual hours, longest recovery {slowest:.1f} s")
    return 1 if failed else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
