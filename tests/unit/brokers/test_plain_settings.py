"""The settings of brokers of which little is open: Zerodha and Binance."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokers.binance.connection import BinanceAdapter
from brokers.contract import BrokerAdapter
from brokers.exceptions import BrokerConfigError
from brokers.testing import RecordingSink
from brokers.types import FeedMode, Instrument, InstrumentKey, Subscription
from brokers.zerodha.connection import ZerodhaAdapter


def items(prefix: str, count: int, mode: FeedMode) -> list[Subscription]:
    return [
        Subscription(Instrument(InstrumentKey("X", f"S{at}"), f"{prefix}{at + 1}"), mode)
        for at in range(count)
    ]


def test_the_pace_and_patience_of_a_zerodha_account() -> None:
    configured = ZerodhaAdapter.with_settings(
        {
            "instruments_per_message": "3",
            "message_interval_seconds": "0.5",
            "silence_limit_seconds": 60,
        }
    )
    capabilities = configured.capabilities
    assert capabilities.message_interval_seconds == 0.5
    assert capabilities.liveness_timeout_seconds == 60
    messages = configured(sink=RecordingSink()).subscribe(items("", 7, FeedMode.QUOTE))
    assert [len(json.loads(message)["v"]) for message in messages] == [3, 3, 1]


def test_the_connections_and_messages_of_a_binance_account() -> None:
    configured = BinanceAdapter.with_settings({"connections": 3, "streams_per_message": "9"})
    assert configured.capabilities.max_connections == 3
    messages = configured(sink=RecordingSink()).subscribe(items("s", 5, FeedMode.DEPTH))
    streams = [len(json.loads(message)["params"]) for message in messages]
    assert streams == [8, 8, 4], "those of an instrument stay together"
    messages = configured(sink=RecordingSink()).subscribe(items("s", 10, FeedMode.LTP))
    assert [len(json.loads(message)["params"]) for message in messages] == [9, 1]


@pytest.mark.parametrize(
    ("adapter", "values", "named"),
    [
        (ZerodhaAdapter, {"silence_limit_seconds": 4.9}, "5 to 120"),
        (ZerodhaAdapter, {"instruments_per_message": 0}, "1 to 3000"),
        (BinanceAdapter, {"connections": 0}, "1 to 100"),
        (BinanceAdapter, {"streams_per_message": 3}, "4 to 400"),
        (BinanceAdapter, {"plan": "vip"}, "connections, streams_per_message"),
    ],
)
def test_a_wrong_setting_says_what_mends_it(
    adapter: type[BrokerAdapter], values: dict[str, Any], named: str
) -> None:
    with pytest.raises(BrokerConfigError, match=named):
        adapter.with_settings(values)
