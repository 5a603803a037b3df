"""Find instruments as a trader expects them: what was typed, then shares, futures, options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Length

from pooling.instrument_words import underlying_of
from pooling.models import Instrument, SearchTier, starting_with

__all__ = ["COLUMNS", "search_instruments"]

COLUMNS = (
    "symbol",
    "exchange",
    "name",
    "broker",
    "instrument_type",
    "expiry",
    "strike",
    "lot_size",
    "tick_size",
)
LISTED = (SearchTier.CASH, SearchTier.FUTURE, SearchTier.OPTION)
BY_LENGTH = ("length", "symbol", "exchange")
ALPHABETICAL = ("symbol", "exchange")
BY_EXPIRY = ("expiry", "strike", "symbol", "exchange")
BY_UNDERLYING = ("underlying", *BY_EXPIRY)
MAX_WORDS = 8
# Words that say which instruments are meant, rather than what they are called.
KINDS = {"FUT": (SearchTier.FUTURE, ""), **{w: (SearchTier.OPTION, w) for w in ("CE", "PE")}}
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Words:
    """What was typed: the begin of a symbol or of a word of a name, and words that narrow."""

    first: str
    others: tuple[str, ...]
    kind: str

    @classmethod
    def of(cls, text: str) -> _Words:
        first, *others = text.upper().split()[:MAX_WORDS] or [""]
        kinds = [word for word in others if word in KINDS]
        return cls(first, tuple(w for w in others if w not in KINDS), kinds[-1] if kinds else "")


def search_instruments(
    brokers: Iterable[str], text: str, exchange: str = "", limit: int = 50
) -> list[Row]:
    """Return up to ``limit`` rows of ``COLUMNS``, best first; expired instruments are left out.

    The exact symbol comes first, then shares and indices (by symbol, shortest first, then by a
    word of their name), then futures, then options; those of the typed underlying before others
    that begin alike, each with the nearest expiry first, then by strike. Further words narrow:
    ``FUT``, ``CE`` and ``PE`` to that kind, any other to what contains it.

    Args:
        brokers: whose instruments are searched.
        text: words; empty lists instruments by their symbols.
        exchange: only of this one; empty: of all.
        limit: the most rows.
    """
    words = _Words.of(text)
    names = sorted(set(brokers))
    found: dict[tuple[str, str, str], Row] = {}
    for stage in _stages(words):
        for row in _rows(stage, names, words, exchange, limit):
            found.setdefault((row["broker"], row["exchange"], row["symbol"]), row)
        if len(found) >= limit:
            break
    return list(found.values())[:limit]


@dataclass(frozen=True, slots=True)
class _Stage:
    """One part of the answer: what is in it, and in which order."""

    tiers: tuple[SearchTier, ...]
    condition: Q
    order: tuple[str, ...]
    by_name: bool = False


def _stages(words: _Words) -> Iterator[_Stage]:
    """Yield what matches, best first; the next is asked for only while there is room."""
    first = words.first
    kinds = (KINDS[words.kind][0],) if words.kind else LISTED
    if not first:
        for tier in kinds:
            order = ALPHABETICAL if tier is SearchTier.CASH else BY_UNDERLYING
            yield _Stage((tier,), Q(), order)
        return
    begins = starting_with("symbol", first)
    yield _Stage(LISTED, Q(symbol=first), BY_LENGTH)
    if SearchTier.CASH in kinds:
        yield _Stage((SearchTier.CASH,), begins, BY_LENGTH)
        named = starting_with("words__word", first)
        yield _Stage((SearchTier.CASH,), named, BY_LENGTH, by_name=True)
    for tier in kinds:
        if tier is SearchTier.CASH:
            continue
        yield _Stage((tier,), Q(underlying=first), BY_EXPIRY)
        yield _Stage((tier,), starting_with("underlying", first), BY_UNDERLYING)
        if not first.isalpha():
            # Begins in the expiry, which no underlying does.
            yield _Stage((tier,), begins, BY_EXPIRY)


def _rows(stage: _Stage, brokers: list[str], words: _Words, exchange: str, limit: int) -> list[Row]:
    # One broker and kind after the other: each is one range of an index.
    rows = [
        row
        for broker in brokers
        for tier in stage.tiers
        for row in _best(stage, _narrowed(stage, broker, tier, words, exchange), limit)
    ]
    return sorted(rows, key=_place(stage)) if len(brokers) > 1 else rows


def _narrowed(stage: _Stage, broker: str, tier: SearchTier, words: _Words, exchange: str) -> Q:
    # By name the words' index leads: naming the instruments' broker would offer another one.
    condition = stage.condition & Q(tier=tier)
    condition &= Q(words__broker=broker) if stage.by_name else Q(broker=broker)
    if exchange:
        condition &= Q(exchange=exchange)
    if words.kind:
        kind, ending = KINDS[words.kind]
        condition &= Q(tier=kind, symbol__endswith=ending)
    for word in words.others:
        contains = Q(symbol__contains=word)
        condition &= contains | Q(name__contains=word) if tier is SearchTier.CASH else contains
    return condition


def _best(stage: _Stage, condition: Q, limit: int) -> list[Row]:
    """Sort in the index first, so that only the rows of the result are read from the table."""
    ids = _ordered(Instrument.objects.filter(condition), stage).values("pk")[:limit]
    return list(_ordered(Instrument.objects.filter(pk__in=ids), stage).values(*COLUMNS))


def _ordered(rows: QuerySet[Instrument], stage: _Stage) -> QuerySet[Instrument]:
    return rows.annotate(length=Length("symbol")).order_by(*stage.order)


def _place(stage: _Stage) -> Callable[[Row], tuple[Any, ...]]:
    """Return what rows of several brokers are merged by: the order of ``stage``."""
    values: dict[str, Callable[[Row], Any]] = {
        "length": lambda row: len(row["symbol"]),
        "expiry": lambda row: row["expiry"] or date.max,
        "strike": lambda row: row["strike"] or 0.0,
        "underlying": lambda row: underlying_of(row["symbol"]),
    }
    parts = [values.get(name, itemgetter(name)) for name in stage.order]
    return lambda row: tuple(part(row) for part in parts)
