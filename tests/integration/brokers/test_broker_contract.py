"""Every broker in a pool: connect, refuse, expire, limits, modes, replay, heartbeat loss, drain."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.pool_service import FeedStatus, OutcomeState, RefusalCode
from brokers.types import FeedMode, Instrument, InstrumentKey, Tick
from pooling.subscriptions.outcomes import Gone
from tests.fix_running_time import RunningTime
from tests.integration.brokers.conftest import BrokerPool, OpenPool
from tests.integration.brokers.lab import BrokerLab
from tests.support import eventually

UPGRADE_SECONDS = 30.0


def complaints(kit: BrokerPool) -> list[str]:
    return kit.exchange.record().complaints()


def wrong_fields(kit: BrokerPool, key: InstrumentKey, tick: Tick) -> list[str]:
    """Name what a tick of a frozen market tells otherwise than the market, at its mode."""
    meant = kit.lab.meant(kit.quotes[key], tick.mode)
    return [name for name, value in meant.items() if getattr(tick, name) != value]


async def test_everything_listed_arrives_with_the_values_meant_at_every_mode(
    open_pool: OpenPool,
):
    """All segments, indices included, raised from mode to mode; the broker does not complain."""
    kit = await open_pool(rate=0, symbols_per_connection=900)
    for mode in FeedMode:
        before = len(kit.sink.published)
        outcomes = kit.want(*kit.keys, mode=mode)
        assert not [outcome for outcome in outcomes if outcome.state is OutcomeState.REFUSED]

        def has_all(mode: FeedMode = mode, before: int = before) -> bool:
            some = kit.sink.published[before:]
            latest = {published.instrument.key: published.tick.mode for published in some}
            return latest == dict.fromkeys(kit.keys, mode)

        await eventually(has_all, timeout=UPGRADE_SECONDS, interval=0.05)
        await eventually(lambda: kit.confirmed == len(kit.keys))
        published = kit.sink.published[before:]
        wrong = [
            (p, bad) for p in published if (bad := wrong_fields(kit, p.instrument.key, p.tick))
        ]
        assert wrong == []
    await eventually(lambda: kit.exchange.record().subscribed == len(kit.keys))
    assert complaints(kit) == []


async def test_a_refused_upgrade_is_tried_again(open_pool: OpenPool):
    kit = await open_pool()
    kit.exchange.refuse(503)
    kit.want(kit.keys[0])
    await eventually(lambda: kit.exchange.record().refused.get("503"))
    kit.exchange.accept()
    await eventually(lambda: kit.confirmed == 1, timeout=UPGRADE_SECONDS)


async def test_too_many_connections_are_waited_for_as_long_as_the_broker_says(
    open_pool: OpenPool,
):
    kit = await open_pool()
    kit.exchange.refuse(429, retry_after=1, times=1)
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1, timeout=UPGRADE_SECONDS)
    assert kit.exchange.record().refused == {"429": 1}


async def test_an_expired_credential_is_tried_once_and_a_new_one_brings_ticks_back(
    open_pool: OpenPool, lab: BrokerLab
):
    kit = await open_pool()
    kit.want(*kit.keys[:3])
    await eventually(lambda: kit.confirmed == 3)
    kit.market.expire_token()
    kit.exchange.drop()
    await eventually(lambda: kit.pool.get_stats().status is FeedStatus.AUTH_REQUIRED)
    refused = {str(lab.refusal_status): 1}
    assert kit.exchange.record().refused == refused
    reason = kit.pool.get_stats().reason
    assert not [value for value in lab.credentials.values() if value in reason]
    kit.market.set_token("fresh")
    ticks = len(kit.sink.published)
    fresh = {**lab.credentials, "access_token": "fresh"}
    kit.pool.credentials_changed(kit.store.save_credentials("1", fresh))
    await eventually(
        lambda: kit.confirmed == 3 and len(kit.sink.published) > ticks, timeout=UPGRADE_SECONDS
    )
    assert kit.exchange.record().refused == refused


async def test_connections_fill_one_after_the_other_and_no_further_one_is_opened(
    open_pool: OpenPool, lab: BrokerLab
):
    connections = lab.adapter.capabilities.max_connections
    kit = await open_pool(max_connections=connections)
    room = 3 * connections
    outcomes = kit.want(*kit.keys[: room + 1])
    await eventually(lambda: kit.confirmed == room)
    assert outcomes[room].code is RefusalCode.MAX_CAPACITY_REACHED
    record = kit.exchange.record()
    assert (record.open, record.subscribed, record.peak_subscribed) == (connections, room, 3)
    assert complaints(kit) == []


async def test_what_the_broker_itself_does_not_take_is_told(open_pool: OpenPool, lab: BrokerLab):
    kit = await open_pool(limit=2)
    kit.want(*kit.keys[:2])
    await eventually(lambda: kit.confirmed == 2)
    (outcome,) = kit.want(kit.keys[2])
    if lab.tells_over_limit:
        await eventually(
            lambda: [o for o in kit.outcomes if o.code is RefusalCode.MAX_CAPACITY_REACHED]
        )
        assert (kit.confirmed, kit.pool.get_stats().wanted) == (2, 2)
    else:
        await eventually(lambda: kit.exchange.record().total("over_limit") == 1)
        assert outcome.state is OutcomeState.PENDING
        assert (kit.confirmed, kit.pool.get_stats().wanted) == (2, 3)
    # What was taken before is carried on.
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks)
    assert kit.pool.get_stats().reconnects == 0


async def test_a_mode_goes_up_and_down_with_its_holders(open_pool: OpenPool):
    kit = await open_pool()
    key = next(each for each in kit.keys if kit.quotes[each].instrument.has_open_interest)
    kit.want(key, mode=FeedMode.LTP)
    await eventually(lambda: kit.confirmed == 1)
    for client, mode in (("bob", FeedMode.QUOTE), ("cid", FeedMode.DEPTH)):
        kit.want(key, mode=mode, client=client)
        await eventually(lambda mode=mode: kit.sink.ticks[-1].mode is mode)
    assert kit.sink.ticks[-1].bids
    for client, mode in (("cid", FeedMode.QUOTE), ("bob", FeedMode.LTP)):
        kit.release(client=client)
        await eventually(lambda mode=mode: kit.sink.ticks[-1].mode is mode)
    await eventually(lambda: kit.exchange.record().subscribed == 1)
    kit.release(client="ann")
    await eventually(lambda: kit.exchange.record().subscribed == 0)
    assert complaints(kit) == []


async def test_a_dropped_link_is_replayed_in_the_modes_that_were_wanted(open_pool: OpenPool):
    kit = await open_pool()
    modes = dict(zip(kit.keys, FeedMode, strict=False))
    for key, mode in modes.items():
        kit.want(key, mode=mode)
    await eventually(lambda: kit.confirmed == 3)
    kit.exchange.drop()
    await eventually(lambda: kit.feed and kit.feed[0].status is FeedStatus.STALE)
    assert set(kit.sink.forgotten) == set(modes)
    await eventually(
        lambda: kit.confirmed == 3 and kit.feed[-1].status is FeedStatus.LIVE,
        timeout=UPGRADE_SECONDS,
    )
    before = len(kit.sink.published)

    def again() -> bool:
        later = kit.sink.published[before:]
        return modes == {published.instrument.key: published.tick.mode for published in later}

    await eventually(again)
    assert kit.exchange.record().subscribed == 3
    assert complaints(kit) == []


def by_token(kit: BrokerPool, since: int) -> set[tuple[InstrumentKey, str]]:
    late = kit.sink.published[since:]
    return {(each.instrument.key, each.instrument.broker_token) for each in late}


async def test_names_follow_the_broker_s_tokens_while_everything_ticks(open_pool: OpenPool):
    """Exchanged, moved to a free one, ended: nothing ever ticks under another's name."""
    kit = await open_pool(symbols_per_connection=6)
    one, other, third, *_ = kit.keys
    tokens = {key: kit.instruments[key].broker_token for key in kit.keys}
    kit.want(one, other, third, mode=FeedMode.QUOTE)
    await eventually(lambda: kit.confirmed == 3 and len(by_token(kit, 0)) == 3)

    meant = {one: tokens[other], other: tokens[one], third: tokens[third]}
    today = {key: Instrument(key, token) for key, token in meant.items()}
    kit.pool.follow_names(today, {}, set(tokens.values()))
    since = len(kit.sink.published)
    await eventually(lambda: by_token(kit, since) == set(meant.items()), timeout=UPGRADE_SECONDS)
    await eventually(lambda: kit.confirmed == 3 and kit.exchange.record().subscribed == 3)
    for key, means in ((one, other), (other, one)):
        values = kit.lab.meant(kit.quotes[means], FeedMode.QUOTE)
        seen = {p.tick.close for p in kit.sink.published[since:] if p.instrument.key == key}
        assert seen <= {values["close"], None}

    free = next(key for key in kit.keys[3:] if key.exchange == third.exchange)
    kit.pool.follow_names({third: Instrument(third, tokens[free])}, {}, set())
    assert kit.confirmed == 3, "the earlier token goes on until the new one speaks"
    await eventually(
        lambda: (
            kit.exchange.record().subscribed == 3 and (third, tokens[free]) in by_token(kit, since)
        ),
        timeout=UPGRADE_SECONDS,
    )
    later = len(kit.sink.published)
    await eventually(lambda: (third, tokens[free]) in by_token(kit, later))
    assert (third, tokens[third]) not in by_token(kit, later)

    kit.pool.follow_names({}, {one: Gone(RefusalCode.SYMBOL_EXPIRED, "expired")}, set())
    ended = len(kit.sink.published)
    await eventually(lambda: kit.exchange.record().subscribed == 2)
    await eventually(lambda: len(by_token(kit, ended)) == 2)
    assert by_token(kit, ended) == {(other, tokens[one]), (third, tokens[free])}
    assert [o.key for o in kit.outcomes if o.code is RefusalCode.SYMBOL_EXPIRED][:1] == [one]
    assert kit.pool.get_stats().reconnects == 0
    assert complaints(kit) == []


