"""What a silence means: stale prices, a resting instrument, or a closed market."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokers.binance.config import CAPABILITIES as BINANCE
from brokers.pool_service import FeedStatus
from brokers.registry import default_registry
from brokers.zerodha.config import CAPABILITIES as ZERODHA
from pooling.connection.freshness import UNPROVEN, Freshness, LastHeard
from pooling.testing import FakeBroker
from tests.unit.pooling.kit import ACTIVE, BOB, EVE, LTP, PENDING, key, open_kit, virtual

STALE, LIVE = FeedStatus.STALE, FeedStatus.LIVE
REGISTRY = default_registry()
HOUR = 3600.0
RESTORED = "the feed is being restored; prices come once it is"
QUIET: dict[str, Any] = {
    "heartbeat_seconds": BINANCE.heartbeat_seconds,
    "liveness_timeout_seconds": BINANCE.liveness_timeout_seconds,
}
BEATING: dict[str, Any] = {
    "heartbeat_seconds": ZERODHA.heartbeat_seconds,
    "liveness_timeout_seconds": ZERODHA.liveness_timeout_seconds,
}


@pytest.mark.parametrize(
    ("heartbeat", "limit"), [(None, 25), (20.0, 25), (1.0, 5), (2.0, 5), (2.4, 6)]
)
def test_brokers_that_beat_are_judged_by_their_beat(heartbeat, limit):
    assert Freshness(heartbeat).limit_seconds == limit


def busy(heartbeat: float | None = None, until: int = 60) -> Freshness:
    """Return the judgement of a link of 80 instruments that had ticks in every second."""
    freshness = Freshness(heartbeat)
    freshness.asked(0, came=80)
    for second in range(until + 1):
        assert freshness.counts_from <= second
        assert freshness.note(second, is_first_word=False)
    return freshness


def judged(
    freshness: Freshness, now: float, tick: float | None, *, frame: float | None = None
) -> str:
    """Judge a link that beats or answers until ``now``."""
    heard = now if frame is None else frame
    return freshness.judge(now, LastHeard(heard, now, tick))


def test_a_steady_link_is_stale_without_frames_whatever_else_is_heard():
    freshness = Freshness(2.0)
    assert judged(freshness, 4.9, None, frame=0) == ""
    assert "no data for 5 s" in judged(freshness, 5, None, frame=0)


def test_a_quiet_link_that_answers_is_fresh_and_one_that_does_not_is_stale():
    freshness = Freshness(None)
    assert freshness.judge(1000, LastHeard(0, 990, None)) == ""
    assert "heard" in freshness.judge(1015, LastHeard(0, 990, None))


@pytest.mark.parametrize("heartbeat", [None, 20.0, 1.0, 2.0])
def test_a_busy_link_that_dries_up_is_stale_until_the_next_tick_whatever_else_arrives(heartbeat):
    freshness = busy(heartbeat)
    assert judged(freshness, 84, 60) == ""
    assert freshness.due(LastHeard(70, 71, 60))[-1] == 85
    for now in (85, 200, 5000):
        assert "plenty" in judged(freshness, now, 60)
        assert freshness.has_dried_up
    assert freshness.note(5001, is_first_word=False)
    assert judged(freshness, 5001, 5001) == ""
    assert judged(freshness, 6000, 5001) == "", "it rests"


def test_what_a_subscription_begins_with_is_an_old_price_and_brings_no_feed_back():
    freshness = busy()
    assert judged(freshness, 85, 60)
    freshness.asked(90, came=1)
    assert not freshness.note(90.2, is_first_word=True)
    # Kite sends a quote before it knows that all of it is wanted.
    assert not freshness.note(90.3, is_first_word=False)
    assert judged(freshness, 200, 90.3)
    assert freshness.note(201, is_first_word=False)


def test_a_feed_that_flows_is_believed_however_often_somebody_subscribes():
    freshness = busy()
    assert judged(freshness, 85, 60)
    noted = []
    for second in range(90, 96):
        freshness.asked(second, came=1)
        noted.append(freshness.note(second + 0.5, is_first_word=False))
    assert noted == [False] * 4 + [True] * 2


def test_the_first_words_of_thousands_of_subscriptions_are_no_busy_link():
    freshness = Freshness(None)
    for message in range(90):  # 9,000 of them, a hundred in a message, ten messages a second
        freshness.asked(message / 10, came=100)
        freshness.note(message / 10 + 0.05, is_first_word=True)
    assert judged(freshness, 600, 9) == ""


@pytest.mark.parametrize(
    ("came", "change", "is_still_judged"),
    [
        (2, {"left": 1}, False),
        (2, {"changed": 1}, False),
        (100, {"left": 80}, False),
        (100, {"left": 1}, True),
        (100, {"changed": 1}, True),
    ],
    ids=["one of two left", "one of two lowered", "most left", "one left", "one lowered"],
)
def test_what_is_left_of_a_busy_link_may_be_quiet(came, change, is_still_judged):
    freshness = Freshness(None)
    freshness.asked(0, came=came)
    for second in range(61):
        freshness.note(second, is_first_word=False)
    freshness.asked(60.5, **change)
    assert bool(judged(freshness, 86, 60)) is is_still_judged


def test_a_link_that_dried_up_is_not_believed_for_what_was_let_go_unless_that_was_all():
    freshness = busy()
    assert judged(freshness, 85, 60)
    freshness.asked(90, left=79)
    assert judged(freshness, 100, 60)
    freshness.asked(100, left=1)
    assert judged(freshness, 101, 60) == ""


@pytest.mark.parametrize("last_tick", [None, 0.0])
def test_a_link_whose_frames_cannot_be_read_is_stale_until_a_tick(last_tick):
    freshness = Freshness(None)
    freshness.asked(0, came=3)
    for tenth in range(260):
        freshness.note_broken(tenth / 10)
        assert judged(freshness, min(tenth / 10, 8), last_tick) == ""
    assert judged(freshness, 26, last_tick).startswith("frames come that cannot be read")
    assert freshness.note(27, is_first_word=False)
    freshness.note_broken(27.1)
    assert judged(freshness, 28, 27) == "", "some of them can"


def test_a_broken_frame_now_and_then_is_no_such_link():
    freshness = Freshness(None)
    for minute in range(20):
        freshness.note_broken(minute * 60.0)
        freshness.note_broken(minute * 60.0 + 0.1)
    assert judged(freshness, 1200, None) == ""


def test_a_new_socket_is_judged_anew():
    freshness = busy()
    assert judged(freshness, 85, 60)
    freshness.reset(100.0)
    freshness.asked(100.0, came=3)
    assert judged(freshness, 120, 60) == freshness.doubt != ""
    assert not freshness.note(121.0, is_first_word=False), "it may repeat what is old"
    freshness.prove()
    assert judged(freshness, 122, 121) == freshness.doubt == ""
    freshness.reset(200.0)
    assert freshness.is_unproven, "it had plenty a while ago"
    freshness.prove()
    freshness.reset(400.0)
    assert not freshness.is_unproven


def test_a_link_that_had_little_is_believed_at_once():
    freshness = Freshness(None)
    freshness.asked(0.0, came=3)
    for second in range(0, 600, 20):
        freshness.note(float(second), is_first_word=False)
    freshness.reset(600.0)
    assert (freshness.doubt, judged(freshness, 601, 580)) == ("", "")


def test_what_is_subscribed_in_place_of_everything_begins_anew():
    freshness = busy()
    freshness.reset(100.0)
    freshness.asked(100.0, came=3)
    freshness.asked(101.0, left=3)
    assert not freshness.is_unproven


@virtual
async def test_a_busy_feed_that_comes_back_dead_is_stale_until_there_is_news():
    """The broker takes the connection and every subscription, and repeats what it knew."""
    async with open_kit(**BEATING) as kit:
        kit.want(1, 2)
        for _ in range(60):
            await asyncio.sleep(1)
            kit.broker.tick()
        kit.broker.drop()
        await beat(kit, 30)
        assert len(kit.broker.open) == 1
        await asyncio.sleep(1)
        assert LIVE not in [change.status for change in kit.feed]
        assert kit.feed[-1].reason == UNPROVEN
        assert kit.pool.get_stats().status is STALE
        assert kit.states() == ["stale"]
        assert kit.want(1, holder=BOB)[0].message == RESTORED
        forgotten = len(kit.sink.forgotten)
        for _ in range(60):
            await asyncio.sleep(1)
            kit.broker.repeat()
        assert kit.want(3)[0].state is PENDING
        await beat(kit, 3)
        assert LIVE not in [change.status for change in kit.feed]
        assert key(3) in kit.sink.forgotten[forgotten:]
        kit.broker.drop()  # a second time: nothing proved the link meanwhile
        await beat(kit, 5)
        assert LIVE not in [change.status for change in kit.feed]
        kit.broker.tick()
        await asyncio.sleep(0.1)
        assert {key(1), key(2), key(3)} <= told_live(kit)
        assert kit.pool.get_stats().status is LIVE
        assert [outcome.state for outcome in kit.want(1, 2, 3, holder=EVE)] == [ACTIVE] * 3


@virtual
async def test_a_busy_feed_that_comes_back_alive_is_live_with_its_first_news():
    async with open_kit(**BEATING) as kit:
        kit.want(1, 2)
        for _ in range(60):
            await asyncio.sleep(1)
            kit.broker.tick()
        kit.broker.drop()
        await asyncio.sleep(5)
        assert kit.broker.subscribed
        assert LIVE not in [change.status for change in kit.feed]
        kit.broker.tick()
        await asyncio.sleep(0.1)
        assert told_live(kit) == {key(1), key(2)}
        assert kit.states() == ["live"]


def told_live(kit):
    return {each for change in kit.feed if change.status is LIVE for each in change.keys or ()}


@virtual
async def test_a_market_closed_for_a_night_and_a_weekend_costs_no_reconnect():
    """A broker that beats keeps its feed live; nothing is opened again in 80 hours."""
    async with open_kit(**BEATING) as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        loop = asyncio.get_running_loop()
        end = loop.time() + 16 * HOUR + 64 * HOUR
        while loop.time() < end:
            kit.broker.say("{}")
            await asyncio.sleep(4)
        assert len(kit.broker.attempts) == 1
        assert not kit.feed
        assert kit.pool.get_stats().status is LIVE
        kit.broker.tick()
        await asyncio.sleep(1)
        assert len(kit.sink.published) == 6


@virtual
async def test_a_quiet_symbol_of_a_broker_without_beats_does_not_flap():
    """Binance's LTP alone: nothing is said for hours, and pings are answered."""
    async with open_kit(**QUIET) as kit:
        kit.want(1, mode=LTP)
        await asyncio.sleep(16 * HOUR)
        assert kit.states() == ["live"]
        assert not kit.feed
        assert len(kit.broker.attempts) == 1


