"""Words of the latency histograms on the last minute, as quantiles for people. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

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


class _Look(NamedTuple):
    at: float
    counts: Mapping[Stage, Sequence[int]]
    whole_seconds: int


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
        # Counts at each read within the window, the oldest first.
        self._looks: deque[_Look] = deque(maxlen=most)

    def read(self, latency: Latency, now: float) -> dict[str, StageLatency]:
        """Return each stage that had a sampled tick within the window; ``now`` is monotonic."""
        counts = {stage: tuple(each.counts) for stage, each in latency.stages.items()}
        while self._looks and now - self._looks[0].at > self._seconds:
            self._looks.popleft()
        before = self._looks[0] if self._looks else _Look(now, {}, 0)
        self._looks.append(_Look(now, counts, latency.whole_seconds))
        whole_seconds = latency.whole_seconds - before.whole_seconds
        found: dict[str, StageLatency] = {}
        for stage, newest in counts.items():
            oldest = before.counts.get(stage, (0,) * len(newest))
            within = [after - earlier for after, earlier in zip(newest, oldest, strict=True)]
            if ticks := sum(within):
                found[stage.value] = StageLatency(
                    ticks=ticks,
                    p50_ms=quantile_ms(within, 0.5),
                    p99_ms=quantile_ms(within, 0.99),
                    is_coarse=stage is Stage.EXCHANGE and whole_seconds > _COARSE_SHARE * ticks,
                )
        return found


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
