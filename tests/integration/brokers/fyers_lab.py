"""Fyers in the contract."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from brokers.fyers.connection import FyersAdapter
from brokers.simulator.fyers.encoder import name_of, topic_kinds
from brokers.simulator.fyers.exchange import FyersExchange
from brokers.simulator.listing import ListedInstrument
from brokers.simulator.market import Quote
from brokers.types import FeedMode
from tests.fix_simulator import ACCESS_TOKEN
from tests.integration.brokers.lab import BrokerLab, meant_by_most

__all__ = ["FYERS"]


class SeveralConnections(FyersAdapter):
    """With as many connections as the contract needs; how many Fyers takes is not documented."""

    capabilities = replace(FyersAdapter.capabilities, max_connections=3)


def _token(item: ListedInstrument) -> str | None:
    name = name_of(item)
    # There is no master of the BSE's currencies.
    if name is None or name.segment == "bcs_fo":
        return None
    return name.topic(topic_kinds(item)[0])


def _meant(quote: Quote, mode: FeedMode) -> dict[str, Any]:
    meant = meant_by_most(quote, mode)
    if mode is FeedMode.DEPTH and not quote.instrument.is_index:
        del meant["ts_event_ms"]  # a book says none
    return meant


FYERS = BrokerLab(
    adapter=SeveralConnections,
    exchange=FyersExchange,
    credentials={"access_token": ACCESS_TOKEN},
    limit_option="max_symbols",
    refusal_status=401,
    sends_keepalive=True,
    broker_token=_token,
    meant=_meant,
)
