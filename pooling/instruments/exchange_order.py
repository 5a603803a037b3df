"""In which order exchanges are shown where several have what was meant. Pure.

The same share trades at several exchanges, and a trader who names none means the one with the
volume: NSE before BSE, and their derivatives alike. A user may prefer another family.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = ["FAMILIES", "exchange_ranks", "family_of", "rank_of"]

# By the exchange that a family is called by; each in the order of what is traded most.
FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "NSE": ("NSE", "NFO", "NSE_INDEX", "CDS", "NCO"),
    "BSE": ("BSE", "BFO", "BSE_INDEX", "BCD"),
    "MCX": ("MCX", "MCX_INDEX"),
    "NCDEX": ("NCDEX",),
    "GLOBAL_INDEX": ("GLOBAL_INDEX",),
}


def family_of(exchange: str) -> str:
    """Return what the exchange's family is called: "NSE" for NFO; itself where it has none."""
    return next((name for name, members in FAMILIES.items() if exchange in members), exchange)


@lru_cache(maxsize=64)
def exchange_ranks(preferred: str = "") -> Mapping[str, int]:
    """Return the place of each known exchange, best first; ``preferred`` names a family."""
    names = sorted(FAMILIES, key=lambda name: name != preferred)
    ordered = [exchange for name in names for exchange in FAMILIES[name]]
    if preferred and preferred not in FAMILIES:
        ordered.insert(0, preferred)
    return {exchange: place for place, exchange in enumerate(ordered)}


def rank_of(exchange: str, preferred: str = "") -> tuple[int, str]:
    """Return what to sort exchanges by; unknown ones come last, by their names."""
    ranks = exchange_ranks(preferred)
    return ranks.get(exchange, len(ranks)), exchange
