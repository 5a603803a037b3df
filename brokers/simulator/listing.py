"""Instruments that the local exchange lists: its master. Pure.

Ten thousand instruments by default: shares, indices, currencies and commodities, so that every
price divisor of Kite is alive, then option chains of the NFO until the number is reached.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import IntEnum

from brokers.simulator.seed_instruments import (
    BSE_SHARES,
    CHAINS,
    COMMODITIES,
    CURRENCIES,
    INDICES,
    NSE_SHARES,
    Chain,
)

__all__ = ["CSV_HEADER", "ListedInstrument", "Segment", "build_listing", "expiry_code", "to_csv"]

CSV_HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange"
)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_TUESDAY, _THURSDAY, _FRIDAY = 1, 3, 4


class Segment(IntEnum):
    """Kite's segment numbers: the low byte of an instrument token."""

    NSE = 1
    NFO = 2
    CDS = 3
    BSE = 4
    BFO = 5
    BCD = 6
    MCX = 7
    INDICES = 9
    NCO = 12

    @property
    def price_scale(self) -> int:
        """Units of a rupee in this segment's packets."""
        return {Segment.CDS: 10_000_000, Segment.BCD: 10_000, Segment.NCO: 10_000}.get(self, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedInstrument:
    """One row of the master. ``strike`` is in rupees; ``tick`` and ``base_price`` are scaled by
    the segment's ``price_scale``. ``base_price`` is the previous close.
    """

    segment: Segment
    exchange_token: int
    tradingsymbol: str
    name: str
    exchange: str
    base_price: int
    tick: int
    instrument_type: str = "EQ"
    expiry: date | None = None
    strike: float = 0.0
    lot_size: int = 1

    @property
    def instrument_token(self) -> int:
        """Kite's number of it: the exchange's own in the high bytes, the segment in the low one."""
        return self.exchange_token * 256 + self.segment

    @property
    def is_index(self) -> bool:
        return self.segment is Segment.INDICES

    @property
    def has_open_interest(self) -> bool:
        return self.instrument_type != "EQ"

    @property
    def csv_segment(self) -> str:
        """The segment as the CSV spells it: NFO-OPT, NFO-FUT, INDICES, NSE."""
        if self.instrument_type == "EQ":
            return self.segment.name
        return f"{self.segment.name}-{'FUT' if self.instrument_type == 'FUT' else 'OPT'}"


def build_listing(*, today: date, size: int = 10_000) -> list[ListedInstrument]:
    """List ``size`` instruments whose expiries are all after ``today``; no token appears twice.

    Raises:
        ValueError: there are not so many, or fewer than the fixed part without the chains.
    """
    fixed = [*_shares(), *_indices(), *_currencies(today), *_commodities(today), *_sensex(today)]
    fixed.extend(_nfo_futures(today))
    if size < len(fixed):
        raise ValueError(f"size must be at least {len(fixed)}, got {size}")
    options = _nfo_options(today)
    listing = fixed + [option for option, _ in zip(options, range(size - len(fixed)), strict=False)]
    if len(listing) < size:
        raise ValueError(f"size must be at most {len(listing)}, got {size}")
    return listing


def to_csv(instruments: Iterable[ListedInstrument]) -> str:
    """Write instruments as Kite's instruments dump does, header first."""
    out = io.StringIO()
    out.write(CSV_HEADER + "\n")
    writer = csv.writer(out, lineterminator="\n")
    for item in instruments:
        writer.writerow(
            (
                item.instrument_token,
                item.exchange_token,
                item.tradingsymbol,
                item.name,
                0,
                item.expiry.isoformat() if item.expiry else "",
                f"{item.strike:g}",
                f"{item.tick / item.segment.price_scale:g}",
                item.lot_size,
                item.instrument_type,
                item.csv_segment,
                item.exchange,
            )
        )
    return out.getvalue()


def expiry_code(expiry: date) -> str:
    """Spell an expiry as Kite's tradingsymbols do: ``24DEC`` for a month's last, else ``24D05``."""
    year = expiry.year % 100
    if (expiry + timedelta(days=7)).month != expiry.month:
        return f"{year:02d}{_MONTHS[expiry.month - 1]}"
    month = "123456789OND"[expiry.month - 1]
    return f"{year:02d}{month}{expiry.day:02d}"


def _weekly(today: date, weekday: int, count: int) -> list[date]:
    first = today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)
    return [first + timedelta(days=7 * week) for week in range(count)]


def _monthly(today: date, weekday: int, count: int) -> list[date]:
    weeks = _weekly(today, weekday, 5 * count + 1)
    return [day for day in weeks if (day + timedelta(days=7)).month != day.month][:count]


def _shares() -> Iterator[ListedInstrument]:
    for symbol, name, instrument_token, price in NSE_SHARES:
        yield ListedInstrument(
            segment=Segment.NSE,
            exchange_token=instrument_token // 256,
            tradingsymbol=symbol,
            name=name,
            exchange="NSE",
            base_price=_scaled(price, 0.05, Segment.NSE),
            tick=5,
        )
    for symbol, name, scrip_code, price in BSE_SHARES:
        yield ListedInstrument(
            segment=Segment.BSE,
            exchange_token=scrip_code,
            tradingsymbol=symbol,
            name=name,
            exchange="BSE",
            base_price=_scaled(price, 0.05, Segment.BSE),
            tick=5,
        )