async def test_a_link_that_falls_silent_is_told_and_replaced(open_pool: OpenPool):
    """Not a byte for the broker's liveness time: the prices are stale, and it connects again."""
    kit = await open_pool(capabilities={"liveness_timeout_seconds": 2.0})
    kit.want(*kit.keys[:2])
    await eventually(lambda: kit.confirmed == 2)
    kit.exchange.go_silent()
    await eventually(lambda: kit.feed and kit.feed[0].status is FeedStatus.STALE)
    await eventually(lambda: kit.pool.get_stats().reconnects >= 1, timeout=UPGRADE_SECONDS)
    kit.exchange.speak()
    await eventually(
        lambda: kit.confirmed == 2 and kit.feed[-1].status is FeedStatus.LIVE,
        timeout=UPGRADE_SECONDS,
    )


async def test_a_feed_that_dries_up_on_a_living_link_is_told(
    open_pool: OpenPool, monkeypatch: pytest.MonkeyPatch
):
    """The market stands still; whatever else the broker goes on to say is no price."""
    monkeypatch.setattr("pooling.connection.watch.KEEPALIVE_SECONDS", 0.3)  # looks as often
    kit = await open_pool(rate=200)
    kit.want(*kit.keys[:3])
    await eventually(lambda: kit.confirmed == 3)
    # The silence of the link itself was asked for when it was opened, and stays as it is.
    monkeypatch.setattr("pooling.connection.freshness.BUSY_COUNT", 1)
    monkeypatch.setattr("pooling.connection.freshness.QUIET_SECONDS", 0.8)
    began = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > began + 20)
    assert not kit.feed
    exchange: Any = kit.exchange
    exchange.set_rate(0)
    await eventually(lambda: kit.feed)
    assert kit.feed[0].status is FeedStatus.STALE
    assert "on a link that had plenty" in kit.feed[0].reason
    assert set(kit.feed[0].keys or ()) == set(kit.keys[:3])
    exchange.set_rate(200)
    await eventually(lambda: kit.feed[-1].status is FeedStatus.LIVE)
    assert kit.pool.get_stats().reconnects == 0


