"""What the open questions of Angel One's documents change."""

from __future__ import annotations

from typing import Any

import pytest

from brokers.angel.config import AngelSettings, capabilities_with
from brokers.angel.connection import AngelAdapter
from brokers.contract import Credentials
from brokers.exceptions import BrokerConfigError
from brokers.testing import RecordingSink
from brokers.types import FeedMode
from tests.unit.brokers.angel.test_angel_adapter import VALUES, numbered, pairs_held, sent


def make(**values: Any) -> AngelAdapter:
    return AngelAdapter.with_settings(values)(sink=RecordingSink())


def test_the_defaults_change_nothing() -> None:
    capabilities = AngelAdapter.capabilities
    assert capabilities_with(capabilities, AngelSettings()) == capabilities
    assert AngelAdapter.with_settings({"keepalive": "text"}) is AngelAdapter


def test_the_text_or_a_ping_of_websockets_keeps_the_link_alive() -> None:
    """Without an answer that the core knows, it sends pings of its own."""
    text, ping = make(), make(keepalive="ping")
    assert (text.keepalive(), text.capabilities.keepalive_answer) == ("ping", "pong")
    assert (ping.keepalive(), ping.capabilities.keepalive_answer) == (None, None)


@pytest.mark.parametrize("stored", ["a.b.c", "Bearer a.b.c", " Bearer  a.b.c "])
@pytest.mark.parametrize(
    ("form", "sent_as"), [("stored", None), ("bearer", "Bearer a.b.c"), ("bare", "a.b.c")]
)
def test_the_jwt_has_the_form_that_is_wanted(stored: str, form: str, sent_as: str | None) -> None:
    handshake = make(jwt_form=form).handshake(Credentials(VALUES | {"access_token": stored}))
    expected = stored.strip() if sent_as is None else sent_as
    assert handshake.headers["Authorization"] == expected
    assert handshake.headers["x-feed-token"] == "feed"


@pytest.mark.parametrize(("kept_free", "steps"), [(1, 999), (50, 19), (500, 1)])
def test_pairs_kept_free_are_the_room_for_changes(kept_free: int, steps: int) -> None:
    adapter = make(pairs_kept_free=kept_free, tokens_per_message=1000)
    room = adapter.capabilities.symbols_per_connection
    assert room == 1000 - kept_free
    low, high = numbered(room, FeedMode.LTP), numbered(room, FeedMode.DEPTH)
    first = adapter.subscribe(low)
    changes = adapter.change_mode(list(zip(low, high, strict=True)))
    most, held = pairs_held([*first, *changes])
    assert len(changes) == 2 * steps
    assert most == 1000
    assert held == {(item.instrument.broker_token, 3) for item in low}


def test_the_pace_and_size_of_messages() -> None:
    adapter = make(tokens_per_message=3, message_interval_seconds="0.5")
    assert adapter.capabilities.message_interval_seconds == 0.5
    lists = [
        message["params"]["tokenList"]
        for message in sent(adapter.subscribe(numbered(7, FeedMode.LTP)))
    ]
    assert [len(groups[0]["tokens"]) for groups in lists] == [3, 3, 1]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"keepalive": "both"}, "text, ping"),
        ({"jwt_form": "Bearer"}, "stored, bearer, bare"),
        ({"pairs_kept_free": 0}, "1 to 500"),
        ({"tokens_per_message": 1001}, "1 to 1000"),
    ],
)
def test_a_wrong_setting_says_what_mends_it(values: dict[str, Any], named: str) -> None:
    with pytest.raises(BrokerConfigError, match=named):
        AngelAdapter.with_settings(values)