def _indices() -> Iterator[ListedInstrument]:
    for symbol, exchange, instrument_token, points in INDICES:
        yield ListedInstrument(
            segment=Segment.INDICES,
            exchange_token=instrument_token // 256,
            tradingsymbol=symbol,
            name=symbol,
            exchange=exchange,
            base_price=_scaled(points, 0.01, Segment.INDICES),
            tick=1,
        )


def _future(
    segment: Segment, token: int, name: str, expiry: date, price: float, tick: float, lot_size: int
) -> ListedInstrument:
    return ListedInstrument(
        segment=segment,
        exchange_token=token,
        tradingsymbol=f"{name}{expiry_code(expiry)}FUT",
        name=name,
        exchange=segment.name,
        base_price=_scaled(price, tick, segment),
        tick=round(tick * segment.price_scale),
        instrument_type="FUT",
        expiry=expiry,
        lot_size=lot_size,
    )


def _option_pair(
    segment: Segment,
    token: int,
    chain: Chain,
    expiry: date,
    today: date,
    strike: float,
    tick: float = 0.05,
) -> Iterator[ListedInstrument]:
    years = (expiry - today).days / 365
    distance = strike - chain.spot
    width = chain.spot * 0.25 * years**0.5
    time_value = 0.4 * width * 2.0 ** -((distance / width) ** 2)
    for offset, (kind, intrinsic) in enumerate((("CE", -distance), ("PE", distance))):
        price = max(intrinsic, 0.0) + time_value
        yield ListedInstrument(
            segment=segment,
            exchange_token=token + offset,
            tradingsymbol=f"{chain.underlying}{expiry_code(expiry)}{strike:g}{kind}",
            name=chain.underlying,
            exchange=segment.name,
            base_price=_scaled(max(price, 20 * tick), tick, segment),
            tick=round(tick * segment.price_scale),
            instrument_type=kind,
            expiry=expiry,
            strike=strike,
            lot_size=chain.lot_size,
        )


def _currencies(today: date) -> Iterator[ListedInstrument]:
    token = 1000
    for segment in (Segment.CDS, Segment.BCD):
        for pair, price in CURRENCIES:
            for month, expiry in enumerate(_monthly(today, _FRIDAY, 3)):
                yield _future(segment, token, pair, expiry, price * (1 + month / 300), 0.0025, 1)
                token += 1
        pair, price = CURRENCIES[0]
        chain = Chain(pair, price, 0.25, 1, 0, 1, 5)
        for strike in _strikes(chain):
            expiry = _monthly(today, _FRIDAY, 1)[0]
            yield from _option_pair(segment, token, chain, expiry, today, strike, tick=0.0025)
            token += 2


def _commodities(today: date) -> Iterator[ListedInstrument]:
    token = 430_000
    for exchange, name, price, tick, lot_size in COMMODITIES:
        for month, expiry in enumerate(_monthly(today, _FRIDAY, 2)):
            price_then = price * (1 + month / 200)
            yield _future(Segment[exchange], token, name, expiry, price_then, tick, lot_size)
            token += 1


def _sensex(today: date) -> Iterator[ListedInstrument]:
    chain = Chain("SENSEX", 79802.80, 100, 20, 0, 1, 10)
    (expiry,) = _monthly(today, _THURSDAY, 1)
    yield _future(Segment.BFO, 820_000, "SENSEX", expiry, chain.spot * 1.004, 0.05, 20)
    for number, strike in enumerate(_strikes(chain)):
        yield from _option_pair(Segment.BFO, 820_001 + 2 * number, chain, expiry, today, strike)


def _nfo_futures(today: date) -> Iterator[ListedInstrument]:
    token = 35_000
    for chain in CHAINS:
        for month, expiry in enumerate(_monthly(today, _TUESDAY, 3)):
            price = chain.spot * (1 + (month + 1) / 200)
            yield _future(Segment.NFO, token, chain.underlying, expiry, price, 0.05, chain.lot_size)
            token += 1


def _nfo_options(today: date) -> Iterator[ListedInstrument]:
    """Yield calls and puts of all chains, nearest to the money first: any cut is sensible."""
    token = 36_000
    series = [
        (chain, expiry, _strikes(chain)) for chain in CHAINS for expiry in _expiries(chain, today)
    ]
    for position in range(max(len(strikes) for _, _, strikes in series)):
        for chain, expiry, strikes in series:
            if position < len(strikes):
                strike = strikes[position]
                yield from _option_pair(Segment.NFO, token, chain, expiry, today, strike)
                token += 2


def _expiries(chain: Chain, today: date) -> list[date]:
    weekly = _weekly(today, _TUESDAY, chain.weekly_expiries)
    return sorted({*weekly, *_monthly(today, _TUESDAY, chain.monthly_expiries)})


def _strikes(chain: Chain) -> list[float]:
    """Return the chain's strikes, the one at the money first, then outwards on both sides."""
    middle = round(chain.spot / chain.strike_step)
    steps = [0] + [
        sign * distance for distance in range(1, chain.strikes_each_side + 1) for sign in (1, -1)
    ]
    return [(middle + step) * chain.strike_step for step in steps if middle + step > 0]


def _scaled(price: float, tick: float, segment: Segment) -> int:
    """Round ``price`` to the tick grid and scale it."""
    return round(price / tick) * round(tick * segment.price_scale)
