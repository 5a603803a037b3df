"""Angel One's books of 20 levels: two pairs, two frames, one tick; and what has not so many."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from brokers.angel.connection import AngelAdapter
from brokers.contract import CategoryLimit, Confirmed, Notice, SubscriptionRejected
from brokers.exceptions import BrokerConfigError, BrokerError
from brokers.simulator.angel.encoder import AngelMode, encode_tick, name_of
from brokers.simulator.listing import Segment
from brokers.simulator.market import Quote
from brokers.testing import RecordingSink
from brokers.types import DepthLevel, FeedMode, Instrument, InstrumentKey, Subscription
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import effective_limits
from pooling.testing import make_instrument
from tests.fix_simulator import make_market
from tests.unit.brokers.angel.test_angel_adapter import pairs_held, refusal, request, sent

LTP, QUOTE, DEPTH = FeedMode
DEEP = AngelAdapter.with_settings({"asks_20_levels": True})
OPTION = Instrument(InstrumentKey("NFO", "X"), "2:58662")


@pytest.fixture(scope="module")
def quote() -> Quote:
    quotes = make_market().quotes.values()
    return next(each for each in quotes if each.instrument.segment is Segment.NSE and each.volume)


@pytest.fixture
def share(quote: Quote) -> Instrument:
    name = name_of(quote.instrument)
    assert name is not None
    return Instrument(InstrumentKey("NSE", "A"), f"1:{name.token}")


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> AngelAdapter:
    return DEEP(sink=sink)


def deep(instrument: Instrument) -> Subscription:
    return Subscription(instrument, DEPTH, 20)


def shares(count: int, mode: FeedMode, levels: int = 5) -> list[Subscription]:
    return [
        Subscription(Instrument(InstrumentKey("NSE", f"S{at}"), f"1:{at}"), mode, levels)
        for at in range(count)
    ]


def asks(quote: Quote, count: int) -> tuple[DepthLevel, ...]:
    return tuple(DepthLevel(*level) for level in quote.asks(count))


def test_they_are_not_asked_for_unless_the_account_says_so() -> None:
    assert AngelAdapter.capabilities.depth_levels == (5,)
    assert AngelAdapter.capabilities.category_limits == ()
    capabilities = DEEP.capabilities
    assert capabilities.depth_levels == (5, 20)
    assert capabilities.category_limits == (CategoryLimit("depth20", 50, 50),)
    assert capabilities.symbols_per_connection == 900


def test_a_connection_carries_fifty_and_stays_within_its_thousand_pairs(
    adapter: AngelAdapter,
) -> None:
    limits = effective_limits(
        symbols_per_connection=10_000, max_connections=1, capabilities=DEEP.capabilities
    )
    allocator = Allocator(limits=limits, cost=DEEP.cost, category=DEEP.category)
    for number in range(50):
        allocator.assign(Subscription(make_instrument(number), DEPTH, 20))
    with pytest.raises(PoolCapacityError):
        allocator.assign(Subscription(make_instrument(50), DEPTH, 20))
    for number in range(50, 900):
        allocator.assign(Subscription(make_instrument(number), DEPTH, 5))
    with pytest.raises(PoolCapacityError):
        allocator.assign(Subscription(make_instrument(900), LTP))


@pytest.mark.parametrize("kept_free", [1, 50])
def test_no_change_of_a_full_connection_exceeds_its_pairs(kept_free: int) -> None:
    configured = AngelAdapter.with_settings({"asks_20_levels": True, "pairs_kept_free": kept_free})
    adapter = configured(sink=RecordingSink())
    room = configured.capabilities.symbols_per_connection
    low, flat = shares(room, LTP), shares(room, DEPTH)
    mixed = shares(50, DEPTH, 20) + flat[50:]
    messages = adapter.subscribe(low)
    for before, after in ((low, mixed), (mixed, flat), (flat, mixed), (mixed, low)):
        messages += adapter.change_mode(list(zip(before, after, strict=True)))
        wanted = {(item.instrument.broker_token, 3) for item in after if item.mode is DEPTH}
        wanted |= {(item.instrument.broker_token, 4) for item in after if item.depth_levels == 20}
        wanted |= {(item.instrument.broker_token, 1) for item in after if item.mode is LTP}
        most, held = pairs_held(messages)
        assert held == wanted
        assert most <= 1000


def test_a_book_of_20_levels_is_a_pair_beside_that_of_five(
    adapter: AngelAdapter, share: Instrument
) -> None:
    segment, token = share.broker_token.split(":")
    named = {int(segment): [token]}
    assert sent(adapter.subscribe([deep(share)])) == [request(1, 3, named), request(1, 4, named)]
    flat = Subscription(share, DEPTH)
    assert sent(adapter.change_mode([(deep(share), flat)])) == [request(0, 4, named)]
    assert sent(adapter.change_mode([(flat, deep(share))])) == [request(1, 4, named)]
    assert sent(adapter.unsubscribe([deep(share)])) == [request(0, 3, named), request(0, 4, named)]


def test_a_request_names_fewer_of_them_than_of_others(adapter: AngelAdapter) -> None:
    sizes = {
        (each["params"]["mode"], len(each["params"]["tokenList"][0]["tokens"]))
        for each in sent(adapter.subscribe(shares(50, DEPTH, 20)))
    }
    assert sizes == {(3, 50), (4, 49), (4, 1)}


def test_both_frames_make_one_tick(
    adapter: AngelAdapter, sink: RecordingSink, quote: Quote, share: Instrument
) -> None:
    adapter.subscribe([deep(share)])
    book, priced = (encode_tick(quote, mode) for mode in (AngelMode.DEPTH_20, AngelMode.SNAP_QUOTE))
    assert adapter.receive(book, 0) == ()
    assert sink.published == [], "a book without a price"
    assert adapter.receive(priced, 0) == (Confirmed((share.key,)),)
    moved = replace(quote, last_price=quote.last_price + quote.instrument.tick)
    assert adapter.receive(encode_tick(moved, AngelMode.SNAP_QUOTE), 0) == ()
    adapter.receive(encode_tick(moved, AngelMode.DEPTH_20), 0)
    ticks = sink.ticks
    assert [tick.ltp for tick in ticks] == [quote.last_price, *[moved.last_price] * 2]
    assert [tick.asks for tick in ticks] == [asks(quote, 20), asks(quote, 20), asks(moved, 20)]
    for tick in ticks:
        assert tick.bids
        assert tick.asks
        assert (tick.bid_price, tick.bid_size) == tick.bids[0][:2]
        assert (tick.ask_price, tick.ask_size) == tick.asks[0][:2]
    assert {tick.volume for tick in ticks} == {quote.volume}
    assert adapter.ticks_published == 3


def test_five_levels_do_until_the_book_has_come(
    adapter: AngelAdapter, sink: RecordingSink, quote: Quote, share: Instrument
) -> None:
    adapter.subscribe([deep(share)])
    assert adapter.receive(encode_tick(quote, AngelMode.SNAP_QUOTE), 0) == ()
    assert sink.ticks[-1].asks == asks(quote, 5)
    assert adapter.receive(encode_tick(quote, AngelMode.LTP), 0) == ()
    assert sink.ticks[-1].mode is LTP, "the mode that it had before"
    book = encode_tick(quote, AngelMode.DEPTH_20)
    assert adapter.receive(book, 0) == (Confirmed((share.key,)),)
    assert sink.ticks[-1].asks == asks(quote, 20)


def test_a_book_that_has_ended_without_a_word_is_not_shown_beside_newer_prices(
    adapter: AngelAdapter, sink: RecordingSink, quote: Quote, share: Instrument
) -> None:
    adapter.subscribe([deep(share)])
    adapter.receive(encode_tick(quote, AngelMode.DEPTH_20), 0)
    levels = []
    for seconds in (5, 6):
        later = replace(quote, exchange_time=quote.exchange_time + seconds)
        adapter.receive(encode_tick(later, AngelMode.SNAP_QUOTE), 0)
        levels.append((len(sink.ticks[-1].asks or ()), sink.ticks[-1].ts_event_ms))
    now_ms = quote.exchange_time * 1000
    assert levels == [(20, now_ms + 5_000), (5, now_ms + 6_000)]


def test_a_book_that_nobody_wants_any_more_is_dropped(
    adapter: AngelAdapter, sink: RecordingSink, quote: Quote, share: Instrument
) -> None:
    flat = Subscription(share, DEPTH)
    book, priced = (encode_tick(quote, mode) for mode in (AngelMode.DEPTH_20, AngelMode.SNAP_QUOTE))
    adapter.subscribe([deep(share)])
    adapter.receive(book, 0)
    adapter.change_mode([(deep(share), flat)])
    assert adapter.receive(priced, 0) == (Confirmed((share.key,)),)
    assert adapter.receive(book, 0) == ()
    assert [tick.asks for tick in sink.ticks] == [asks(quote, 5)]
    assert adapter.ticks_unknown == 0
    # And nothing of it is left for the next time, be it on this socket or another one.
    for end in (lambda: adapter.unsubscribe([flat]), adapter.reset):
        adapter.subscribe([deep(share)])
        adapter.receive(book, 0)
        end()
        adapter.subscribe([deep(share)])
        assert adapter.receive(priced, 0) == ()


def test_what_has_not_so_many_levels_is_refused_and_the_rest_is_sent(
    adapter: AngelAdapter, share: Instrument
) -> None:
    with pytest.raises(BrokerConfigError, match=r"NFO:X has no book of 20 levels"):
        adapter.subscribe([deep(share), deep(OPTION)])
    assert len(adapter.subscribe([Subscription(OPTION, LTP)])) == 1, "nothing was noted of any"
    change = (Subscription(OPTION, LTP), deep(OPTION))
    raised = (Subscription(share, LTP), deep(share))
    assert len(adapter.change_mode([change, raised])) == 3
    (event,) = adapter.settle()
    assert isinstance(event, SubscriptionRejected)
    assert event.keys == (OPTION.key,)
    assert adapter.settle() == ()
    # Of what was not sent there is nothing to end, and what it had before goes on.
    unsent = Instrument(InstrumentKey("NFO", "Y"), "2:1")
    assert adapter.unsubscribe([deep(unsent)]) == []
    assert adapter.subscribe([Subscription(OPTION, LTP)]) == []
    adapter.change_mode([change])
    adapter.reset()
    assert adapter.settle() == ()


@pytest.mark.parametrize("refused_mode", [3, 4])
def test_a_refused_half_leaves_the_other_to_be_ended(
    adapter: AngelAdapter, sink: RecordingSink, quote: Quote, share: Instrument, refused_mode: int
) -> None:
    messages = adapter.subscribe([deep(share)])
    other = {3: 4, 4: 3}[refused_mode]
    segment, token = share.broker_token.split(":")
    (event,) = adapter.receive(refusal(_of_mode(messages, refused_mode), "E1001"), 0)
    assert isinstance(event, SubscriptionRejected)
    assert type(event.error) is BrokerError
    assert event.keys == (share.key,)
    adapter.receive(encode_tick(quote, AngelMode.DEPTH_20), 0)
    assert sink.published == []
    ended = adapter.unsubscribe([deep(share)])
    assert sent(ended) == [request(0, other, {int(segment): [token]})]


def test_a_refused_book_leaves_five_levels_to_who_had_them(
    adapter: AngelAdapter, sink: RecordingSink, quote: Quote, share: Instrument
) -> None:
    flat, priced = Subscription(share, DEPTH), encode_tick(quote, AngelMode.SNAP_QUOTE)
    adapter.subscribe([flat])
    (raised,) = adapter.change_mode([(flat, deep(share))])
    adapter.receive(refusal(raised, "E1001"), 0)
    adapter.receive(priced, 0)
    assert sink.ticks[-1].asks == asks(quote, 5)
    assert adapter.subscribe([flat]) == [], "it is there still"
    assert adapter.receive(priced, 0) == (Confirmed((share.key,)),)


def test_a_refusal_of_a_mode_that_was_given_up_concerns_nobody(
    adapter: AngelAdapter, share: Instrument
) -> None:
    messages = adapter.subscribe([deep(share)])
    adapter.change_mode([(deep(share), Subscription(share, DEPTH))])
    (event,) = adapter.receive(refusal(_of_mode(messages, 4), "E1001"), 0)
    assert isinstance(event, Notice)


def _of_mode(messages: list[str | bytes], mode: int) -> str | bytes:
    read: list[dict[str, Any]] = [json.loads(message) for message in messages]
    return next(m for m, r in zip(messages, read, strict=True) if r["params"]["mode"] == mode)
