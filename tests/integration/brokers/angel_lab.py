"""Angel One in the contract."""

from __future__ import annotations

from brokers.angel.connection import AngelAdapter
from brokers.simulator.angel.encoder import name_of
from brokers.simulator.angel.exchange import AngelExchange
from brokers.simulator.listing import ListedInstrument
from tests.fix_simulator import ACCESS_TOKEN, API_KEY
from tests.integration.brokers.lab import BrokerLab

__all__ = ["ANGEL"]


def _token(item: ListedInstrument) -> str | None:
    name = name_of(item)
    return None if name is None else f"{name.exchange_type}:{name.token}"


ANGEL = BrokerLab(
    adapter=AngelAdapter,
    exchange=AngelExchange,
    credentials={
        "api_key": API_KEY,
        "client_code": "C123",
        "access_token": ACCESS_TOKEN,
        "feed_token": "feed",
    },
    limit_option="max_pairs",
    refusal_status=401,
    sends_keepalive=True,
    broker_token=_token,
)
