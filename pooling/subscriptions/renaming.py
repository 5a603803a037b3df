"""What becomes of wants when the broker calls things by other names from now on. Pure.

A *name* is wanted; the *token* behind it is the broker's for as long as a master lists it so. After
each load everything that holds a token is compared with what the name means today:

- What left the master ends for all its holders and is cut off.
- What got another token is subscribed by the new one. The earlier one stays until the new one
  speaks, unless it is somebody else's by now: then it is cut off before anything else is done, so
  that no price of one instrument is ever published under another's name.
- Whatever else changed (lot, tick size, expiry) disturbs nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from brokers.pool_service import Outcome
from brokers.types import Instrument, InstrumentKey, Subscription
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.outcomes import Gone

__all__ = ["Renamed", "follow_names", "names_in"]


@dataclass(slots=True)
class Renamed:
    """What the shell has to do and tell.

    ``ended`` are the wants that end, ``renamed`` what is wanted by another token from now on, and
    ``restarted`` what has no price until it is confirmed anew. ``cut`` is to be silent at once, by
    connection; ``old`` are names whose last values are nobody's any more.
    """

    ended: list[Outcome] = field(default_factory=list)
    restarted: list[InstrumentKey] = field(default_factory=list)
    renamed: list[InstrumentKey] = field(default_factory=list)
    cut: dict[int, list[Subscription]] = field(default_factory=dict)
    old: list[InstrumentKey] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.ended or self.renamed or self.cut)


def names_in(book: SubscriptionBook) -> dict[InstrumentKey, set[str]]:
    """Return every name that is wanted or may tick, with the tokens that stand for it now."""
    found: dict[InstrumentKey, set[str]] = {}
    for key in book.tracker:
        interest = book.tracker.get(key)
        if interest is not None:
            found[key] = {interest.instrument.broker_token}
    for _, subscription in book.carried():
        instrument = subscription.instrument
        found.setdefault(instrument.key, set()).add(instrument.broker_token)
    return found


def follow_names(
    book: SubscriptionBook,
    today: Mapping[InstrumentKey, Instrument],
    gone: Mapping[InstrumentKey, Gone],
    taken: Collection[str],
) -> Renamed:
    """Have a book follow what its names mean today.

    Args:
        book: whose names they are.
        today: what is listed, by name.
        gone: names that are not. One that is in neither stays as it is.
        taken: those of the tokens in ``names_in`` that are listed today, under whatever name.
    """
    renamed = Renamed()
    book.gone = gone
    for key, why in gone.items():
        renamed.ended += book.expel([key], why.code, why.message)
    for key, instrument in today.items():
        interest = book.tracker.get(key)
        if interest is None or interest.instrument.broker_token == instrument.broker_token:
            continue
        is_free = interest.instrument.broker_token not in taken
        was_confirmed = interest.confirmed is not None
        renamed.renamed.append(key)
        if not book.rename(instrument, keeps_former=is_free) and was_confirmed:
            renamed.restarted.append(key)
    for slot, subscription in book.carried():
        key, token = subscription.instrument.key, subscription.instrument.broker_token
        is_kept = (
            key in today and token != today[key].broker_token and book.keeps(slot, subscription)
        )
        if is_kept and token in taken and book.end_former(key):
            renamed.restarted.append(key)
    old = dict.fromkeys(gone)
    for slot, subscription in book.carried():
        if _is_cut(book, slot, subscription, today, gone):
            book.cut(slot, subscription)
            renamed.cut.setdefault(slot, []).append(subscription)
            old[subscription.instrument.key] = None
    renamed.old = [*old]
    return renamed


def _is_cut(
    book: SubscriptionBook,
    slot: int,
    subscription: Subscription,
    today: Mapping[InstrumentKey, Instrument],
    gone: Mapping[InstrumentKey, Gone],
) -> bool:
    key, token = subscription.instrument.key, subscription.instrument.broker_token
    if key in gone:
        return True
    named = today.get(key)
    return named is not None and named.broker_token != token and not book.keeps(slot, subscription)