@virtual
async def test_a_busy_feed_whose_market_closes_is_stale_once_and_never_reconnects():
    async with open_kit(**QUIET) as kit:
        kit.want(1)
        for _ in range(120):
            await asyncio.sleep(1)
            kit.broker.tick()
        await asyncio.sleep(16 * HOUR)
        assert [c.status for c in kit.feed] == [STALE]
        assert "no data for 25 s" in kit.feed[0].reason
        assert kit.sink.forgotten == [key(1)], "an old price is not shown as live"
        kit.broker.tick()
        await asyncio.sleep(1)
        assert [c.status for c in kit.feed] == [STALE, LIVE]
        assert len(kit.broker.attempts) == 1


@virtual
async def test_answers_to_keepalives_do_not_pass_for_prices():
    """Angel One answers our text every 10 s, whatever became of the feed."""
    async with open_kit(**QUIET, keepalive_answer="pong") as kit:
        kit.want(1)
        for _ in range(120):
            await asyncio.sleep(1)
            kit.broker.tick()
        for _ in range(60):
            await asyncio.sleep(10)
            kit.broker.say("pong")
        assert [c.status for c in kit.feed] == [STALE]
        assert "no data for 25 s" in kit.feed[0].reason
        assert kit.pool.get_stats().frames_malformed == 0
        kit.broker.tick()
        await asyncio.sleep(1)
        assert [c.status for c in kit.feed] == [STALE, LIVE]
        assert len(kit.broker.attempts) == 1


