"""Closes of exchanges for the day, by their own clocks. Pure.

Whatever asks a market for "today" asks here: a site's time zone says nothing of when a contract
stops trading. Tokens of expired contracts are given to others, the next morning at the earliest,
so that a close which is a little late does no harm, and one that is early ends what still trades.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final, NamedTuple

__all__ = ["INDIA", "closed_days", "last_expired"]

# India has had no other offset since 1945, and a machine need not have a table of zones.
INDIA: Final = timezone(timedelta(hours=5, minutes=30), "IST")


class _Close(NamedTuple):
    """The end of a day's last session; ``at`` None: with the day itself."""

    zone: tzinfo
    at: time | None


_EQUITY: Final = _Close(INDIA, time(15, 30))
_CURRENCY: Final = _Close(INDIA, time(17, 0))
# 23:30 while America has summer time: one table for both, with the later of the two.
_COMMODITY: Final = _Close(INDIA, time(23, 55))
_CLOSES: Final[Mapping[str, _Close]] = {
    "NSE": _EQUITY,
    "BSE": _EQUITY,
    "NFO": _EQUITY,
    "BFO": _EQUITY,
    "CDS": _CURRENCY,
    "BCD": _CURRENCY,
    "MCX": _COMMODITY,
    "NCO": _COMMODITY,
    "NCDEX": _COMMODITY,
    "BINANCE": _Close(UTC, None),
}
_OTHER: Final = _Close(INDIA, None)  # one that is not listed here is open until the day is over


def last_expired(exchange: str, now: datetime) -> date:
    """Return the latest day whose contracts have expired; ``now`` is aware, in any zone."""
    return _last_closed(_CLOSES.get(exchange, _OTHER), now)


def closed_days(now: datetime) -> Mapping[tuple[str, ...], date]:
    """Return ``last_expired`` for all exchanges at once; () are those that are not named."""
    groups: dict[_Close, list[str]] = {_OTHER: []}
    for exchange, close in _CLOSES.items():
        groups.setdefault(close, []).append(exchange)
    return {tuple(names): _last_closed(close, now) for close, names in groups.items()}


def _last_closed(close: _Close, now: datetime) -> date:
    there = now.astimezone(close.zone)
    is_over = close.at is not None and there.time() >= close.at
    return there.date() - timedelta(days=0 if is_over else 1)
