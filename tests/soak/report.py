"""What a run leaves behind: ``report.json``, ``report.txt`` and ``chart.svg``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.soak.chart import Band, Mark, svg
from tests.soak.run import RunResult
from tests.soak.verdict import Sample

__all__ = ["as_json", "as_text", "write_report"]

_CHART_SECONDS = 5  # of ticks in one point


def write_report(folder: Path, result: RunResult) -> None:
    """Write the three files into a folder that is there."""
    (folder / "report.json").write_text(json.dumps(as_json(result), indent=1) + "\n")
    (folder / "report.txt").write_text(as_text(result))
    (folder / "chart.svg").write_text(chart(result))


def as_json(result: RunResult) -> dict[str, object]:
    """Return all figures; times are seconds from the beginning of the run."""
    return {
        "green": result.verdict.is_green,
        "seconds": round(result.ended - result.begun, 1),
        "crowd": result.crowd,
        "violations": dict(result.verdict.counts),
        "cases": result.verdict.cases,
        "ticks": result.ticks,
        "requests": result.requests,
        "explained_disconnects": result.explained,
        "growth": result.growth,
        "said": dict(result.said),
        "told": result.told,
        "events": [
            {
                "happening": each.happening.value,
                "target": each.target,
                "begin": round(each.begin - result.begun, 1),
                "end": round(each.end - result.begun, 1),
                "exchange": each.number,
                "error": each.error,
            }
            for each in result.events
        ],
        "samples": [
            each._replace(at=round(each.at - result.begun, 1))._asdict() for each in result.samples
        ],
    }


def as_text(result: RunResult) -> str:
    """Return the report for a person."""
    verdict = result.verdict
    lines = [
        f"{'GREEN' if verdict.is_green else 'RED'}: {result.ended - result.begun:.0f} s, "
        f"{result.ticks:,} ticks judged, {result.requests:,} requests",
        "",
        "Clients: " + ", ".join(f"{name} {value:g}" for name, value in result.crowd.items()),
        "",
        "Events:",
        *(
            f"  {each.begin - result.begun:7.1f} s  {each.happening.value} {each.target}".rstrip()
            + (f" (exchange {each.number})" if each.number else "")
            + f", {each.end - each.begin:.1f} s"
            + (f"; FAILED: {each.error}" if each.error else "")
            for each in result.events
        ),
        "",
        "Ends of sockets that an event explains:",
        *(f"  {count:5}  {cause}" for cause, count in sorted(result.explained.items())),
        "",
        "Growth over the last two thirds:",
        *(
            f"  {process:12}" + "".join(f"  {what} {share:+.1%}" for what, share in figures.items())
            for process, figures in result.growth.items()
        ),
        "",
        "Violations:" if verdict.counts else "Violations: none",
        *(f"  {count:7}  {kind}" for kind, count in verdict.counts.most_common()),
        "",
        *(f"  {case}" for case in verdict.cases),
    ]
    if result.said:
        lines += ["", "Said by clients:"]
        lines += [f"  {count:5}  {what}" for what, count in result.said.most_common(30)]
    return "\n".join(lines) + "\n"


def chart(result: RunResult) -> str:
    """Return the chart: memory, descriptors, tasks, threads, ticks and ends over time."""
    begun = result.begun

    def of(value: Callable[[Sample], float]) -> dict[str, list[tuple[float, float]]]:
        lines: dict[str, list[tuple[float, float]]] = {}
        for each in result.samples:
            if value(each) >= 0:
                lines.setdefault(each.process, []).append((each.at - begun, value(each)))
        return lines

    def per_second(counts: Counter[int]) -> list[tuple[float, float]]:
        sums: Counter[int] = Counter()
        for second, count in counts.items():
            sums[int(second - begun) // _CHART_SECONDS] += count
        last = int(result.ended - begun) // _CHART_SECONDS
        return [(at * _CHART_SECONDS, sums[at] / _CHART_SECONDS) for at in range(last)]

    bands = [
        Band("Memory of its own, MiB", of(lambda each: each.memory / 2**20)),
        Band("Descriptors", of(lambda each: each.descriptors)),
        Band("Threads", of(lambda each: each.threads)),
        Band("Tasks", of(lambda each: each.tasks)),
        Band("Clients of each gateway", of(lambda each: each.clients)),
        Band("Ticks a second, all clients", {"ticks": per_second(result.ticks_by_second)}),
        Band("Ends of sockets a second", {"ends": per_second(result.losses_by_second)}),
    ]
    marks = [
        Mark(each.begin - begun, each.end - begun, f"{each.happening.value} {each.target}".strip())
        for each in result.events
    ]
    title = "Soak: " + ("green" if result.verdict.is_green else "red")
    return svg(title, result.ended - begun, bands, marks)
