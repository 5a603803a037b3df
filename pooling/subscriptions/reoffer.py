"""Change of what a broker offers an account: who may keep what it holds. Pure."""

from __future__ import annotations

from brokers.contract import BrokerCapabilities
from brokers.pool_service import Outcome, OutcomeState, RefusalCode, Want
from brokers.types import InstrumentKey
from pooling.subscriptions.book import SubscriptionBook
from pooling.subscriptions.offer import BrokerOffer
from pooling.subscriptions.tracker import Interest, Level

__all__ = ["reoffer"]


def reoffer(book: SubscriptionBook, capabilities: BrokerCapabilities, now: float) -> list[Outcome]:
    """Have the book follow other modes and depth levels; returns the wants that end by it.

    Whoever holds an instrument at what is still offered keeps it.
    """
    book.offer = BrokerOffer(modes=capabilities.modes, depth_levels=capabilities.depth_levels)
    ended: list[Outcome] = []
    for key in list(book):
        interest = book.get(key)
        if interest is not None and _is_refused(book.offer, key, interest):
            ended += _hold_again(book, key, interest, now)
    return ended


def _is_refused(offer: BrokerOffer, key: InstrumentKey, interest: Interest) -> bool:
    levels = {interest.upstream, *interest.levels}
    return any(offer.refusal(_want(key, level)) is not None for level in levels)


def _hold_again(
    book: SubscriptionBook, key: InstrumentKey, interest: Interest, now: float
) -> list[Outcome]:
    holders, instrument = dict(interest.holders), interest.instrument
    book.expel([key], RefusalCode.UNSUPPORTED_DEPTH_LEVEL, "")
    outcomes = (
        book.want(holder, _want(key, level), instrument, now) for holder, level in holders.items()
    )
    refused = [each for each in outcomes if each.state is OutcomeState.REFUSED]
    return list({(each.mode, each.depth_levels): each for each in refused}.values())


def _want(key: InstrumentKey, level: Level) -> Want:
    return Want(key, level.mode, level.depth_levels, stands=True)