NO_TICKS = ("{}", '{"ticks": ["99"]}', "\x00", '{"no": []}')
"""A beat or an answer, a tick of what nobody has, what is no message, a refusal of nothing."""


@pytest.mark.parametrize("broker", REGISTRY.names())
@virtual
async def test_frames_without_ticks_do_not_pass_for_prices(broker):
    """80 liquid shares, 45 s of ticks, then all kinds of frames but those: at all brokers alike."""
    capabilities = REGISTRY.get(broker).capabilities
    link: dict[str, Any] = {
        "heartbeat_seconds": capabilities.heartbeat_seconds,
        "liveness_timeout_seconds": capabilities.liveness_timeout_seconds,
        "keepalive_answer": capabilities.keepalive_answer,
    }
    options = {"symbols_per_connection": 100}
    async with open_kit(options=options, symbols_per_connection=100, **link) as kit:
        kit.want(*range(80))
        for _ in range(90):
            await asyncio.sleep(0.5)
            kit.broker.tick()
        dry_since = asyncio.get_running_loop().time()
        for number in range(60):
            kit.broker.say(NO_TICKS[number % len(NO_TICKS)])
            await asyncio.sleep(1)
            if not kit.feed:
                assert asyncio.get_running_loop().time() < dry_since + 26.1
        assert [change.status for change in kit.feed] == [STALE]
        assert kit.feed[0].reason == "no data for 25 s on a link that had plenty"
        assert len(kit.feed[0].keys or ()) == 80
        [connection] = kit.pool.get_stats().connections
        assert (connection.state, connection.reason) == ("stale", kit.feed[0].reason)
        assert connection.last_tick_age_ms == pytest.approx(60_000, abs=1000)
        assert connection.last_frame_age_ms == pytest.approx(1000, abs=10)
        assert kit.pool.get_stats().status is STALE
        assert set(kit.sink.forgotten) == {key(n) for n in range(80)}
        [outcome] = kit.want(1, holder=BOB)
        assert (outcome.state, outcome.message) == (PENDING, RESTORED)
        assert len(kit.broker.attempts) == 1
        kit.broker.tick()
        await asyncio.sleep(1)
        assert [change.status for change in kit.feed] == [STALE, LIVE]
        assert kit.pool.get_stats().status is LIVE


