"""An instruments master in Kite's format and of the real one's make-up, of any size."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import date, timedelta

__all__ = ["kite_master"]

HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange"
)
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
UNDERLYINGS = ("NIFTY", "BANKNIFTY", "FINNIFTY", "MIDCPNIFTY", "RELIANCE", "HDFCBANK", "INFY")
WORDS = ("BHARAT", "INDIA", "STEEL", "BANK", "POWER", "FINANCE", "MOTORS", "CHEMICALS", "TECH")
SHARES, FUTURES = 0.15, 0.01


def kite_master(rows: int, *, today: date) -> bytes:
    """Return the gzipped CSV: 15 % shares, 1 % futures, the rest options of 207 underlyings."""
    return gzip.compress("\n".join((HEADER, *_lines(rows, today))).encode(), compresslevel=1)


def _lines(rows: int, today: date) -> Iterator[str]:
    shares = int(rows * SHARES)
    underlyings = (*UNDERLYINGS, *(f"STOCK{n:03d}" for n in range(200)))
    yield f"{256 * 256 + 9},256,NIFTY 50,NIFTY 50,0,,0,0,0,EQ,INDICES,NSE"
    for n in range(1, shares):
        exchange = "NSE" if n % 5 < 2 else "BSE"
        name = f"{WORDS[n % 9]} {WORDS[n // 9 % 9]} {WORDS[n // 81 % 9]} {n}"
        symbol = underlyings[n] if n < len(underlyings) else f"{WORDS[n % 9][:4]}{n:05d}"
        yield f"{n * 256 + 1},{n},{symbol},{name},0,,0,0.05,1,EQ,{exchange},{exchange}"
    expiries = [today + timedelta(days=7 * week) for week in range(1, 13)]
    futures = min(int(rows * FUTURES), 12 * len(underlyings))
    for n in range(futures):
        at, name = divmod(n, len(underlyings))
        yield _derivative(shares + n, underlyings[name], expiries[at % 12], "FUT", 0)
    for n in range(rows - shares - futures):
        # A strike of an underlying has a call and a put at each expiry; every other is an index's.
        chain, place = divmod(n, 24)
        turn, is_index = divmod(chain, 2)
        names = underlyings[:4] if is_index else underlyings
        level, name = divmod(turn, len(names))
        kind = "CE" if place < 12 else "PE"
        number = shares + futures + n
        yield _derivative(number, names[name], expiries[place % 12], kind, 10_000 + 50 * level)


def _derivative(n: int, name: str, expiry: date, kind: str, strike: int) -> str:
    code = f"{expiry.year % 100:02d}{MONTHS[expiry.month - 1][0]}{expiry.day:02d}"
    symbol = f"{name}{code}{strike or ''}{kind}"
    segment = "NFO-FUT" if kind == "FUT" else "NFO-OPT"
    return f"{n * 256 + 2},{n},{symbol},{name},0,{expiry},{strike},0.05,50,{kind},{segment},NFO"
