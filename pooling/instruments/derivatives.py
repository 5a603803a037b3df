"""Futures and options of one underlying in a trader's order: expiries as they come, then strikes
from the money outwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import F, FloatField, Q, QuerySet, Value
from django.db.models.functions import Abs, Cast

from brokers.types import InstrumentKey
from pooling.instruments.exchange_order import rank_of
from pooling.instruments.search_words import Cycle, SearchWords
from pooling.models import Instrument, SearchTier, starting_with

__all__ = [
    "INDEX_UNDERLYINGS",
    "Chain",
    "Prices",
    "no_prices",
    "options_of_strike",
    "side_of",
    "underlyings_like",
]

# Returns the last prices of those of the instruments that have one, of any of the brokers' pools.
Prices = Callable[[Sequence[InstrumentKey]], Mapping[InstrumentKey, float]]

# What is meant by a strike alone, in the order of what is traded most. Each trades at one exchange.
INDEX_UNDERLYINGS = (
    *("NIFTY", "BANKNIFTY", "SENSEX", "FINNIFTY", "MIDCPNIFTY", "BANKEX", "NIFTYNXT50", "SENSEX50"),
)

# Where the price of an underlying is, the first that has one.
_MARKETS = ("NSE_INDEX", "BSE_INDEX", "NSE", "BSE", "MCX_INDEX")
_MAX_EXPIRIES = 60
_MOST_OF_STRIKE = 500


def no_prices(keys: Sequence[InstrumentKey]) -> Mapping[InstrumentKey, float]:
    """Know no price."""
    return {}


def side_of(side: str) -> Q:
    """Return the condition that an option is a call or a put, from its symbol, as an index has it.

    One whose name another has, too, has its token behind that.
    """
    return Q(symbol__endswith=side) | Q(symbol__contains=f"{side}-")


def underlyings_like(brokers: Sequence[str], begin: str, most: int) -> list[str]:
    """Return underlyings that begin with ``begin``, in the order of the alphabet.

    Each is a step along the index: a chain of 20,000 options is no more than one.
    """
    found: set[str] = set()
    for broker in brokers:
        for tier in (SearchTier.FUTURE, SearchTier.OPTION):
            rows = Instrument.objects.filter(
                starting_with("underlying", begin), broker=broker, tier=tier
            ).order_by("underlying")
            last = ""
            for _ in range(most):
                after = rows.filter(underlying__gt=last).values_list("underlying", flat=True)
                name = after.first()
                if name is None:
                    break
                found.add(name)
                last = name
    return sorted(found)[:most]


@dataclass(frozen=True, slots=True)
class Chain:
    """The futures or the options of one underlying at some brokers, as far as ``words`` want them.

    ``words.names`` are contained in a symbol beside the underlying.
    """

    brokers: Sequence[str]
    underlying: str
    tier: SearchTier
    words: SearchWords
    preferred: str = ""

    def futures(self, most: int) -> list[int]:
        """Return the ids of up to ``most``, the nearest expiry first."""
        condition = self._narrowed(self.words.numbers)
        found = [
            (expiry, rank_of(exchange, self.preferred), symbol, pk)
            for rows in self._listed(condition)
            for expiry, exchange, symbol, pk in rows.order_by("expiry", "symbol").values_list(
                "expiry", "exchange", "symbol", "pk"
            )[: most + 1]
        ]
        return [pk for *_, pk in sorted(found)[:most]]

    def options(self, most: int, prices: Prices) -> list[int]:
        """Return the ids of up to ``most``: expiry by expiry, each from the money outwards."""
        for strike, contained in self._meant():
            condition = self._narrowed(contained)
            if strike is not None:
                found = self._of_strike(condition, strike, most)
            else:
                found = self._by_expiry(condition, most, prices)
            if found:
                return found
        return []

    def _meant(self) -> Iterator[tuple[float | None, Sequence[str]]]:
        """Yield what the numbers may mean: one of them a strike, or all a part of the symbol."""
        numbers = self.words.numbers
        for at, number in enumerate(numbers):
            yield float(number), numbers[:at] + numbers[at + 1 :]
        yield None, numbers

    def _of_strike(self, condition: Q, strike: float, most: int) -> list[int]:
        """Return one strike of all expiries: one look along the chain."""
        found: list[tuple[tuple[int, str], Any, str, int]] = sorted(
            (rank_of(exchange, self.preferred), expiry, symbol, pk)
            for rows in self._listed(condition & Q(strike=strike, expiry__isnull=False))
            for exchange, expiry, symbol, pk in rows.order_by().values_list(
                "exchange", "expiry", "symbol", "pk"
            )[:_MOST_OF_STRIKE]
        )
        days = set(_of_cycle(sorted({expiry for _, expiry, *_ in found}), self.words.cycle))
        return [pk for _, expiry, _, pk in found if expiry in days][:most]

    def _by_expiry(self, condition: Q, most: int, prices: Prices) -> list[int]:
        found: list[int] = []
        spot: float | None = None
        for exchange in self._exchanges():
            here = condition & Q(exchange=exchange) if exchange else condition
            for expiry in self._expiries():
                if spot is None:
                    spot = self._spot(prices, here & Q(expiry=expiry))
                found += self._nearest(here & Q(expiry=expiry), spot or 0.0, most - len(found))
                if len(found) >= most:
                    return found
        return found

    def _narrowed(self, contained: Sequence[str]) -> Q:
        condition = Q()
        if self.words.exchanges:
            condition &= Q(exchange__in=self.words.exchanges)
        if self.words.side:
            condition &= side_of(self.words.side)
        for word in (*self.words.names, *contained):
            condition &= Q(symbol__contains=word)
        return condition

    def _listed(self, condition: Q) -> Iterator[QuerySet[Instrument]]:
        for broker in self.brokers:
            chain = {"broker": broker, "tier": self.tier, "underlying": self.underlying}
            yield Instrument.objects.filter(condition, **chain)

    def _nearest(self, condition: Q, spot: float, most: int) -> list[int]:
        found = [
            (distance, strike, symbol, rank_of(exchange, self.preferred), pk)
            for rows in self._listed(condition)
            for distance, strike, symbol, exchange, pk in rows.annotate(
                distance=Abs(F("strike") - Cast(Value(spot), FloatField()))
            )
            .order_by("distance", "strike", "symbol")
            .values_list("distance", "strike", "symbol", "exchange", "pk")[: most + 1]
        ]
        return [pk for *_, pk in sorted(found)[:most]]

    def _expiries(self) -> Iterator[date]:
        """Yield the expiries that are meant, each found by one step along the index."""
        cycle, ahead = self.words.cycle, self._next_expiry(None)
        for _ in range(_MAX_EXPIRIES):
            if ahead is None:
                return
            day, ahead = ahead, self._next_expiry(ahead)
            is_last = ahead is None or (ahead.year, ahead.month) != (day.year, day.month)
            if cycle is Cycle.ANY or is_last is (cycle is Cycle.MONTHLY):
                yield day

    def _next_expiry(self, after: date | None) -> date | None:
        days: list[Any] = []
        for rows in self._listed(Q(expiry__gt=after) if after else Q(expiry__isnull=False)):
            days += rows.order_by("expiry").values_list("expiry", flat=True)[:1]
        return min(days, default=None)

    def _exchanges(self) -> list[str]:
        """Return the exchanges of the chain, the preferred first; [""] where it is only one."""
        if self.underlying in INDEX_UNDERLYINGS:
            return [""]
        found: set[str] = set()
        for rows in self._listed(Q()):
            # DISTINCT would have SQLite walk along another index, that of all instruments.
            found.update(rows.order_by().values_list("exchange", flat=True))
        if len(found) < 2:
            return [""]
        return sorted(found, key=lambda exchange: rank_of(exchange, self.preferred))

    def _spot(self, prices: Prices, condition: Q) -> float | None:
        """Return the last price of the underlying, or the middle of the strikes."""
        keys = [InstrumentKey(market, self.underlying) for market in _MARKETS]
        futures = Chain(
            self.brokers, self.underlying, SearchTier.FUTURE, SearchWords(), self.preferred
        ).futures(1)
        if futures:
            near = Instrument.objects.values_list("exchange", "symbol").get(pk=futures[0])
            keys.append(InstrumentKey(*near))
        known = prices(keys)
        for key in keys:
            if known.get(key):
                return known[key]
        strikes = sorted(
            {
                strike
                for rows in self._listed(condition)
                for strike in rows.values_list("strike", flat=True)
                if strike is not None
            }
        )
        return strikes[len(strikes) // 2] if strikes else None


def options_of_strike(
    brokers: Sequence[str],
    underlyings: Sequence[str],
    words: SearchWords,
    preferred: str,
    most: int,
) -> list[int]:
    """Return the ids of options of the strike that was typed, the nearest expiry first.

    Args:
        brokers: whose they are.
        underlyings: of these only, the first ones first; empty: of all.
        words: what was typed, without a name.
        preferred: see ``search_instruments``.
        most: the most ids.
    """
    condition = Q(strike=float(words.numbers[0]), tier=SearchTier.OPTION)
    if words.side:
        condition &= side_of(words.side)
    if words.exchanges:
        condition &= Q(exchange__in=words.exchanges)
    for word in words.numbers[1:]:
        condition &= Q(symbol__contains=word)
    if underlyings:
        condition &= Q(underlying__in=underlyings)
    places = {name: place for place, name in enumerate(underlyings)}
    rows: list[tuple[int, Any, tuple[int, str], str, int]] = [
        (places.get(under, 0), expiry, rank_of(exchange, preferred), symbol, pk)
        for broker in brokers
        for under, expiry, exchange, symbol, pk in Instrument.objects.filter(
            condition, broker=broker, expiry__isnull=False
        )
        .order_by("expiry", "symbol")
        .values_list("underlying", "expiry", "exchange", "symbol", "pk")[:_MOST_OF_STRIKE]
    ]
    days = set(_of_cycle(sorted({row[1] for row in rows}), words.cycle))
    return [pk for _, expiry, *_, pk in sorted(rows) if expiry in days][:most]


def _of_cycle(expiries: Sequence[date], cycle: Cycle) -> list[date]:
    """Return the last expiry of each month (monthly), the others (weekly), or all."""
    if cycle is Cycle.ANY:
        return list(expiries)
    last = {(day.year, day.month): day for day in expiries}
    is_monthly = cycle is Cycle.MONTHLY
    return [day for day in expiries if (last[day.year, day.month] == day) is is_monthly]
