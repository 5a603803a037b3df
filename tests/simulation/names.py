"""What a simulation's instruments are called: number N is symbol SN, and is traded under a token.

At the start N is its token, too. Loads change that as brokers do over night: contracts expire, get
other tokens, exchange them, or get those of others. A price carries the number of what is traded,
so that one that came out under another's name can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

from brokers.types import Instrument, InstrumentKey
from pooling.testing import make_instrument

__all__ = ["QUIET_SECONDS", "Listing", "key_of", "price_of", "told_by"]

# From a load until what means something else by it trades again: brokers give tokens to others
# while the market is closed. Long enough for a worker to notice, as long as its store answers.
QUIET_SECONDS = 5.0
_NUMBER_BITS = 20
_LAST_TOKEN = 99


@cache
def key_of(number: int) -> InstrumentKey:
    """Return the name of what is traded as a number."""
    return make_instrument(number).key


def price_of(number: int, tick: int) -> int:
    """Return the price that says what is traded, and which tick of the market it is."""
    return number << _NUMBER_BITS | tick


def told_by(price: int) -> tuple[int, int]:
    """Return what is traded, and the number of the tick."""
    return price >> _NUMBER_BITS, price & ((1 << _NUMBER_BITS) - 1)


class Listing:
    """Which token stands for what, today and before. Times are the loop's.

    Args:
        numbers: of what is listed at the start.
    """

    def __init__(self, numbers: Iterable[int], now: Callable[[], float]) -> None:
        self._tokens = {number: number for number in numbers}  # of today
        self._meanings = {number: number for number in self._tokens}  # what a token stood for last
        self._dead: set[int] = set()  # tokens of nothing any more
        self._quiet_until: dict[int, float] = {}
        self._meant_since: dict[int, float] = {}
        self._changed_at: dict[int, float] = {}
        self._fresh = max(self._tokens) + 1
        self._now = now

    @property
    def instruments(self) -> list[Instrument]:
        """The master of today."""
        return [Instrument(key_of(number), str(t)) for number, t in self._tokens.items()]

    def number_of(self, token: int) -> int:
        """Return what a token stands for, or stood for last."""
        return self._meanings[token]

    def name_of(self, token: int) -> InstrumentKey:
        """Return the name of what a token stands for, or stood for last."""
        return key_of(self._meanings[token])

    def token_of(self, key: InstrumentKey) -> int | None:
        """Return the token of today; None: it is not listed."""
        return self._tokens.get(_number(key))

    def tokens_of(self, key: InstrumentKey) -> list[int]:
        """Return every token by which it trades, those of before included."""
        number = _number(key)
        return [t for t, n in self._meanings.items() if n == number and t not in self._dead]

    def trades(self, token: int) -> bool:
        """Tell whether a token ticks now."""
        return token not in self._dead and self._now() >= self.quiet_until(token)

    def quiet_until(self, token: int) -> float:
        """Return until when a token does not tick; in the past, if it does."""
        return self._quiet_until.get(token, float("-inf"))

    def meant_since(self, token: int) -> float:
        """Return since when a token means what it does."""
        return self._meant_since.get(token, float("-inf"))

    def has_settled(self, key: InstrumentKey, seconds: float = QUIET_SECONDS) -> bool:
        """Tell whether everybody had the time to hear of the last change of a name."""
        return self._now() >= self._changed_at.get(_number(key), float("-inf")) + seconds

    def stop(self) -> None:
        """Note that nobody can hear of a change for the time being."""
        now = self._now()
        for times, least in ((self._quiet_until, now), (self._changed_at, now - QUIET_SECONDS)):
            times |= {each: float("inf") for each, at in times.items() if at > least}

    def go_on(self) -> None:
        """Note that everybody can hear of changes again."""
        now = self._now()
        for times, at in ((self._quiet_until, now + QUIET_SECONDS), (self._changed_at, now)):
            times |= {each: at for each, until in times.items() if until == float("inf")}

    def load(self, changes: Sequence[tuple[str, tuple[int, ...]]]) -> None:
        """Change what is listed: names of the methods below with their arguments, in order."""
        before = dict(self._meanings)
        for name, numbers in changes:
            getattr(self, name)(*numbers)
        # What a token meant for no time at all, within one night, it does not go on to mean.
        unlisted = before.keys() - self._tokens.values()
        self._dead |= {token for token in unlisted if self._meanings[token] != before[token]}

    def swap(self, one: int, other: int) -> None:
        """Have two exchange their tokens."""
        if one in self._tokens and other in self._tokens and one != other:
            tokens = self._tokens[one], self._tokens[other]
            self._give(other, tokens[0])
            self._give(one, tokens[1])

    def move(self, number: int) -> None:
        """Give one a token that nobody had; the one of before stays its own."""
        if number in self._tokens and self._fresh <= _LAST_TOKEN:
            self._give(number, self._fresh)
            self._fresh += 1

    def expire(self, number: int) -> None:
        """List one no more."""
        if self._tokens.pop(number, None) is not None:
            self._dead |= {t for t, meaning in self._meanings.items() if meaning == number}
            self._changed_at[number] = self._now()

    def reuse(self, number: int, heir: int) -> None:
        """List one no more and give its token to another."""
        token = self._tokens.get(number)
        if token is not None and heir in self._tokens and heir != number:
            self.expire(number)
            self._give(heir, token)

    def relist(self, with_tokens_of_others: int) -> None:
        """List everything again."""
        for number in list(self._changed_at):
            if number in self._tokens:
                continue
            if with_tokens_of_others and self._dead:
                self._give(number, max(self._dead))
            elif self._fresh <= _LAST_TOKEN:
                self._give(number, self._fresh)
                self._fresh += 1

    def _give(self, number: int, token: int) -> None:
        now = self._now()
        if self._meanings.get(token, number) != number:
            self._quiet_until[token] = now + QUIET_SECONDS
        if self._meanings.get(token) != number:
            self._meant_since[token] = now
        self._tokens[number], self._meanings[token] = token, number
        self._dead.discard(token)
        self._changed_at[number] = now


def _number(key: InstrumentKey) -> int:
    return int(key.symbol[1:])