@virtual
async def test_a_newcomer_on_a_link_that_dried_up_is_stale_until_the_feed_flows():
    """What it begins with is the last known price, and confirms it."""
    options = {"symbols_per_connection": 100}
    async with open_kit(options=options, symbols_per_connection=100, **BEATING) as kit:
        kit.want(*range(80))
        for _ in range(45):
            await asyncio.sleep(1)
            kit.broker.tick()
        await beat(kit, 30)
        assert [change.status for change in kit.feed] == [STALE]
        before = len(kit.outcomes)
        assert kit.want(90)[0].state is PENDING
        await beat(kit, 10)
        assert [change.status for change in kit.feed] == [STALE, STALE]
        assert kit.feed[1].keys == [key(90)]
        assert kit.outcomes[before:] == [], "it has an old price at most"
        assert kit.want(90, holder=BOB)[0].message == RESTORED
        assert key(90) in kit.sink.forgotten
        kit.broker.tick()
        await asyncio.sleep(1)
        assert kit.feed[-1].status is LIVE
        assert {key(1), key(90)} <= set(kit.feed[-1].keys or ())
        assert key(90) in {o.key for o in kit.outcomes[before:] if o.state is ACTIVE}


@virtual
async def test_an_acknowledged_subscription_on_a_link_that_cannot_be_read_is_told_stale():
    """An endpoint that speaks another dialect: requests are answered, its events are not read."""
    async with open_kit(broker=FakeBroker(confirms=False), **QUIET) as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.broker.say('{"ok": ["1", "2"]}')
        await asyncio.sleep(1)
        assert {outcome.state for outcome in kit.outcomes} == {ACTIVE}
        for _ in range(60):
            kit.broker.say("another dialect")
            await asyncio.sleep(1)
        stale = [change for change in kit.feed if change.status is STALE]
        assert stale[-1].reason == "frames come that cannot be read, and no tick for 25 s"
        assert kit.pool.get_stats().status is STALE
        assert kit.pool.get_stats().frames_malformed == 60
        assert len(kit.broker.attempts) == 1


