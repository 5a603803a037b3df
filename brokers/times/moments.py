"""Moments as they are written for people, wherever one is: date, time and their zone. Pure.

The same rule holds in the pages' ``format.js``. Files have ISO 8601 with the offset instead.
"""

from __future__ import annotations

from datetime import datetime

__all__ = ["clock_text", "moment_text", "zone_name"]


def moment_text(at: datetime) -> str:
    """Return ``2026-11-30 14:10:21 IST``; ``at`` is aware and already in the zone to be told."""
    return f"{at:%Y-%m-%d %H:%M:%S} {zone_name(at)}"


def clock_text(at: datetime) -> str:
    """Return ``14:10:21 IST``, for a moment that is of today without a doubt."""
    return f"{at:%H:%M:%S} {zone_name(at)}"


def zone_name(at: datetime) -> str:
    """Return how the zone of ``at`` is called, by its offset (``UTC+5:45``) where it has no name.

    Raises:
        ValueError: ``at`` is not aware.
    """
    name, offset = at.tzname(), at.utcoffset()
    if name is None or offset is None:
        raise ValueError("a moment without a zone cannot be told")
    if name.isalpha():
        return name
    minutes = round(offset.total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
