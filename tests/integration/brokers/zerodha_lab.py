"""Zerodha in the contract."""

from __future__ import annotations

from brokers.simulator.listing import ListedInstrument
from brokers.simulator.zerodha.exchange import KiteExchange
from brokers.zerodha.connection import ZerodhaAdapter
from tests.fix_simulator import ACCESS_TOKEN, API_KEY
from tests.integration.brokers.lab import BrokerLab

__all__ = ["ZERODHA"]


def _token(item: ListedInstrument) -> str:
    return str(item.instrument_token)


ZERODHA = BrokerLab(
    adapter=ZerodhaAdapter,
    exchange=KiteExchange,
    credentials={"api_key": API_KEY, "access_token": ACCESS_TOKEN},
    limit_option="max_instruments",
    refusal_status=403,
    sends_keepalive=False,
    broker_token=_token,
)
