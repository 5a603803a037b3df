"""Offer of a broker: which wants it can serve, and by which subscription. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from brokers.pool_service import Outcome, RefusalCode, Want
from brokers.types import FeedMode, Instrument, Subscription
from pooling.subscriptions.outcomes import DEFAULT_DEPTH_LEVELS, refused_outcome
from pooling.subscriptions.tracker import Level

__all__ = ["BrokerOffer"]


class BrokerOffer:
    """Modes and depth levels of one broker. Never changes.

    Args:
        modes: what the broker offers; a want is carried by the lowest one that covers it.
        depth_levels: numbers of depth levels that the broker offers.
    """

    def __init__(self, *, modes: Sequence[FeedMode], depth_levels: Sequence[int]) -> None:
        self._upstream_modes = {
            mode: min(offered)
            for mode in FeedMode
            if (offered := [m for m in modes if m.covers(mode)])
        }
        self._depth_levels = tuple(sorted(depth_levels))

    def refusal(self, want: Want) -> Outcome | None:
        """Return why a want cannot be served at all, or None if it can."""
        if want.mode not in self._upstream_modes:
            best = max(self._upstream_modes, default=None)
            text = "no mode at all" if best is None else f"{best.name} at most"
            return refused_outcome(
                want,
                RefusalCode.INVALID_MODE,
                f"this broker offers {text}, not {want.mode.name}",
            )
        if want.mode is FeedMode.DEPTH and want.depth_levels not in self._depth_levels:
            offered = ", ".join(map(str, self._depth_levels)) or "none"
            return refused_outcome(
                want,
                RefusalCode.UNSUPPORTED_DEPTH_LEVEL,
                f"{want.depth_levels} depth levels are not offered; supported: {offered}",
            )
        return None

    def subscription(self, instrument: Instrument, level: Level) -> Subscription:
        """Return the subscription that serves an instrument at a level that is offered."""
        depth_levels = level.depth_levels
        if not depth_levels:
            depth_levels = self._depth_levels[0] if self._depth_levels else DEFAULT_DEPTH_LEVELS
        return Subscription(instrument, self._upstream_modes[level.mode], depth_levels)
