"""Zerodha's own client decodes everything that the local exchange sends, to the same values."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Market, Quote
from brokers.simulator.zerodha.encoder import HEARTBEAT, Mode, encode_frame, encode_packet
from tests.fix_oracles import RunOracle
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, MakeKiteServer
from tests.support import eventually

pytestmark = pytest.mark.oracle

U32 = 0xFFFFFFFF


def meant(quote: Quote, mode: Mode) -> dict[str, Any]:
    """Return the dict into which the client must decode a quote; ``change`` it derives itself."""
    item = quote.instrument
    scale = {Segment.CDS: 1e7, Segment.BCD: 1e4, Segment.NCO: 1e4}.get(item.segment, 1e2)
    tick: dict[str, Any] = {
        "tradable": item.segment is not Segment.INDICES,
        "mode": mode.value,
        "instrument_token": item.exchange_token * 256 + item.segment,
        "last_price": quote.last_price / scale,
    }
    if mode is Mode.LTP:
        return tick
    tick["ohlc"] = {name: getattr(quote, name) / scale for name in ("open", "high", "low", "close")}
    if mode is Mode.FULL:
        tick["exchange_timestamp"] = naive(quote.exchange_time)
    if item.segment is Segment.INDICES:
        return tick
    tick |= {
        "last_traded_quantity": quote.last_quantity,
        "average_traded_price": quote.average_price / scale,
        "volume_traded": quote.volume,
        "total_buy_quantity": quote.total_buy_quantity,
        "total_sell_quantity": quote.total_sell_quantity,
    }
    if mode is Mode.FULL:
        tick |= {
            "last_trade_time": naive(quote.last_trade_time),
            "oi": quote.oi,
            "oi_day_high": quote.oi_day_high,
            "oi_day_low": quote.oi_day_low,
            "depth": {"buy": levels(quote.bids(), scale), "sell": levels(quote.asks(), scale)},
        }
    return tick


def naive(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()


def levels(side: list[tuple[int, int, int]], scale: float) -> list[dict[str, Any]]:
    return [
        {"quantity": quantity, "price": price / scale, "orders": orders}
        for price, quantity, orders in side
    ]


def decoded(tick: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tick.items() if name != "change"}


def some_of_every_segment(market: Market, count: int) -> list[Quote]:
    chosen: dict[Segment, list[Quote]] = defaultdict(list)
    for quote in market.quotes.values():
        if len(chosen[quote.instrument.segment]) < count:
            chosen[quote.instrument.segment].append(quote)
    assert set(chosen) == set(Segment)
    return [quote for quotes in chosen.values() for quote in quotes]


async def test_the_official_client_decodes_every_packet_kind_to_the_values_meant(
    make_kite_server: MakeKiteServer, run_oracle: RunOracle
):
    server = await make_kite_server(rate=0)
    quotes = some_of_every_segment(server.market, 25)
    tokens = [quote.instrument.instrument_token for quote in quotes]
    order = {"order_id": "151220000000000", "status": "COMPLETE"}
    client = asyncio.create_task(
        run_oracle("kite_live.py", server.url, API_KEY, ACCESS_TOKEN, given=tokens)
    )

    def has_seen_all() -> bool:
        record = server.record()
        return client.done() or (record.ticks_sent >= 3 * len(tokens) and not record.subscribed)

    await eventually(has_seen_all, timeout=100)
    server.send_error("an error for people")
    server.send_order(order)
    report = await client
    assert report["orders"] == [order]
    assert report["errors"] == [[0, "an error for people"]]
    for mode in Mode:
        ticks = report["ticks"][mode]
        assert {int(token): decoded(tick) for token, tick in ticks.items()} == {
            quote.instrument.instrument_token: meant(quote, mode) for quote in quotes
        }
    assert server.record().complaints() == []


async def test_the_official_client_understands_the_refusal_of_a_bad_token(
    make_kite_server: MakeKiteServer, run_oracle: RunOracle
):
    server = await make_kite_server()
    report = await run_oracle("kite_live.py", server.url, API_KEY, "stale", given=[1])
    code, reason = report["closes"][0]
    assert code == 1006
    assert "403 - Forbidden" in reason


async def test_extreme_values_are_decoded_alike(run_oracle: RunOracle):
    quotes = []
    for segment in Segment:
        for value, seconds, orders in ((U32, U32, 0xFFFF), (0, 0, 0), (2**31, 2**31, 2**15)):
            item = ListedInstrument(
                segment=segment,
                exchange_token=2**24 - 1,
                tradingsymbol="X",
                name="X",
                exchange="X",
                base_price=1,
                tick=1,
            )
            # An index carries its change as a signed number: the close stays within reach.
            close = value - 2**31 + 1 if value > 2**31 else value
            quotes.append(
                Quote(
                    instrument=item,
                    last_price=value,
                    open=value,
                    high=value,
                    low=value,
                    close=close,
                    last_quantity=value,
                    average_price=value,
                    volume=value,
                    total_buy_quantity=value,
                    total_sell_quantity=value,
                    last_trade_time=seconds,
                    exchange_time=seconds,
                    oi=value,
                    oi_day_high=value,
                    oi_day_low=value,
                    levels=(Level(0, value, orders),) * 10,
                )
            )
    kinds = [(quote, mode) for quote in quotes for mode in Mode]
    packets = [encode_packet(quote, mode) for quote, mode in kinds]
    frames = [encode_frame(packets), encode_frame(packets[:1]), encode_frame([]), HEARTBEAT]
    parsed = await run_oracle("kite_parse.py", given=[frame.hex() for frame in frames])
    expected = [meant(quote, mode) for quote, mode in kinds]
    assert [[decoded(tick) for tick in ticks] for ticks in parsed] == [
        expected,
        expected[:1],
        [],
        [],
    ]
