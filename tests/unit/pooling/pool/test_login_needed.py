"""A pool whose credential is absent, past its end or refused says so before anybody subscribes."""

from __future__ import annotations

import asyncio

import pytest

from brokers.binance.connection import BinanceAdapter
from brokers.pool_service import FeedStatus, RefusalCode
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.testing.times import EPOCH_MS
from tests.unit.pooling.kit import ANN, PENDING, TOKEN_FIELD, open_kit, virtual

LIVE, STALE, AUTH = FeedStatus.LIVE, FeedStatus.STALE, FeedStatus.AUTH_REQUIRED
NONE_STORED = "no credential is stored"
HAS_ENDED = "the stored credential has ended"
IDLE = (LIVE, "nothing is subscribed")


def now(kit):
    stats = kit.pool.get_stats()
    return stats.status, stats.reason


def heard(kit):
    return [change.status for change in kit.feed if change.keys is None]


@virtual
async def test_without_a_credential_a_login_is_needed_from_the_first_second():
    lacking = {"credential_lack": NONE_STORED}
    async with open_kit(is_starting=True, of_account=lacking, credential_fields=TOKEN_FIELD) as kit:
        await asyncio.sleep(0)
        assert now(kit) == (AUTH, NONE_STORED)
        assert heard(kit) == [AUTH]
        await asyncio.sleep(3600)
        assert heard(kit) == [AUTH], "told once"
        assert [kind for kind, _ in kit.notes] == ["auth_required"]
        assert kit.broker.attempts == []

        kit.pool.credentials_changed(2)
        await asyncio.sleep(0)
        assert now(kit) == IDLE
        assert heard(kit) == [AUTH, LIVE]


@virtual
async def test_a_credential_that_ends_while_nothing_is_subscribed():
    ends = {"credential_expiry_ms": EPOCH_MS + 60_000}
    async with open_kit(of_account=ends, credential_fields=TOKEN_FIELD) as kit:
        await asyncio.sleep(59)
        assert now(kit) == IDLE
        await asyncio.sleep(2.1)
        assert now(kit) == (AUTH, HAS_ENDED)
        assert kit.broker.attempts == []
        kit.pool.credentials_changed(2, ends_ms=EPOCH_MS + 600_000)
        await asyncio.sleep(0)
        assert now(kit) == IDLE
        assert heard(kit) == [AUTH, LIVE]


@virtual
async def test_who_subscribes_then_hears_that_a_login_is_needed_and_the_broker_has_the_last_word():
    ends = {"credential_expiry_ms": EPOCH_MS - 1}
    async with open_kit(of_account=ends, credential_fields=TOKEN_FIELD) as kit:
        assert now(kit) == (AUTH, HAS_ENDED)
        kit.broker.refuse(503)
        (outcome,) = kit.want(1, holder=ANN)
        assert (outcome.state, outcome.code) == (PENDING, RefusalCode.BROKER_AUTH_REQUIRED)
        assert outcome.message == "login needed; prices come once a new credential is saved"
        await asyncio.sleep(0.01)
        assert now(kit) == (AUTH, HAS_ENDED)
        assert heard(kit) == [AUTH]
        kit.broker.accept()
        await asyncio.sleep(70)
        # It takes it all the same: what comes is live.
        assert now(kit) == (LIVE, "")
        assert heard(kit) == [AUTH, LIVE]
        kit.release()
        await asyncio.sleep(400)
        assert now(kit) == (AUTH, HAS_ENDED)
        assert heard(kit) == [AUTH, LIVE, AUTH]


@virtual
async def test_a_refused_credential_is_not_forgotten_when_its_clients_leave():
    async with open_kit(credential_fields=TOKEN_FIELD) as kit:
        kit.broker.good_tokens = {"new"}
        kit.want(1)
        await asyncio.sleep(10)
        refused = now(kit)
        assert refused[0] is AUTH
        kit.release()
        await asyncio.sleep(400)
        assert now(kit) == refused
        assert heard(kit) == [AUTH]
        kit.pool.credentials_changed(kit.store.save_credentials("7", {"token": "new"}))
        await asyncio.sleep(0)
        assert now(kit) == IDLE
        assert heard(kit) == [AUTH, LIVE]


@virtual
async def test_a_live_feed_stays_live_past_the_end_until_its_socket_closes():
    ends = {"credential_expiry_ms": EPOCH_MS + 60_000}
    async with open_kit(of_account=ends, credential_fields=TOKEN_FIELD) as kit:
        kit.want(1)
        await asyncio.sleep(120)
        assert now(kit) == (LIVE, "")
        kit.broker.refuse(503)
        kit.broker.drop()
        await asyncio.sleep(5)
        assert now(kit) == (AUTH, HAS_ENDED)
        assert heard(kit)[-1] is AUTH


@virtual
async def test_paused_and_resumed_it_says_so_once_more():
    lacking = {"credential_lack": NONE_STORED}
    async with open_kit(of_account=lacking, credential_fields=TOKEN_FIELD) as kit:
        kit.pool.set_paused(True)
        await asyncio.sleep(0)
        assert now(kit)[0] is FeedStatus.CLOSED
        kit.pool.credentials_changed(1, lack=NONE_STORED, ends_ms=EPOCH_MS)
        await asyncio.sleep(5)
        assert heard(kit) == [AUTH, FeedStatus.CLOSED]
        kit.pool.set_paused(False)
        await asyncio.sleep(0)
        assert now(kit) == (AUTH, NONE_STORED)
        assert heard(kit) == [AUTH, FeedStatus.CLOSED, AUTH]


@virtual
async def test_a_broker_that_needs_none_is_idle_whatever_is_stored():
    for of_account in ({"credential_lack": "x"}, {"credential_expiry_ms": EPOCH_MS - 1}):
        async with open_kit(of_account=of_account) as kit:
            await asyncio.sleep(5)
            assert now(kit) == IDLE
            assert heard(kit) == []


@pytest.mark.parametrize(
    ("stored", "lack"),
    [
        ((), NONE_STORED),
        (("api_key",), "not stored: Access token"),
        (("access_token", "api_key", "of_another_broker"), ""),
    ],
)
def test_what_is_lacking_is_named(stored: tuple[str, ...], lack: str) -> None:
    assert ZerodhaAdapter.credential_lack(stored) == lack
    assert BinanceAdapter.credential_lack(stored) == ""