async def test_what_keeps_a_link_alive_is_said_and_nothing_else(
    open_pool: OpenPool, lab: BrokerLab, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pooling.connection.watch.KEEPALIVE_SECONDS", 0.05)
    kit = await open_pool()
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1)
    said = kit.exchange.record().messages
    ticks = len(kit.sink.published)
    if lab.sends_keepalive:
        await eventually(lambda: kit.exchange.record().messages >= said + 3)
    await eventually(lambda: len(kit.sink.published) > ticks + 5)
    if not lab.sends_keepalive:
        assert kit.exchange.record().messages == said
    assert kit.pool.get_stats().frames_malformed == 0
    assert complaints(kit) == []


async def test_malformed_frames_are_counted_and_the_connection_kept(open_pool: OpenPool):
    kit = await open_pool()
    kit.want(kit.keys[0])
    await eventually(lambda: kit.confirmed == 1)
    kit.market.send_malformed()
    await eventually(lambda: kit.pool.get_stats().frames_malformed == 1)
    ticks = len(kit.sink.published)
    await eventually(lambda: len(kit.sink.published) > ticks)
    assert kit.pool.get_stats().reconnects == 0


async def test_a_drained_connection_moves_what_it_carries(open_pool: OpenPool, lab: BrokerLab):
    """Make before break: every symbol is with another connection before this one closes."""
    kit = await open_pool()
    # A second connection is begun where a third may be opened for what moves.
    count = 4 if lab.adapter.capabilities.max_connections > 2 else 3
    kit.want(*kit.keys[:count])
    await eventually(lambda: kit.confirmed == count)
    first = min(each.slot for each in kit.pool.get_stats().connections)
    kit.pool.operator.drain(first)
    await eventually(
        lambda: first not in {each.slot for each in kit.pool.get_stats().connections},
        timeout=UPGRADE_SECONDS,
    )
    await eventually(lambda: kit.confirmed == count and kit.exchange.record().subscribed == count)
    before = len(kit.sink.published)
    await eventually(
        lambda: {p.instrument.key for p in kit.sink.published[before:]} == set(kit.keys[:count])
    )
    assert kit.feed == [], "nobody was told of a gap"
    assert complaints(kit) == []


async def test_closing_leaves_nothing_behind(open_pool: OpenPool, running_time: RunningTime):
    kit = await open_pool()
    kit.want(*kit.keys[:4])
    await eventually(lambda: kit.confirmed == 4)
    started = running_time.seconds
    await kit.pool.close()
    assert running_time.seconds - started < 5
    await eventually(
        lambda: (kit.exchange.record().open, kit.exchange.record().subscribed) == (0, 0)
    )
    assert complaints(kit) == []