@virtual
async def test_the_first_words_of_many_at_night_leave_a_link_live():
    options = {"symbols_per_connection": 5000}
    async with open_kit(
        options=options, symbols_per_connection=5000, batch_size=100, **BEATING
    ) as kit:
        kit.want(*range(1000))
        await beat(kit, 100)
        assert not kit.feed
        assert kit.states() == ["live"]


@virtual
async def test_an_illiquid_rest_of_a_busy_link_is_not_called_stale():
    async with open_kit(options={"linger_seconds": 0}, **BEATING) as kit:
        kit.want(1, 2)
        for _ in range(60):
            await asyncio.sleep(1)
            kit.broker.tick()
        kit.release(1)
        await beat(kit, 120)
        assert not kit.feed


async def beat(kit, seconds: int) -> None:
    for _ in range(seconds):
        kit.broker.say("{}")
        await asyncio.sleep(1)


@virtual
async def test_a_link_that_stops_answering_is_stale_after_25_s_then_reconnects():
    async with open_kit(**QUIET) as kit:
        kit.want(1)
        await asyncio.sleep(100)
        kit.broker.go_silent()
        silent_since = asyncio.get_running_loop().time()
        await asyncio.sleep(26)
        assert [c.status for c in kit.feed] == [STALE]
        assert kit.feed[0].reason
        await asyncio.sleep(40)
        kit.broker.speak()
        await asyncio.sleep(5)
        assert kit.broker.attempts[1][0] - silent_since < 65
        assert kit.feed[-1].status is LIVE


async def stand_still(kit, seconds: float) -> None:
    """Hold the process up: the broker goes on, what it says is read after the timers that are due.

    A loop may run those first (libuv's does).
    """
    await asyncio.sleep(0.1)
    kit.broker.go_silent()
    kit.broker.tick()
    loop: Any = asyncio.get_running_loop()
    loop.call_later(seconds + 0.01, kit.broker.speak)
    loop.stall(seconds)
    await asyncio.sleep(5)


@virtual
async def test_a_process_that_stood_still_does_not_take_that_for_a_silence():
    async with open_kit(heartbeat_seconds=1.0, liveness_timeout_seconds=10.0) as kit:
        kit.want(1)
        for _ in range(5):
            await asyncio.sleep(1)
            kit.broker.tick()
        await stand_still(kit, 60)
        assert not kit.feed
        assert len(kit.broker.attempts) == 1


@virtual
async def test_nor_for_a_health_check_that_was_not_answered():
    options = {"warm_connections": 1, "health_check_seconds": 20}
    async with open_kit(options=options, liveness_timeout_seconds=3600.0) as kit:
        await asyncio.sleep(15)
        asked_before = kit.broker.open[0].pong_at
        kit.broker.go_silent()  # the answer comes while nothing runs
        await asyncio.sleep(8)
        assert kit.broker.open[0].pong_at == asked_before
        await stand_still(kit, 60)
        assert kit.states() == ["live"]
        assert len(kit.broker.attempts) == 1
