"""Moments for people name their zone."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from brokers.times.market_clock import INDIA
from brokers.times.moments import clock_text, moment_text, zone_name

NOON = datetime(2026, 11, 30, 8, 40, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "name"),
    [
        (UTC, "UTC"),
        (INDIA, "IST"),
        (ZoneInfo("Asia/Kolkata"), "IST"),
        (ZoneInfo("America/New_York"), "EST"),
        (ZoneInfo("Asia/Dubai"), "UTC+4"),
        (ZoneInfo("Asia/Kathmandu"), "UTC+5:45"),
        (ZoneInfo("America/Sao_Paulo"), "UTC-3"),
    ],
)
def test_every_zone_has_a_name(zone: ZoneInfo, name: str) -> None:
    """Where the table of zones has none, it is the offset."""
    assert zone_name(NOON.astimezone(zone)) == name


def test_a_moment_is_written_with_its_zone() -> None:
    there = NOON.astimezone(INDIA)
    assert moment_text(there) == "2026-11-30 14:10:21 IST"
    assert clock_text(there) == "14:10:21 IST"


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="without a zone"):
        moment_text(NOON.replace(tzinfo=None))
