"""Trading days and hours: the usual week, holidays and special sessions. Pure.

Nobody publishes them in a form that programs can rely on: the lists of holidays come out a year at
a time, and special sessions (a budget on a Sunday, Diwali's evening) a few days before. What is not
entered is a usual day, Monday to Friday.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from brokers.times.market_clock import INDIA

__all__ = ["USUAL_HOURS", "Hours", "Market", "MarketNow", "TradingDays"]

_AHEAD = 15  # days in which a market opens again, whatever the festival


class Market(StrEnum):
    """The markets whose days differ."""

    EQUITY = "equity"
    CURRENCY = "currency"
    COMMODITY = "commodity"


@dataclass(frozen=True, slots=True, order=True)
class Hours:
    """One session of a day, by the clock of India; ``closes`` is after ``opens``."""

    opens: time
    closes: time

    def __post_init__(self) -> None:
        if self.closes <= self.opens:
            raise ValueError("a session closes after it opens")


USUAL_HOURS: Final[Mapping[Market, Hours]] = {
    Market.EQUITY: Hours(time(9, 15), time(15, 30)),
    Market.CURRENCY: Hours(time(9), time(17)),
    # 23:30 while America has summer time: one table for both, with the later of the two.
    Market.COMMODITY: Hours(time(9), time(23, 55)),
}


@dataclass(frozen=True, slots=True)
class MarketNow:
    """Whether a market is open, and when that changes (aware; None: not within two weeks)."""

    is_open: bool
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingDays:
    """The week and what differs from it. ``entered`` has the sessions of a market's day, none for a
    holiday; any other day is a usual one. ``known_years`` are those of which a holiday was entered.
    """

    entered: Mapping[tuple[Market, date], tuple[Hours, ...]] = field(default_factory=dict)

    @property
    def known_years(self) -> Collection[int]:
        """Return the years of which a holiday of the shares' market is known."""
        return {
            day.year
            for (market, day), hours in self.entered.items()
            if market is Market.EQUITY and not hours
        }

    def sessions(self, day: date, market: Market = Market.EQUITY) -> tuple[Hours, ...]:
        """Return the sessions of a day in their order; empty where there is no trade."""
        if (found := self.entered.get((market, day))) is not None:
            return tuple(sorted(found))
        return (USUAL_HOURS[market],) if day.weekday() < 5 else ()

    def is_trading_day(self, day: date, market: Market = Market.EQUITY) -> bool:
        """Whether there is any trade on a day."""
        return bool(self.sessions(day, market))

    def is_any_trading_day(self, day: date) -> bool:
        """Whether there is trade at any of the markets."""
        return any(self.is_trading_day(day, market) for market in Market)

    def now(self, at: datetime, market: Market = Market.EQUITY) -> MarketNow:
        """Return how a market is at a moment (aware, in any zone)."""
        local = at.astimezone(INDIA)
        for ahead in range(_AHEAD):
            day = local.date() + timedelta(days=ahead)
            for hours in self.sessions(day, market):
                opens = datetime.combine(day, hours.opens, INDIA)
                closes = datetime.combine(day, hours.closes, INDIA)
                if local < opens:
                    return MarketNow(False, opens)
                if local < closes:
                    return MarketNow(True, closes)
        return MarketNow(False, None)
