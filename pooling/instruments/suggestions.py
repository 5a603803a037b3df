"""The nearest names to one that is not known, of its exchange and of all others."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from django.db.models import F, QuerySet, Value
from django.db.models.functions import Abs, Length

from brokers.masters.index_names import COMMON_NAMES, common_name
from pooling.instruments.exchange_order import rank_of
from pooling.models import Instrument, SearchTier, starting_with

__all__ = ["nearest_names"]

MAX_SYMBOL_LENGTH = 64
CANDIDATES = 200
LEAST_LIKENESS = 0.6
_Key = tuple[str, str]


def nearest_names(broker: str, exchange: str, symbol: str, limit: int = 3) -> list[str]:
    """Return up to ``limit`` names nearest to an unknown one, best first.

    First the same symbol at other exchanges and what an index is called here, then what is like it
    at the exchange that was named; if there is nothing, at all of the broker. Names of another
    exchange come with it: "NSE_INDEX:NIFTY".
    """
    text = symbol.strip().upper()[:MAX_SYMBOL_LENGTH]
    if not text:
        return []
    listed = Instrument.objects.filter(broker=broker).exclude(tier=SearchTier.EXPIRED)
    found: dict[_Key, None] = dict.fromkeys(_elsewhere(listed, exchange, text))
    if len(found) < limit:
        found.update(dict.fromkeys(_alike(listed.filter(exchange=exchange), text, limit)))
    if not found:
        found.update(dict.fromkeys(_alike(listed, text, limit)))
    return [name if at == exchange else f"{at}:{name}" for at, name in list(found)[:limit]]


def _elsewhere(listed: QuerySet[Instrument], exchange: str, text: str) -> Iterable[_Key]:
    """Return where else the same symbol is, and the indices that are called so."""
    names = {text} | {common_name(market, text) or text for market in COMMON_NAMES}
    rows = listed.filter(symbol__in=names).values_list("exchange", "symbol")[:CANDIDATES]
    keys = [key for key in rows if _means(key, text)]
    return sorted(keys, key=lambda key: (key[0] != exchange, rank_of(key[0])))


def _means(key: _Key, text: str) -> bool:
    exchange, symbol = key
    return symbol == text or common_name(exchange, text) == symbol


def _alike(rows: QuerySet[Instrument], text: str, limit: int) -> list[_Key]:
    """Shorten the symbol until enough others begin like it, then rank them by likeness."""
    lengths = sorted({len(text), len(text) * 3 // 4, len(text) // 2, 1}, reverse=True)
    exchanges: dict[str, list[str]] = {}
    for length in filter(None, lengths):
        nearby = (
            rows.filter(starting_with("symbol", text[:length]))
            .order_by(Abs(Length("symbol") - Value(len(text))), F("symbol"))
            .values_list("symbol", "exchange")[:CANDIDATES]
        )
        for symbol, exchange in nearby:
            at = exchanges.setdefault(symbol, [])
            if exchange not in at:
                at.append(exchange)
        best = difflib.get_close_matches(text, exchanges, n=limit, cutoff=LEAST_LIKENESS)
        if len(best) >= limit or length == 1:
            return [
                (exchange, symbol)
                for symbol in best
                for exchange in sorted(exchanges[symbol], key=rank_of)
            ]
    return []
