"""What an Upstox account's plan and the open questions of its documents change."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.contract import CategoryLimit, Confirmed
from brokers.exceptions import BrokerConfigError
from brokers.simulator.listing import Segment
from brokers.simulator.market import Quote
from brokers.simulator.upstox.encoder import (
    FrameType,
    UpstoxMode,
    encode_feed,
    encode_frame,
    key_of,
)
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from brokers.upstox.config import UpstoxSettings, capabilities_with
from brokers.upstox.connection import UpstoxAdapter
from pooling.exceptions import PoolCapacityError
from pooling.subscriptions.allocator import Allocator
from pooling.subscriptions.capacity import effective_limits
from pooling.testing import make_instrument
from tests.fix_simulator import make_market
from tests.unit.brokers.upstox.test_upstox_adapter import sent

LTP, QUOTE, DEPTH = FeedMode
PLUS = UpstoxAdapter.with_settings({"plan": "plus"})


@pytest.fixture(scope="module")
def quote() -> Quote:
    quotes = make_market().quotes.values()
    return next(each for each in quotes if each.instrument.segment is Segment.NSE and each.volume)


@pytest.fixture
def share(quote: Quote) -> Instrument:
    return Instrument(InstrumentKey("NSE", "A"), key_of(quote.instrument))


@pytest.fixture
def sink() -> RecordingSink:
    return RecordingSink()


@pytest.fixture
def adapter(sink: RecordingSink) -> UpstoxAdapter:
    return PLUS(sink=sink)


def frame(quote: Quote, mode: UpstoxMode) -> bytes:
    feeds = {key_of(quote.instrument): encode_feed(quote, mode)}
    return encode_frame(FrameType.LIVE_FEED, feeds, 1)


def allocator_of(adapter: type[UpstoxAdapter], *, connections: int) -> Allocator:
    limits = effective_limits(
        symbols_per_connection=10_000,
        max_connections=connections,
        capabilities=adapter.capabilities,
    )
    return Allocator(limits=limits, cost=adapter.cost, category=adapter.category)


def fill(allocator: Allocator, mode: FeedMode, levels: int, *, start: int = 0) -> int:
    for count in range(20_000):
        try:
            allocator.assign(Subscription(make_instrument(start + count), mode, levels))
        except PoolCapacityError:
            return count
    raise AssertionError("it is never full")


def test_the_defaults_are_those_of_the_normal_account() -> None:
    capabilities = UpstoxAdapter.capabilities
    assert capabilities_with(capabilities, UpstoxSettings()) == capabilities
    assert UpstoxAdapter.with_settings({"plan": "normal"}) is UpstoxAdapter
    assert (capabilities.max_connections, capabilities.depth_levels) == (2, (5,))
    assert capabilities.shares_category_limits


def test_a_plus_account_has_five_connections_and_thirty_levels_of_fifty_keys() -> None:
    capabilities = PLUS.capabilities
    assert (capabilities.max_connections, capabilities.depth_levels) == (5, (5, 30))
    assert capabilities.category_limits[-1] == CategoryLimit("full_d30", 50, 50)
    assert capabilities.category_limits[:-1] == UpstoxAdapter.capabilities.category_limits


@pytest.mark.parametrize("connections", [1, 5])
def test_a_fifty_first_book_of_thirty_levels_finds_no_room(connections: int) -> None:
    """Whatever else is held, and on however many connections."""
    allocator = allocator_of(PLUS, connections=connections)
    assert fill(allocator, DEPTH, 30) == 50
    with pytest.raises(PoolCapacityError):
        allocator.assign(Subscription(make_instrument(90), DEPTH, 30))
    assert fill(allocator, DEPTH, 5, start=10_000) == 1_500
    with pytest.raises(PoolCapacityError):
        allocator.assign(Subscription(make_instrument(10_000), DEPTH, 30))
    allocator.assign(Subscription(make_instrument(0), LTP))
    allocator.settle(make_instrument(0).key)
    assert fill(allocator, DEPTH, 30, start=30_000) == 1


def test_limits_may_hold_for_each_connection() -> None:
    lone = UpstoxAdapter.with_settings({"key_limits_are_per_user": "off"})
    assert fill(allocator_of(UpstoxAdapter, connections=2), QUOTE, 5) == 2_000
    assert fill(allocator_of(lone, connections=2), QUOTE, 5) == 4_000
    deep = UpstoxAdapter.with_settings({"key_limits_are_per_user": False, "plan": "plus"})
    assert fill(allocator_of(deep, connections=5), DEPTH, 30) == 250


def test_thirty_levels_are_a_mode_of_their_own(share: Instrument, adapter: UpstoxAdapter) -> None:
    deep, key = Subscription(share, DEPTH, 30), share.broker_token
    assert sent(adapter.subscribe([deep])) == [("sub", "full_d30", [key])]
    assert adapter.category(deep) == "full_d30"
    assert adapter.category(Subscription(share, QUOTE, 30)) == "full"


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ((LTP, 5), (DEPTH, 30), "full_d30"),
        ((QUOTE, 5), (DEPTH, 30), "full_d30"),
        ((DEPTH, 5), (DEPTH, 30), "full_d30"),
        ((DEPTH, 30), (DEPTH, 5), "full"),
        ((DEPTH, 30), (QUOTE, 5), "full"),
        ((DEPTH, 30), (LTP, 5), "ltpc"),
        ((DEPTH, 30), (DEPTH, 30), None),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_levels_change_in_place(
    share: Instrument,
    adapter: UpstoxAdapter,
    old: tuple[FeedMode, int],
    new: tuple[FeedMode, int],
    name: str | None,
    known: bool,
) -> None:
    before, after = Subscription(share, *old), Subscription(share, *new)
    if known:
        adapter.subscribe([before])
    expected = [] if name is None else [("change_mode", name, [share.broker_token])]
    assert sent(adapter.change_mode([(before, after)])) == expected
    # And back again: what is held is noted.
    assert [each[1] for each in sent(adapter.change_mode([(after, before)]))] == (
        [] if name is None else [_name(before)]
    )


def test_what_was_sent_counts_and_not_what_was_held_for_it(
    share: Instrument, adapter: UpstoxAdapter
) -> None:
    adapter.subscribe([Subscription(share, LTP)])
    change = (Subscription(share, DEPTH, 30), Subscription(share, DEPTH, 30))
    assert [each[1] for each in sent(adapter.change_mode([change]))] == ["full_d30"]


def _name(item: Subscription) -> str:
    deep = item.mode is DEPTH and item.depth_levels == 30
    return "full_d30" if deep else {LTP: "ltpc"}.get(item.mode, "full")


def test_five_levels_do_not_confirm_thirty(
    quote: Quote, share: Instrument, adapter: UpstoxAdapter, sink: RecordingSink
) -> None:
    adapter.subscribe([Subscription(share, DEPTH)])
    assert adapter.receive(frame(quote, UpstoxMode.FULL), 0) == [Confirmed((share.key,))]
    adapter.change_mode([(Subscription(share, DEPTH), Subscription(share, DEPTH, 30))])
    assert adapter.receive(frame(quote, UpstoxMode.FULL), 0) == []
    assert adapter.receive(frame(quote, UpstoxMode.FULL_D30), 0) == [Confirmed((share.key,))]
    assert [len(tick.asks or ()) for tick in sink.ticks] == [5, 5, 30]
    adapter.change_mode([(Subscription(share, DEPTH, 30), Subscription(share, DEPTH))])
    assert adapter.receive(frame(quote, UpstoxMode.FULL), 0) == [Confirmed((share.key,))]


def test_nothing_of_thirty_levels_outlives_its_subscription_or_its_socket(
    quote: Quote, share: Instrument, adapter: UpstoxAdapter
) -> None:
    for end in (lambda: adapter.unsubscribe([Subscription(share, DEPTH, 30)]), adapter.reset):
        adapter.subscribe([Subscription(share, DEPTH, 30)])
        end()
        assert sent(adapter.subscribe([Subscription(share, DEPTH)]))[0][1] == "full"
        assert adapter.receive(frame(quote, UpstoxMode.FULL), 0) == [Confirmed((share.key,))]
        adapter.unsubscribe([Subscription(share, DEPTH)])


def test_a_raise_may_go_without_asking_again(share: Instrument) -> None:
    items = (Subscription(share, QUOTE), Subscription(share, DEPTH))
    for settings, requests in (({}, 1), ({"asks_again_on_raise": "off"}, 0)):
        adapter = UpstoxAdapter.with_settings(settings)(sink=RecordingSink())
        adapter.subscribe(items[:1])
        assert len(adapter.change_mode([items])) == requests


def test_the_pace_and_size_of_messages() -> None:
    quiet = UpstoxAdapter.with_settings({"keys_per_message": 3, "message_interval_seconds": "0.5"})
    assert quiet.capabilities.message_interval_seconds == 0.5
    items = [
        Subscription(Instrument(InstrumentKey("NFO", f"S{at}"), f"NSE_FO|{at}"), LTP)
        for at in range(7)
    ]
    adapter = quiet(sink=RecordingSink())
    assert [len(keys) for _, _, keys in sent(adapter.subscribe(items))] == [3, 3, 1]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"plan": "Plus"}, "normal, plus"),
        ({"keys_per_message": 0}, "1 to 2000"),
        ({"message_interval_seconds": -1}, "0 to 10"),
        ({"option_greeks": True}, "plan"),
    ],
)
def test_a_wrong_setting_says_what_mends_it(values: dict[str, Any], named: str) -> None:
    with pytest.raises(BrokerConfigError, match=named):
        UpstoxAdapter.with_settings(values)
