"""Find instruments as a trader expects them: what was typed, then shares, futures, options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db.models import Q, QuerySet
from django.db.models.functions import Length

from brokers.masters.index_names import COMMON_NAMES, common_name
from pooling.instruments.derivatives import (
    INDEX_UNDERLYINGS,
    Chain,
    Prices,
    no_prices,
    options_of_strike,
    side_of,
    underlyings_like,
)
from pooling.instruments.exchange_order import rank_of
from pooling.instruments.search_words import SearchWords, glued_names, meanings
from pooling.models import Instrument, SearchTier, starting_with

__all__ = ["COLUMNS", "search_instruments"]

COLUMNS = (
    "symbol",
    "exchange",
    "name",
    "broker",
    "instrument_type",
    "underlying",
    "expiry",
    "strike",
    "lot_size",
    "tick_size",
)
_BY_NAME = "words__word__gte"
LISTED = (SearchTier.CASH, SearchTier.FUTURE, SearchTier.OPTION)
# More words than these may begin a name only if the first ones do not.
MAX_HEADS = 3
MAX_UNDERLYINGS = 8
Row = dict[str, Any]
_Key = tuple[str, str, str]
_Place = Callable[[Row], tuple[Any, ...]]


def search_instruments(
    brokers: Iterable[str],
    text: str,
    exchange: str = "",
    limit: int = 50,
    *,
    preferred: str = "",
    prices: Prices = no_prices,
) -> list[Row]:
    """Return up to ``limit`` rows of ``COLUMNS``, best first; expired instruments are left out.

    The exact symbol comes first, then shares and indices (by symbol, shortest first, then by a
    word of their name), then futures, then options; those of the typed underlying before others
    that begin alike, the nearest expiry first. Strikes begin at the last price of the underlying,
    or else in the middle of those that are listed. Words come in any order: ``FUT``, ``OPT``,
    ``CE``, ``PE``, ``WEEKLY`` and ``MONTHLY`` narrow to that kind, a number to that strike, an
    exchange to its instruments, any other to what contains it. NSE and NFO come before BSE and BFO.

    Args:
        brokers: whose instruments are searched.
        text: words; empty lists instruments by their symbols.
        exchange: only of this one; empty: of all.
        limit: the most rows.
        preferred: the family of exchanges that comes first ("BSE"); empty: NSE's.
        prices: tells last prices, see there.
    """
    search = _Search(sorted(set(brokers)), limit, preferred, prices)
    for words in meanings(text, exchange):
        if search.take(words):
            break
    return list(search.found.values())[:limit]


@dataclass(slots=True)
class _Search:
    """One search under way: what it has found so far, in order."""

    brokers: Sequence[str]
    limit: int
    preferred: str
    prices: Prices
    found: dict[_Key, Row] = field(default_factory=dict)

    def take(self, words: SearchWords) -> bool:
        """Add what ``words`` mean; True when there is room for nothing more."""
        if words.is_empty:
            return self._all(words)
        heads = (words.names or words.numbers)[:MAX_HEADS]
        steps = [self._exact(words, heads), self._cash(words, heads)]
        if not words.is_name_only:
            steps += [self._derivatives(words), self._glued(words)]
        return any(self._is_full(rows) for step in steps for rows in step)

    def _is_full(self, rows: Iterable[Row]) -> bool:
        for row in rows:
            self.found.setdefault((row["broker"], row["exchange"], row["symbol"]), row)
        return len(self.found) >= self.limit

    def _all(self, words: SearchWords) -> bool:
        """List instruments by their symbols: nothing was typed, or a kind alone."""
        tiers = self._tiers(words)
        place: _Place = lambda row: (row["symbol"], self._rank(row))  # noqa: E731
        return any(
            self._is_full(self._read(Q(), (tier,), words, (), ("symbol", "exchange"), place))
            for tier in tiers
        )

    def _exact(self, words: SearchWords, heads: Sequence[str]) -> Iterator[list[Row]]:
        for head in heads:
            names = {head, *(filter(None, (common_name(each, head) for each in COMMON_NAMES)))}
            narrowed = _words_in(_without(words, head), words)
            rows = Instrument.objects.filter(
                narrowed, broker__in=self.brokers, symbol__in=names, tier__in=self._tiers(words)
            )
            meant = [row for row in rows.values("tier", *COLUMNS) if _means(row, head)]
            place: _Place = lambda row, head=head: (  # type: ignore[misc]  # noqa: E731
                row["symbol"] != head,
                row.pop("tier"),
                self._rank(row),
            )
            yield sorted(meant, key=place)

    def _cash(self, words: SearchWords, heads: Sequence[str]) -> Iterator[list[Row]]:
        if words.has_kind:
            return
        order = ("length", "symbol", "exchange")
        place: _Place = lambda row: (  # noqa: E731
            len(row["symbol"]),
            row["symbol"],
            self._rank(row),
        )
        for field_name in ("symbol", "words__word"):
            for head in heads:
                begins = starting_with(field_name, head)
                others = _without(words, head)
                yield self._read(begins, (SearchTier.CASH,), words, others, order, place)

    def _derivatives(self, words: SearchWords) -> Iterator[list[Row]]:
        heads = words.names[:MAX_HEADS]
        exact = [(head, head) for head in heads if self._has_chain(head)]
        alike: list[tuple[str, str]] | None = None
        for tier in self._kinds(words):
            for head, under in exact:
                yield from self._of_chain(words, head, under, tier)
            if alike is None:
                # Steps along the index, which nobody needs whom the typed underlying satisfies.
                alike = self._underlyings_like(heads)
            for head, under in alike:
                yield from self._of_chain(words, head, under, tier)
            for head in () if words.has_kind and not words.side else heads:
                if not head.isalpha():
                    # Begins in the expiry, which no underlying does.
                    order = ("expiry", "strike", "symbol", "exchange")
                    begins = starting_with("symbol", head)
                    yield self._read(
                        begins, (tier,), words, _without(words, head), order, _by_expiry
                    )
        if words.numbers and not words.names and not words.wants_futures:
            yield from self._any_of_strike(words)

    def _kinds(self, words: SearchWords) -> list[SearchTier]:
        return [tier for tier in self._tiers(words) if tier is not SearchTier.CASH]

    def _of_chain(
        self, words: SearchWords, head: str, underlying: str, tier: SearchTier
    ) -> Iterator[list[Row]]:
        others = tuple(word for word in words.names if word != head)
        chain = Chain(self.brokers, underlying, tier, replace(words, names=others), self.preferred)
        room = self.limit - len(self.found)
        if tier is SearchTier.FUTURE:
            yield self._rows(chain.futures(room))
        else:
            yield self._rows(chain.options(room, self.prices))

    def _any_of_strike(self, words: SearchWords) -> Iterator[list[Row]]:
        """Return options of a strike that names no underlying: those of indices first."""
        room = self.limit - len(self.found)
        yield self._rows(
            options_of_strike(self.brokers, INDEX_UNDERLYINGS, words, self.preferred, room)
        )
        room = self.limit - len(self.found)
        yield self._rows(options_of_strike(self.brokers, (), words, self.preferred, room))

    def _glued(self, words: SearchWords) -> Iterator[list[Row]]:
        """Return what one word means that is underlying, strike and side without a space."""
        for word in words.names[:MAX_HEADS]:
            splits = dict(glued_names(word))
            known = [name for name in splits if self._has_chain(name)]
            for name in sorted(known, key=len, reverse=True):
                others = tuple(each for each in words.names if each != word)
                meant = replace(
                    splits[name],
                    names=(name, *others),
                    cycle=words.cycle,
                    exchanges=words.exchanges,
                )
                yield from self._derivatives(meant)

    def _underlyings_like(self, heads: Sequence[str]) -> list[tuple[str, str]]:
        return [
            (head, under)
            for head in heads
            for under in underlyings_like(self.brokers, head, MAX_UNDERLYINGS)
            if under != head
        ]

    def _has_chain(self, underlying: str) -> bool:
        tiers = (SearchTier.FUTURE, SearchTier.OPTION)
        return any(
            Instrument.objects.filter(broker=broker, tier=tier, underlying=underlying).exists()
            for broker in self.brokers
            for tier in tiers
        )

    def _tiers(self, words: SearchWords) -> tuple[SearchTier, ...]:
        if not words.has_kind:
            return LISTED
        wanted = (
            (words.wants_futures, SearchTier.FUTURE),
            (words.wants_options, SearchTier.OPTION),
        )
        return tuple(tier for is_wanted, tier in wanted if is_wanted)

    def _rank(self, row: Row) -> tuple[int, str]:
        return rank_of(row["exchange"], self.preferred)

    def _read(
        self,
        condition: Q,
        tiers: Sequence[SearchTier],
        words: SearchWords,
        others: Sequence[str],
        order: Sequence[str],
        place: _Place,
    ) -> list[Row]:
        """Return the best rows of all brokers; ``place`` says what is best, ``order`` nearly so."""
        # One broker and kind after the other: each is one range of an index.
        rows = [
            row
            for broker in self.brokers
            for tier in tiers
            for row in self._best(_narrowed(condition, broker, tier, words, others), order)
        ]
        return sorted(rows, key=place)

    def _best(self, condition: Q, order: Sequence[str]) -> list[Row]:
        """Sort in the index first, so that only the rows of the result are read from the table."""
        # The same share at two exchanges must not be cut in the middle.
        ids = _ordered(Instrument.objects.filter(condition), order).values("pk")[: self.limit + 1]
        return list(_ordered(Instrument.objects.filter(pk__in=ids), order).values(*COLUMNS))

    def _rows(self, ids: Sequence[int]) -> list[Row]:
        """Read rows in the order of their ids."""
        if not ids:
            return []
        rows = {
            row["pk"]: row for row in Instrument.objects.filter(pk__in=ids).values("pk", *COLUMNS)
        }
        return [{name: rows[pk][name] for name in COLUMNS} for pk in ids if pk in rows]


def _means(row: Row, head: str) -> bool:
    symbol: str = row["symbol"]
    return symbol in (head, common_name(row["exchange"], head))


def _by_expiry(row: Row) -> tuple[Any, ...]:
    return (row["expiry"], row["strike"] or 0.0, row["symbol"], row["exchange"])


def _without(words: SearchWords, head: str) -> tuple[str, ...]:
    return tuple(word for word in (*words.names, *words.numbers) if word != head)


def _narrowed(
    condition: Q, broker: str, tier: SearchTier, words: SearchWords, others: Sequence[str]
) -> Q:
    # By name the words' index leads: naming the instruments' broker would offer another one.
    is_by_name = any(child[0] == _BY_NAME for child in condition.children if type(child) is tuple)
    condition = condition & Q(tier=tier)
    condition &= Q(words__broker=broker) if is_by_name else Q(broker=broker)
    return condition & _words_in(others, words, has_name=tier is SearchTier.CASH)


def _words_in(others: Sequence[str], words: SearchWords, *, has_name: bool = True) -> Q:
    condition = Q()
    if words.exchanges:
        condition &= Q(exchange__in=words.exchanges)
    if words.side:
        condition &= side_of(words.side)
    for word in others:
        contains = Q(symbol__contains=word)
        condition &= contains | Q(name__contains=word) if has_name else contains
    return condition


def _ordered(rows: QuerySet[Instrument], order: Sequence[str]) -> QuerySet[Instrument]:
    return rows.annotate(length=Length("symbol")).order_by(*order)
