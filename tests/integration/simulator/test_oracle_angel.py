"""Angel One's own client and our codec read everything that the local exchange sends alike."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from brokers.angel.codec import decode_frame
from brokers.simulator.angel.encoder import AngelMode, encode_tick, name_of
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Market, Quote
from brokers.types import DepthLevel, FeedMode, Tick
from tests.fix_oracles import RunOracle
from tests.fix_simulator import ACCESS_TOKEN, API_KEY, MakeAngelServer
from tests.support import eventually
from tests.unit.brokers.angel.angel_vectors import ANGEL_VECTORS

pytestmark = pytest.mark.oracle

I64, I64_LEAST, U16, DOUBLE = 2**63 - 1, -(2**63), 0xFFFF, 2**53
NSE_SHARE = 1
# What the client tells of a frame and we have no use for.
UNUSED = {
    *("sequence_number", "subscription_mode_val", "open_interest_change_percentage"),
    *("upper_circuit_limit", "lower_circuit_limit", "52_week_high_price", "52_week_low_price"),
    "packet_received_time",
}


def meant(quote: Quote, mode: AngelMode) -> dict[str, Any]:
    """Return the dict into which the client must decode a quote, as far as we use it."""
    name = name_of(quote.instrument)
    assert name is not None
    tick: dict[str, Any] = {
        "subscription_mode": mode,
        "exchange_type": name.exchange_type,
        "token": name.token,
        "exchange_timestamp": quote.exchange_time * 1000,
    }
    if mode is AngelMode.DEPTH_20:
        for side, levels in (("buy", quote.bids(20)), ("sell", quote.asks(20))):
            tick[f"depth_20_{side}_data"] = [
                {"quantity": quantity, "price": price, "num_of_orders": orders}
                for price, quantity, orders in levels + [(0, 0, 0)] * (20 - len(levels))
            ]
        return tick
    tick["last_traded_price"] = quote.last_price
    if mode is AngelMode.LTP:
        return tick
    tick |= {
        "last_traded_quantity": quote.last_quantity,
        "average_traded_price": quote.average_price,
        "volume_trade_for_the_day": quote.volume,
        "total_buy_quantity": float(quote.total_buy_quantity),
        "total_sell_quantity": float(quote.total_sell_quantity),
        "open_price_of_the_day": quote.open,
        "high_price_of_the_day": quote.high,
        "low_price_of_the_day": quote.low,
        "closed_price": quote.close,
    }
    if mode is AngelMode.SNAP_QUOTE:
        tick |= {
            "last_traded_timestamp": quote.last_trade_time,
            "open_interest": quote.oi,
            "best_5_buy_data": five(1, quote.bids()),
            "best_5_sell_data": five(0, quote.asks()),
        }
    return tick


def five(flag: int, levels: list[tuple[int, int, int]]) -> list[dict[str, int]]:
    return [
        {"flag": flag, "quantity": quantity, "price": price, "no of orders": orders}
        for price, quantity, orders in levels
    ]


def used(tick: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in tick.items() if name not in UNUSED}


def as_tick(read: dict[str, Any]) -> Tick:
    """Turn what the client read into the tick that our codec must make of the same frame."""
    mode = read["subscription_mode"]
    name = f"{read['exchange_type']}:{read['token']}"
    scale = 10_000_000 if read["exchange_type"] == 13 else 100
    if mode == AngelMode.DEPTH_20:
        keys = ("price", "quantity", "num_of_orders")
        bids, asks = (sides(read[f"depth_20_{side}_data"], keys) for side in ("buy", "sell"))
        # The client reports the time of receipt as the exchange's (Angel's Java client does not).
        stamp = read["packet_received_time"]
        return Tick(name, FeedMode.DEPTH, scale, ts_event_ms=stamp or None, **top(bids, asks))
    fields: dict[str, Any] = {
        "ltp": read["last_traded_price"] or None,  # the client does not know of absent prices
        "ts_event_ms": read["exchange_timestamp"] or None,
    }
    if mode != AngelMode.LTP:
        fields |= {
            "last_trade_quantity": read["last_traded_quantity"],
            "avg_trade_price": read["average_traded_price"] or None,
            "volume": read["volume_trade_for_the_day"],
            "total_buy_quantity": int(read["total_buy_quantity"]),
            "total_sell_quantity": int(read["total_sell_quantity"]),
            "open": read["open_price_of_the_day"] or None,
            "high": read["high_price_of_the_day"] or None,
            "low": read["low_price_of_the_day"] or None,
            "close": read["closed_price"] or None,
        }
    if mode == AngelMode.SNAP_QUOTE:
        keys = ("price", "quantity", "no of orders")
        bids, asks = (sides(read[f"best_5_{side}_data"], keys) for side in ("buy", "sell"))
        fields |= {
            "ltt_ms": read["last_traded_timestamp"] * 1000 or None,
            "oi": read["open_interest"],
            **top(bids, asks),
        }
    return Tick(name, FeedMode(mode), scale, **fields)


def sides(levels: list[dict[str, int]], keys: tuple[str, ...]) -> tuple[DepthLevel, ...]:
    """Return the levels that have a price."""
    rows = (DepthLevel(*(level[key] for key in keys)) for level in levels)
    return tuple(level for level in rows if level.price)


def top(bids: tuple[DepthLevel, ...], asks: tuple[DepthLevel, ...]) -> dict[str, Any]:
    bid, ask = (side[0] if side else (None, None, None) for side in (bids, asks))
    return {
        "bids": bids,
        "asks": asks,
        **{"bid_price": bid[0], "bid_size": bid[1], "ask_price": ask[0], "ask_size": ask[1]},
    }


def some_of_every_segment(market: Market, count: int) -> list[Quote]:
    chosen: dict[int, list[Quote]] = defaultdict(list)
    for quote in market.quotes.values():
        name = name_of(quote.instrument)
        if name is not None and len(chosen[name.exchange_type]) < count:
            chosen[name.exchange_type].append(quote)
    # Indices share a segment with shares.
    chosen[0] = [quote for quote in market.quotes.values() if quote.instrument.is_index][:count]
    assert set(chosen) == {0, 1, 2, 3, 4, 5, 13}
    unique = {
        quote.instrument.instrument_token: quote for each in chosen.values() for quote in each
    }
    return [quote for quote in unique.values() if name_of(quote.instrument)]


def key(quote: Quote) -> str:
    name = name_of(quote.instrument)
    assert name is not None
    return f"{name.exchange_type}:{name.token}"


async def test_the_official_client_decodes_every_mode_to_the_values_meant(
    make_angel_server: MakeAngelServer, run_broker_oracle: RunOracle
):
    server = await make_angel_server(rate=0)
    quotes = some_of_every_segment(server.market, 25)
    groups: dict[int, list[str]] = defaultdict(list)
    for quote in quotes:
        kind, token = key(quote).split(":")
        groups[int(kind)].append(token)
    report = await run_broker_oracle(
        "angel_live.py",
        f"{server.url}/smart-stream",
        f"Bearer {ACCESS_TOKEN}",
        API_KEY,
        "C123",
        "feed",
        given=[{"exchangeType": kind, "tokens": names} for kind, names in groups.items()],
    )
    assert report["errors"] == []
    for mode in AngelMode:
        chosen = quotes
        if mode is AngelMode.DEPTH_20:
            nse = {f"{NSE_SHARE}:{token}" for token in groups[NSE_SHARE][:50]}
            chosen = [quote for quote in quotes if key(quote) in nse]
        read = {name: used(tick) for name, tick in report["ticks"][str(mode.value)].items()}
        assert read == {key(quote): meant(quote, mode) for quote in chosen}
        for quote in chosen:
            ours = decode_frame(encode_tick(quote, mode))
            assert ours == as_tick(report["ticks"][str(mode.value)][key(quote)])
    # The last unsubscribe is under way still.
    await eventually(lambda: server.record().subscribed == 0)
    assert server.record().complaints() == []


async def test_the_official_client_understands_the_refusal_of_a_bad_token(
    make_angel_server: MakeAngelServer, run_broker_oracle: RunOracle
):
    server = await make_angel_server()
    report = await run_broker_oracle(
        "angel_live.py", f"{server.url}/smart-stream", "stale", API_KEY, "C", "f", given=[]
    )
    # It may say it a second time before it ends.
    assert report["errors"][0] == ["Max retry attempt reached", "Connection closed"]
    assert server.record().refused == {"401": 1}


def extreme(segment: Segment, price: int, quantity: int, seconds: int, orders: int) -> Quote:
    item = ListedInstrument(
        segment=segment,
        exchange_token=2**53,
        tradingsymbol="X",
        name="X",
        exchange="NSE",
        base_price=1,
        tick=1,
    )
    return Quote(
        instrument=item,
        last_price=price,
        open=price,
        high=price,
        low=price,
        # The circuits are made of it, and lie above and below.
        close=price // 2,
        last_quantity=quantity,
        average_price=price,
        volume=quantity,
        total_buy_quantity=min(quantity, DOUBLE),
        total_sell_quantity=min(quantity, DOUBLE),
        # From here on our codec takes it for milliseconds: the unit is not documented.
        last_trade_time=min(seconds, 99_999_999_999),
        exchange_time=seconds,
        oi=quantity,
        levels=(Level(0, quantity, orders),) * 10,
    )


async def test_extreme_values_and_the_vectors_are_decoded_alike(run_broker_oracle: RunOracle):
    far = 253_402_300_799  # the last second of the year 9999
    values = (
        (I64, I64, far, U16),
        (I64_LEAST, 1, 1, 1),
        (-3763, 100, 1_587_400_000, 7),  # crude oil in April 2020
        (0, 0, 0, 0),
    )
    segments = [each for each in Segment if each not in (Segment.BCD, Segment.NCO)]
    quotes = [extreme(segment, *each) for segment in segments for each in values]
    modes = (AngelMode.LTP, AngelMode.QUOTE, AngelMode.SNAP_QUOTE)
    small = [extreme(Segment.NSE, price, 2**31 - 1, far, 2**15 - 1) for price in (2**31 - 16, -5)]
    kinds = [(quote, mode) for quote in quotes for mode in modes]
    kinds += [(quote, AngelMode.DEPTH_20) for quote in small]
    frames = [encode_tick(quote, mode) for quote, mode in kinds]
    vectors = [bytes.fromhex(text) for text in ANGEL_VECTORS.values()]
    read = await run_broker_oracle(
        "angel_parse.py", given=[frame.hex() for frame in frames + vectors]
    )
    assert [used(tick) for tick in read[: len(kinds)]] == [meant(*kind) for kind in kinds]
    for frame, tick in zip(frames + vectors, read, strict=True):
        ours = decode_frame(frame)
        if len(frame) == 443:
            # See ``as_tick``: of a frame with two times the client tells the second one only.
            tick["packet_received_time"] = int.from_bytes(frame[27:35], "little")
        assert ours == as_tick(tick)
