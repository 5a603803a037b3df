"""Words of the latency histograms on the last minute, as quantiles for people. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec

from streaming.link.latency import BUCKETS_SECONDS, Latency, Stage

__all__ = ["LatencyWindow", "StageLatency", "quantile_ms"]

_LAST_BOUND_MS = BUCKETS_SECONDS[-1] * 1000
# Of stamps with milliseconds one in a thousand is a whole second by chance.
_COARSE_SHARE = 0.1


class StageLatency(msgspec.Struct, frozen=True, kw_only=True):
    """One stage within the window, in milliseconds; ``ticks`` are the sampled ones.

    ``is_coarse``: many of them carry the exchange's time in whole seconds, so that the quantiles
    are up to a second too high: a bound and no measurement.
    """

    ticks: int
    p50_ms: float
    p99_ms: float
    is_coarse: bool = False


class LatencyWindow:
    """Compares cumulative histograms with what they were up to a minute ago. Not thread-safe.

    Args:
        seconds: how far back it looks.
        most: how many looks are kept; ``read`` more often than every ``seconds / most`` shortens
            the window.
    """

    def __init__(self, *, seconds: float = 60.0, most: int = 60) -> None:
        if seconds <= 0 or most < 1:
            raise ValueError("seconds must be positive and most at least 1")
        self._seconds = seconds
        self._most = most
        # What was read at each look, one row behind the other: its moment, ticks with whole
        # seconds, and the counts of each stage. One piece of memory from the first look on, for
        # a gateway lives long, and small objects that last for a minute keep a megabyte each.
        self._rows = array("d")
        self._first = 0  # row of the oldest look
        self._looks = 0  # within the window

    def read(self, latency: Latency, now: float) -> dict[str, StageLatency]:
        """Return each stage that had a sampled tick within the window; ``now`` is monotonic."""
        stages = latency.stages
        row = [now, latency.whole_seconds, *(n for each in stages.values() for n in each.counts)]
        if not self._rows:
            self._rows = array("d", bytes(8 * self._most * len(row)))
        while self._looks and now - self._row(0, len(row))[0] > self._seconds:
            self._first, self._looks = (self._first + 1) % self._most, self._looks - 1
        before = self._row(0, len(row)) if self._looks else array("d", bytes(8 * len(row)))
        self._keep(row)
        within = [int(after - earlier) for after, earlier in zip(row, before, strict=True)]
        found: dict[str, StageLatency] = {}
        whole_seconds, start = within[1], 2
        for stage, each in stages.items():
            counts = within[start : start + len(each.counts)]
            start += len(counts)
            if ticks := sum(counts):
                found[stage.value] = StageLatency(
                    ticks=ticks,
                    p50_ms=quantile_ms(counts, 0.5),
                    p99_ms=quantile_ms(counts, 0.99),
                    is_coarse=stage is Stage.EXCHANGE and whole_seconds > _COARSE_SHARE * ticks,
                )
        return found

    def _row(self, look: int, width: int) -> array[float]:
        """Return the row of a look, counted from the oldest."""
        start = (self._first + look) % self._most * width
        return self._rows[start : start + width]

    def _keep(self, row: list[float]) -> None:
        """Note a look, in the place of the oldest where there are as many as may be."""
        if self._looks == self._most:
            self._first, self._looks = (self._first + 1) % self._most, self._looks - 1
        start = (self._first + self._looks) % self._most * len(row)
        self._rows[start : start + len(row)] = array("d", row)
        self._looks += 1


def quantile_ms(counts: Sequence[int], share: float) -> float:
    """Return the quantile of bucketed durations, even within its bucket as Prometheus does it.

    Durations beyond the last bound count as that bound. 0 when nothing was counted.
    """
    rank, seen, lower_ms = share * sum(counts), 0, 0.0
    for bound, count in zip(BUCKETS_SECONDS, counts, strict=False):
        upper_ms = bound * 1000
        if count and seen + count >= rank:
            return round(lower_ms + (upper_ms - lower_ms) * (rank - seen) / count, 3)
        seen += count
        lower_ms = upper_ms
    return _LAST_BOUND_MS if sum(counts) else 0.0
