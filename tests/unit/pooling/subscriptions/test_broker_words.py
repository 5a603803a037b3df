"""What a broker says about subscriptions, and what their holders hear of it."""

from __future__ import annotations

import asyncio
import json

import pytest

from brokers.exceptions import BrokerError, BrokerLimitError
from brokers.pool_service import RefusalCode
from pooling.subscriptions.outcomes import words_of
from tests.unit.pooling.kit import ACTIVE, BOB, PENDING, REFUSED, key, open_kit, virtual

MAINTENANCE = "Internal server maintenance"


@virtual
async def test_a_text_that_names_nothing_ends_nothing_and_its_words_are_told():
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.broker.confirms = False
        kit.want(2)
        await asyncio.sleep(1)
        kit.events.clear()
        kit.broker.say(json.dumps({"says": MAINTENANCE}))
        await asyncio.sleep(1)
        (outcome,) = kit.outcomes
        assert (outcome.key, outcome.state) == (key(2), PENDING)
        assert outcome.code is RefusalCode.BROKER_ERROR
        assert MAINTENANCE in outcome.message
        assert not kit.feed, "what ticks is not doubted for a text that may be of anything"
        assert kit.broker.subscribed.keys() == {"1", "2"}
        kit.broker.tick()
        kit.broker.say('{"ok":["2"]}')
        await asyncio.sleep(1)
        assert (kit.outcomes[-1].key, kit.outcomes[-1].state) == (key(2), ACTIVE)
        assert kit.want(2, holder=BOB)[0].state is ACTIVE


@virtual
async def test_what_had_no_answer_at_a_complaint_is_asked_for_anew_once():
    """It may be what was refused, and then nothing but asking again would ever bring it."""
    async with open_kit() as kit:
        kit.want(1)
        await asyncio.sleep(1)
        kit.broker.confirms = False
        kit.want(2, 3)
        await asyncio.sleep(1)
        asked = len(kit.broker.messages)
        kit.broker.say(json.dumps({"says": MAINTENANCE}))
        await asyncio.sleep(1)
        kit.broker.say('{"ok":["3"]}')
        await asyncio.sleep(8)
        assert len(kit.broker.messages) == asked, "it may still be answered"
        kit.broker.confirms = True
        await asyncio.sleep(5)
        again = [said for _, _, said in kit.broker.messages[asked:]]
        assert [(said["do"], [row[0] for row in said["items"]]) for said in again] == [
            ("unsubscribe", ["2"]),
            ("subscribe", ["2"]),
        ]
        assert (kit.outcomes[-1].key, kit.outcomes[-1].state) == (key(2), ACTIVE)
        await asyncio.sleep(60)
        assert len(kit.broker.messages) == asked + len(again)
        assert not kit.broker.complaints


@virtual
async def test_a_refusal_for_a_limit_carries_the_broker_s_words_too():
    async with open_kit() as kit:
        kit.broker.confirms = False
        kit.want(1)
        await asyncio.sleep(1)
        kit.broker.say('{"no":[]}')
        await asyncio.sleep(1)
        (outcome,) = kit.outcomes
        assert (outcome.state, outcome.code) == (REFUSED, RefusalCode.MAX_CAPACITY_REACHED)
        assert "its own limit" in outcome.message
        assert "too many" in outcome.message


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (" two\n\tlines ", "two lines"),
        ("", "it gave no reason"),
        ("bad api_key=abcdef123456 here", "bad api_key=[redacted] here"),
    ],
)
def test_words_are_fit_to_be_passed_on(said, heard):
    assert words_of(BrokerError(said)) == heard
    assert words_of(BrokerLimitError(said)) == heard


def test_words_are_few():
    assert len(words_of(BrokerError("x y " * 500))) == 200


@virtual
async def test_who_waits_for_a_connection_that_the_broker_refuses_is_told():
    """``pending`` has a reason, and an end once the broker takes one."""
    async with open_kit() as kit:
        kit.broker.refuse(429)
        kit.want(1)
        await asyncio.sleep(10)
        (outcome,) = {(o.key, o.state, o.code, o.message) for o in kit.outcomes}
        assert outcome[:3] == (key(1), PENDING, RefusalCode.BROKER_UNAVAILABLE)
        assert "no further connection of this account" in outcome[3]
        kit.broker.accept()
        await asyncio.sleep(600)
        assert kit.outcomes[-1].state is ACTIVE
