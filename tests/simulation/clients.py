"""What the clients of a simulation wish for and believe, kept apart from what the pool knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from brokers.pool_service import (
    FeedChange,
    FeedEvent,
    FeedStatus,
    Holder,
    Outcome,
    OutcomeState,
    RefusalCode,
    SubscriptionChange,
    Want,
)
from brokers.types import FeedMode, InstrumentKey

__all__ = ["Clients"]

NOT_LISTED = (RefusalCode.SYMBOL_NOT_FOUND, RefusalCode.SYMBOL_EXPIRED)  # nobody waits for these


class Clients:
    """Wishes by holder as they were accepted, and which instruments are believed to be live.

    ``displaced`` are wanted instruments that are told to have lost their place to lowered limits,
    ``untold`` those whose names could not be looked up yet.
    """

    def __init__(self) -> None:
        self.wishes: dict[Holder, dict[InstrumentKey, FeedMode]] = {}
        self.refused: dict[Holder, dict[InstrumentKey, FeedMode]] = {}
        self.believed: set[InstrumentKey] = set()
        self.displaced: set[InstrumentKey] = set()
        self.untold: set[InstrumentKey] = set()
        self.status = FeedStatus.LIVE
        self._requests = 0
        self._first_asked: dict[InstrumentKey, int] = {}  # by number of the request
        self._wanted_since: dict[InstrumentKey, int] = {}

    @property
    def wanted(self) -> dict[InstrumentKey, FeedMode]:
        """The highest accepted mode of each wanted instrument."""
        return _highest(self.wishes)

    @property
    def waiting(self) -> dict[InstrumentKey, FeedMode]:
        """The highest mode that was refused and not given up."""
        return _highest(self.refused)

    def answered(self, holder: Holder, wants: Sequence[Want], outcomes: Sequence[Outcome]) -> None:
        """Take the answers to a request."""
        self.asked(want.key for want in wants)
        before = self.wanted.keys()
        self._take_answers(holder, wants, outcomes)
        news = self.wanted.keys() - before
        self._wanted_since.update(dict.fromkeys(news, self._requests))

    def asked(self, keys: Iterable[InstrumentKey]) -> None:
        """Take note of a request, also of one that nobody waits for."""
        self._requests += 1
        for key in keys:
            self._first_asked.setdefault(key, self._requests)

    @property
    def overtaken(self) -> list[tuple[InstrumentKey, InstrumentKey]]:
        """What waits for a place, with each that has one and was surely asked for later."""
        return [
            (waiting, placed)
            for waiting in sorted(self.displaced)
            for placed in sorted(self.wanted.keys() - self.displaced)
            if self._wanted_since[waiting] < self._first_asked[placed]
        ]

    def _take_answers(
        self, holder: Holder, wants: Iterable[Want], outcomes: Iterable[Outcome]
    ) -> None:
        for want, outcome in zip(wants, outcomes, strict=True):
            if outcome.code in NOT_LISTED:
                self.refused.get(holder, {}).pop(want.key, None)
                self.wishes.get(holder, {}).pop(want.key, None)
                self._forget_unwanted()
                continue
            if outcome.state is OutcomeState.REFUSED:
                self.refused.setdefault(holder, {})[want.key] = want.mode
                if self.wishes.get(holder, {}).get(want.key) == want.mode:
                    del self.wishes[holder][want.key]  # it was lost, and said again
                continue
            self.refused.get(holder, {}).pop(want.key, None)
            self.wishes.setdefault(holder, {})[want.key] = want.mode
            self._accepted(outcome)

    def earlier(self, holder: Holder, wants: Iterable[Want]) -> list[Want]:
        """Return what a holder had of those of ``wants`` that were refused."""
        had, refused = self.wishes.get(holder, {}), self.refused.get(holder, {})
        return [Want(w.key, had[w.key]) for w in wants if w.key in refused and w.key in had]

    def released(self, holder: Holder, keys: Iterable[InstrumentKey] | None) -> None:
        """Take a release: None is everything."""
        if keys is None:
            self.wishes.pop(holder, None)
            self.refused.pop(holder, None)
        for key in keys or ():
            self.wishes.get(holder, {}).pop(key, None)
            self.refused.get(holder, {}).pop(key, None)
        self._forget_unwanted()

    def gateway_ended(self, gateway: str) -> None:
        """Take the end of a gateway and all its clients."""
        for holder in [*self.wishes, *self.refused]:
            if holder.gateway == gateway:
                self.released(holder, None)

    def heard(self, event: FeedEvent) -> None:
        """Take what the worker told its listeners."""
        if isinstance(event, FeedChange):
            self._heard_status(event)
        elif isinstance(event, SubscriptionChange):
            for outcome in event.outcomes:
                self._heard_outcome(outcome)

    def _heard_status(self, change: FeedChange) -> None:
        live = change.status is FeedStatus.LIVE
        if change.keys is None:
            self.status = change.status
            self.believed = self.wanted.keys() - self.untold if live else set()
        elif live:
            self.believed.update((self.wanted.keys() - self.untold) & set(change.keys))
        else:
            self.believed.difference_update(change.keys)

    def _heard_outcome(self, outcome: Outcome) -> None:
        if outcome.state is not OutcomeState.REFUSED:
            self._accepted(outcome)
            return
        if outcome.code in NOT_LISTED:
            for names in (*self.wishes.values(), *self.refused.values()):
                names.pop(outcome.key, None)
        for holder, modes in self.wishes.items():
            if modes.get(outcome.key) == outcome.mode:
                del modes[outcome.key]
                self.refused.setdefault(holder, {})[outcome.key] = outcome.mode
        self._forget_unwanted()

    def _accepted(self, outcome: Outcome) -> None:
        if outcome.code is RefusalCode.BROKER_UNAVAILABLE:
            self.untold.add(outcome.key)
        else:
            self.untold.discard(outcome.key)
        if outcome.code is RefusalCode.MAX_CAPACITY_REACHED:
            self.displaced.add(outcome.key)
        else:
            self.displaced.discard(outcome.key)
        if outcome.state is OutcomeState.ACTIVE and outcome.key in self.wanted:
            self.believed.add(outcome.key)

    def _forget_unwanted(self) -> None:
        self.believed &= self.wanted.keys()
        self.displaced &= self.wanted.keys()
        self.untold &= self.wanted.keys()


def _highest(
    modes_of: dict[Holder, dict[InstrumentKey, FeedMode]],
) -> dict[InstrumentKey, FeedMode]:
    highest: dict[InstrumentKey, FeedMode] = {}
    for modes in modes_of.values():
        for key, mode in modes.items():
            highest[key] = max(mode, highest.get(key, mode))
    return highest
