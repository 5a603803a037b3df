"""What a pool does when its broker fails it, on virtual time."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest

from brokers.pool_service import FeedStatus, RefusalCode
from tests.unit.pooling.kit import (
    ACTIVE,
    BOB,
    DEPTH,
    LTP,
    PENDING,
    QUOTE,
    TOKEN_FIELD,
    key,
    open_kit,
    virtual,
)

STALE, LIVE, AUTH = FeedStatus.STALE, FeedStatus.LIVE, FeedStatus.AUTH_REQUIRED


@virtual
async def test_a_dropped_connection_comes_back_with_its_symbols():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.broker.drop()
        await asyncio.sleep(0.01)
        assert kit.want(1)[0].state is PENDING
        await asyncio.sleep(5)
        assert kit.broker.subscribed.keys() == {"1", "2"}
        assert kit.want(1)[0].state is ACTIVE
        assert kit.pool.get_stats().reconnects == 1
        assert not kit.broker.complaints


@virtual
async def test_a_loss_is_told_at_once_and_the_return_when_prices_are_back():
    async with open_kit() as kit:
        kit.want(1, 2)
        await asyncio.sleep(1)
        kit.broker.confirms = False
        kit.broker.drop()
        await asyncio.sleep(0.01)
        assert [(c.status, set(c.keys or ())) for c in kit.feed] == [(STALE, {key(1), key(2)})]
        assert "hung up" in kit.feed[0].reason
        assert set(kit.sink.forgotten) == {key(1), key(2)}
        await asyncio.sleep(5)
        assert len(kit.broker.open) == 1
        assert len(kit.feed) == 1, "a socket alone is no price"
        kit.broker.say('{"ok": ["1"]}')
        await asyncio.sleep(1)
        assert [(c.status, c.keys) for c in kit.feed[1:]] == [(LIVE, (key(1),))]


@virtual
async def test_one_connections_failure_touches_only_its_own_symbols():
    async with open_kit() as kit:
        kit.want(*range(9))
        await asyncio.sleep(1)
        victim = kit.broker.open[1]
        carried = {key(int(token)) for token in victim.subscribed}
        kit.broker.drop(victim)
        await asyncio.sleep(5)
        assert {k for change in kit.feed for k in change.keys or ()} == carried
        assert len(kit.broker.attempts) == 4
        assert [c.reconnects for c in kit.pool.get_stats().connections] == [0, 1, 0]


@virtual
async def test_the_second_connection_must_come_up_before_it_counts():
    """A connection is open when its socket is, not when a call to open it returned."""
    async with open_kit() as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        kit.broker.refuse(503)
        assert kit.want(4)[0].state is PENDING
        await asyncio.sleep(20)
        stats = kit.pool.get_stats()
        assert [c.state for c in stats.connections] == ["live", "backoff"]
        assert stats.peak_connections.value == 1
        kit.broker.accept()
        await asyncio.sleep(60)
        assert kit.broker.subscribed.keys() == {"1", "2", "3", "4"}


@virtual
async def test_a_refused_credential_is_tried_once_per_version():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.broker.good_tokens = {"new"}
        kit.want(*range(9))
        await asyncio.sleep(24 * 3600)
        assert [token for _, token in kit.broker.attempts] == ["good"]
        assert kit.pool.get_stats().status is AUTH
        assert [(c.status, c.keys) for c in kit.feed] == [(AUTH, None)]
        assert [kind for kind, _ in kit.notes] == ["auth_required"]
        outcome = kit.want(1, holder=BOB)[0]
        assert (outcome.state, outcome.code) == (PENDING, RefusalCode.BROKER_AUTH_REQUIRED)
        assert outcome.message

        version = kit.store.save_credentials("7", {"token": "still bad"})
        kit.pool.credentials_changed(version)
        await asyncio.sleep(3600)
        assert [token for _, token in kit.broker.attempts] == ["good", "still bad"]

        version = kit.store.save_credentials("7", {"token": "new"})
        kit.pool.credentials_changed(version)
        await asyncio.sleep(5)
        assert len(kit.broker.subscribed) == 9
        assert kit.pool.get_stats().status is LIVE
        pool_wide = [c.status for c in kit.feed if c.keys is None]
        assert pool_wide == [AUTH, STALE, AUTH, STALE, LIVE]
        assert {k for c in kit.feed if c.status is LIVE and c.keys for k in c.keys} == {
            key(n) for n in range(9)
        }


@virtual
async def test_a_token_that_dies_overnight_costs_one_attempt_not_three():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.want(*range(9))
        await asyncio.sleep(10)
        attempts = len(kit.broker.attempts)
        kit.broker.good_tokens = {"tomorrow"}
        kit.broker.drop()
        await asyncio.sleep(3600)
        assert len(kit.broker.attempts) == attempts + 1
        kit.pool.credentials_changed(kit.store.save_credentials("7", {"token": "tomorrow"}))
        await asyncio.sleep(5)
        assert len(kit.broker.subscribed) == 9


@virtual
async def test_other_connections_stream_on_while_one_waits_for_a_credential():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.want(*range(6))
        await asyncio.sleep(10)
        kit.broker.good_tokens = {"new"}
        kit.broker.drop(kit.broker.open[0])
        await asyncio.sleep(10)
        assert sorted(kit.states()) == ["auth_required", "live"]
        assert kit.pool.get_stats().status is LIVE
        assert kit.want(5)[0].state is ACTIVE
        assert {c.status for c in kit.feed if c.keys is None} == set()


@virtual
async def test_credentials_are_read_before_every_connect():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.store.save_credentials("7", {"token": "newer"})
        kit.broker.drop()
        await asyncio.sleep(5)
        assert [token for _, token in kit.broker.attempts] == ["good", "newer"]


@virtual
async def test_a_missing_credential_waits_for_one_without_asking_the_broker():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.store.save_credentials("7", {})
        kit.want(1)
        await asyncio.sleep(3600)
        assert not kit.broker.attempts
        assert kit.pool.get_stats().status is AUTH
        kit.pool.credentials_changed(kit.store.save_credentials("7", {"token": "x"}))
        await asyncio.sleep(5)
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_broker_without_credentials_that_says_403_is_tried_again():
    """A 403 where there is no credential is a busy doorman, not a dead key."""
    async with open_kit() as kit:
        kit.broker.refuse(403)
        kit.want(1)
        await asyncio.sleep(30)
        assert len(kit.broker.attempts) > 2
        assert kit.pool.get_stats().status is STALE
        kit.broker.accept()
        await asyncio.sleep(60)
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_the_store_may_be_down_while_a_connection_comes_back():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.store.go_down()
        kit.broker.drop()
        await asyncio.sleep(5)
        assert kit.broker.subscribed.keys() == {"1"}


@pytest.mark.parametrize("until", ["120", "Sun, 06 Nov 1994 08:51:07 GMT"])
@virtual
async def test_retry_after_is_honoured(until):
    async with open_kit() as kit:
        kit.broker.refuse(429, Retry_After=until, Date="Sun, 06 Nov 1994 08:49:07 GMT")
        kit.want(1)
        await asyncio.sleep(119)
        assert kit.states() == ["rate_limited"]
        assert len(kit.broker.attempts) == 1
        assert kit.pool.get_stats().connections[0].next_retry_ms
        kit.broker.accept()
        await asyncio.sleep(3)
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_server_that_is_down_says_when_all_connections_of_the_account_come_back():
    async with open_kit(symbols_per_connection=1) as kit:
        kit.broker.refuse(503, Retry_After="120")
        kit.want(1, 2)
        await asyncio.sleep(119)
        assert kit.states() == ["backoff", "backoff"]
        assert len(kit.broker.attempts) == 1
        assert all(each.next_retry_ms for each in kit.pool.get_stats().connections)
        kit.broker.accept()
        await asyncio.sleep(5)
        assert kit.broker.subscribed.keys() == {"1", "2"}


@virtual
async def test_it_never_gives_up():
    async with open_kit(rng=random.Random(5)) as kit:
        kit.broker.refuse(502)
        kit.want(1)
        await asyncio.sleep(24 * 3600)
        assert 1400 < len(kit.broker.attempts) < 6000
        kit.broker.accept()
        await asyncio.sleep(61)
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_link_that_opens_and_dies_does_not_reset_the_backoff():
    async with open_kit() as kit:
        kit.want(1)
        for _ in range(12):
            await asyncio.wait_for(kit.broker.opened.wait(), 100)
            kit.broker.opened.clear()
            await asyncio.sleep(0.5)
            kit.broker.drop()
        gaps = [b[0] - a[0] for a, b in pairwise(kit.broker.attempts)]
        assert gaps[-1] > 25
        await asyncio.sleep(40)
        for _ in range(7):
            await asyncio.sleep(10)
            kit.broker.tick()
        kit.broker.drop()
        await asyncio.sleep(1)
        assert len(kit.broker.open) == 1, "a minute of health starts the count over"


@virtual
async def test_silence_is_stale_within_six_seconds_then_reconnects():
    async with open_kit(heartbeat_seconds=1.0, liveness_timeout_seconds=10.0) as kit:
        kit.want(1)
        for _ in range(20):
            await asyncio.sleep(1)
            kit.broker.tick()
        assert not kit.feed
        kit.broker.go_silent()
        silent_since = asyncio.get_running_loop().time()
        await asyncio.sleep(6)
        assert [c.status for c in kit.feed] == [STALE]
        assert "no data" in kit.feed[0].reason
        assert kit.sink.forgotten == [key(1)]
        assert kit.want(1)[0].state is PENDING
        assert kit.states() == ["stale"]
        await asyncio.sleep(5)
        kit.broker.speak()
        await asyncio.sleep(3)
        assert len(kit.broker.attempts) == 2
        assert kit.broker.attempts[1][0] - silent_since < 12
        assert kit.feed[-1].status is LIVE
        assert kit.want(1)[0].state is ACTIVE


@virtual
async def test_a_stale_link_that_speaks_again_is_live_again_without_a_reconnect():
    async with open_kit(heartbeat_seconds=1.0, liveness_timeout_seconds=60.0) as kit:
        kit.want(1)
        await asyncio.sleep(8)
        assert kit.states() == ["stale"]
        kit.broker.tick()
        await asyncio.sleep(1)
        assert kit.states() == ["live"]
        assert [c.status for c in kit.feed] == [STALE, LIVE]
        assert kit.outcomes[-1].state is ACTIVE
        assert len(kit.broker.attempts) == 1


@virtual
async def test_a_link_without_symbols_is_not_judged_by_its_silence():
    async with open_kit(options={"max_idle_seconds": 9999}, liveness_timeout_seconds=30.0) as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.release()
        await asyncio.sleep(3600)
        assert kit.states() == ["live"]
        assert not kit.feed


@virtual
async def test_a_malformed_frame_is_counted_and_dropped_and_the_connection_kept():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        for _ in range(100):
            kit.broker.say("{nonsense")
        kit.broker.tick()
        await asyncio.sleep(1)
        stats = kit.pool.get_stats()
        assert (stats.frames_malformed, stats.reconnects) == (100, 0)
        assert stats.ticks_received == 2


@virtual
async def test_a_defect_while_recovering_does_not_end_the_feed_for_good(monkeypatch):
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)

        def broken(keys):
            raise RuntimeError("the sink is broken")

        monkeypatch.setattr(kit.sink, "forget", broken)
        kit.broker.drop()
        await asyncio.sleep(1)
        monkeypatch.undo()
        await asyncio.sleep(20)
        assert kit.states() == ["live"]
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_an_announced_end_reconnects():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.broker.say('{"bye": "maintenance"}')
        await asyncio.sleep(3)
        assert len(kit.broker.attempts) == 2
        assert kit.pool.get_stats().connections[0].last_close == "maintenance"
        assert kit.broker.subscribed.keys() == {"1"}


@virtual
async def test_a_defect_in_an_adapter_costs_a_reconnect_and_not_the_feed(caplog):
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.broker.say('{"ticks": 5}')
        await asyncio.sleep(3)
        assert len(kit.broker.attempts) == 2
        assert kit.broker.subscribed.keys() == {"1"}
        assert any(record.exc_info for record in caplog.records)


@virtual
async def test_a_raise_that_has_to_move_leaves_no_gap():
    """The old connection carries the symbol until the new one has it."""
    async with open_kit(depth_cost=2) as kit:
        kit.want(1, 2, 3)
        await asyncio.sleep(1)
        kit.broker.confirms = False
        kit.want(1, mode=DEPTH, holder=BOB)
        await asyncio.sleep(5)
        first, second = kit.broker.open
        assert "1" in first.subscribed
        assert second.subscribed == {"1": (3, 5)}
        assert kit.want(1)[0].state is ACTIVE
        second.say('{"ok": ["1"]}')
        await asyncio.sleep(1)
        assert "1" not in first.subscribed
        assert not kit.feed


@pytest.mark.parametrize("seed", range(8))
def test_any_sequence_of_faults_ends_with_everything_wanted_carried(seed):
    """Drops, silence, refusals, dead tokens and changing wishes in any order; then all is well."""
    play(seed)


@virtual
async def play(seed):
    chance = random.Random(seed)
    async with open_kit(
        rng=random.Random(seed),
        credential_fields=TOKEN_FIELD,
        heartbeat_seconds=1.0,
        liveness_timeout_seconds=10.0,
        message_interval_seconds=0.05,
        batch_size=2,
    ) as kit:
        broker = kit.broker
        for step in range(150):
            misbehave(kit, chance)
            await asyncio.sleep(chance.random() * 3)
            assert len(broker.open) <= 3, f"seed {seed} step {step}"
            assert all(len(t.subscribed) <= 3 for t in broker.open), f"seed {seed} step {step}"
        make_up(kit)
        for _ in range(400):
            broker.tick()
            await asyncio.sleep(1)
        wanted = {k.symbol[1:] for k in kit.pool.instruments(map(key, range(14)))}
        assert broker.subscribed.keys() == wanted, f"seed {seed}"
        stats = kit.pool.get_stats()
        assert stats.confirmed == stats.wanted == len(wanted), f"seed {seed}"
        assert not broker.complaints, f"seed {seed}: {broker.complaints}"


def misbehave(kit, chance):
    broker = kit.broker
    match chance.randrange(12):
        case 0 | 1 | 2 | 3:
            kit.want(chance.randrange(14), mode=chance.choice([LTP, QUOTE, DEPTH]))
        case 4 | 5 | 6:
            kit.release(chance.randrange(14))
        case 7 if broker.open:
            broker.drop(chance.choice(broker.open))
        case 8:
            broker.go_silent()
        case 9:
            broker.refuse(chance.choice([429, 500, 503]))
        case 10:
            broker.good_tokens = {str(chance.random())}
            broker.drop()
        case _:
            make_up(kit)


def make_up(kit):
    kit.broker.speak()
    kit.broker.accept()
    kit.broker.good_tokens = None
    kit.pool.credentials_changed(kit.store.save_credentials("7", {"token": "good"}))
