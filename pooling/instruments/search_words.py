"""The meaning of what a trader types into a search, whatever the order of the words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from pooling.instruments.exchange_order import FAMILIES, exchange_ranks

__all__ = ["Cycle", "SearchWords", "glued_names", "meanings"]

MAX_WORDS: Final = 8
_FUTURES: Final = frozenset({"FUT", "FUTURE", "FUTURES"})
_OPTIONS: Final = frozenset({"OPT", "OPTION", "OPTIONS"})
_SIDES: Final = {"CE": "CE", "CALL": "CE", "CALLS": "CE", "PE": "PE", "PUT": "PE", "PUTS": "PE"}
_NUMBER: Final = re.compile(r"\d{1,9}(?:\.\d{1,4})?", re.ASCII)
# "24100CE": a strike and its side in one.
_STRIKE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,4})?)(CE|PE)", re.ASCII)
# "NIFTY24100CE", "NIFTY24100", "NIFTYFUT": what the underlying is must be looked up.
_GLUED: Final = re.compile(r"([A-Z][A-Z0-9&-]*?)(\d+(?:\.\d{1,4})?)?(CE|PE|FUT)?", re.ASCII)
_LEAST_GLUED_STRIKE: Final = 3
_MOST_GLUED_STRIKE: Final = 7


class Cycle(Enum):
    """The expiries that are meant: all, those of a week, or the last of each month."""

    ANY = ""
    WEEKLY = "WEEKLY"
    MONTHLY = "MONTHLY"


@dataclass(frozen=True, slots=True)
class SearchWords:
    """One meaning of a text.

    ``names`` are what instruments are called by, in the order in which they were typed; ``numbers``
    are strikes or parts of a name. ``side`` is CE, PE or "". No ``exchanges``: all.
    ``is_name_only``: only what is called so is meant, no derivatives of it.
    """

    names: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    side: str = ""
    wants_futures: bool = False
    wants_options: bool = False
    cycle: Cycle = Cycle.ANY
    exchanges: tuple[str, ...] = ()
    is_name_only: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said of what instruments are called."""
        return not (self.names or self.numbers)

    @property
    def has_kind(self) -> bool:
        """Whether futures or options alone are meant."""
        return self.wants_futures or self.wants_options


def meanings(text: str, exchange: str = "") -> Iterator[SearchWords]:
    """Yield what ``text`` may mean, the most literal first.

    The name of an exchange may be a part of a name (the BSE's own share) or say where: its
    derivatives then, too. ``exchange`` is the only one that is searched; "": all.
    """
    words = _read(text.upper().split()[:MAX_WORDS], exchange)
    where = [name for name in words.names if name in exchange_ranks()]
    if exchange or not where or len(words.names) < 2:
        yield words
    else:
        yield replace(words, is_name_only=True)
        names = tuple(name for name in words.names if name != where[0])
        yield replace(words, names=names, exchanges=FAMILIES.get(where[0], (where[0],)))


def glued_names(word: str) -> Iterator[tuple[str, SearchWords]]:
    """Yield the underlyings that may begin ``word``, with what the rest of it then says.

    "NIFTYNXT5060000CE" may be NIFTYNXT, NIFTYNXT5, NIFTYNXT50 ... at the rest as its strike.
    """
    found = _GLUED.fullmatch(word)
    if found is None:
        return
    name, digits, ending = found[1], found[2] or "", found[3] or ""
    rest = SearchWords(
        side=ending if ending != "FUT" else "",
        wants_futures=ending == "FUT",
        wants_options=ending != "FUT",
    )
    if ending and not digits:
        yield name, replace(rest, names=(name,))
        return
    whole = len(digits.partition(".")[0])
    for at in range(whole):
        strike = digits[at:]
        if strike.startswith("0"):
            continue
        if _LEAST_GLUED_STRIKE <= whole - at <= _MOST_GLUED_STRIKE or ending in ("CE", "PE"):
            under = name + digits[:at]
            yield under, replace(rest, names=(under,), numbers=(strike,))


def _read(words: list[str], exchange: str) -> SearchWords:
    names: list[str] = []
    numbers: list[str] = []
    found = SearchWords(exchanges=(exchange,) if exchange else ())
    for word in words:
        strike = _STRIKE.fullmatch(word)
        if _NUMBER.fullmatch(word):
            numbers.append(word)
        elif strike is not None:
            numbers.append(strike[1])
            found = replace(found, side=strike[2], wants_options=True)
        elif len(words) > 1 and (kind := _kind(word, found)) is not None:
            found = kind
        else:
            names.append(word)
    return replace(found, names=tuple(names), numbers=tuple(numbers))


def _kind(word: str, found: SearchWords) -> SearchWords | None:
    """Return ``found`` with what a word says of the kind; None for a word that says nothing."""
    if word in _FUTURES:
        return replace(found, wants_futures=True)
    if word in _OPTIONS:
        return replace(found, wants_options=True)
    if word in _SIDES:
        return replace(found, side=_SIDES[word], wants_options=True)
    if word == Cycle.WEEKLY.value:
        return replace(found, cycle=Cycle.WEEKLY, wants_options=True)
    if word == Cycle.MONTHLY.value:
        both = not found.has_kind
        return replace(
            found,
            cycle=Cycle.MONTHLY,
            wants_options=found.wants_options or both,
            wants_futures=found.wants_futures or both,
        )
    return None
