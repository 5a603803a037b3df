"""Upstox's own client and our codec read everything that the local exchange sends alike."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import pytest

from brokers.simulator.listing import Segment
from brokers.simulator.market import Level, Market, Quote
from brokers.simulator.upstox.encoder import (
    FrameType,
    UpstoxMode,
    encode_feed,
    encode_frame,
    key_of,
)
from brokers.types import DepthLevel, FeedMode, Tick
from brokers.upstox.codec import decode_frame
from tests.fix_oracles import RunOracle
from tests.fix_simulator import ACCESS_TOKEN, MakeUpstoxServer, make_market
from tests.support import eventually
from tests.unit.brokers.upstox.upstox_vectors import UPSTOX_VECTORS

pytestmark = pytest.mark.oracle

NOW_MS = 1_767_600_000_123
REQUEST_MODES = {
    UpstoxMode.OPTION_GREEKS: "option_greeks",
    UpstoxMode.FULL: "full_d5",
    UpstoxMode.FULL_D30: "full_d30",
}


def filled(**fields: Any) -> dict[str, Any]:
    """Return what protobuf 3 leaves of a message's scalars; the client shows int64 as texts."""
    texts = {name: str(value) if type(value) is int else value for name, value in fields.items()}
    return {name: value for name, value in texts.items() if value not in ("0", 0.0)}


def meant(quote: Quote, mode: UpstoxMode) -> dict[str, Any]:
    """Return the dict into which the client must decode a quote."""
    item = quote.instrument

    def rupees(price: int) -> float:
        return price / item.segment.price_scale

    ltpc = filled(
        ltp=rupees(quote.last_price),
        ltt=quote.last_trade_time * 1000,
        ltq=quote.last_quantity,
        cp=rupees(quote.close),
    )
    if mode is UpstoxMode.LTPC:
        return {"ltpc": ltpc}
    count = 30 if mode is UpstoxMode.FULL_D30 else 5
    levels = [
        filled(bidQ=bid[1], bidP=rupees(bid[0]), askQ=ask[1], askP=rupees(ask[0]))
        for bid, ask in zip_longest(quote.bids(count), quote.asks(count), fillvalue=(0, 0, 0))
    ]
    asked = {"requestMode": REQUEST_MODES[mode]}
    if mode is UpstoxMode.OPTION_GREEKS:
        first: dict[str, Any] = {"ltpc": ltpc, "optionGreeks": {"delta": 0.51, "theta": -3.25}}
        if not item.is_index:
            first["firstDepth"] = levels[0]
        first |= filled(vtt=quote.volume, oi=float(quote.oi), iv=0.14)
        return {"firstLevelWithGreeks": first, **asked}
    last = rupees(quote.last_price)
    candles = [
        {
            "interval": "1d",
            **filled(
                open=rupees(quote.open),
                high=rupees(quote.high),
                low=rupees(quote.low),
                close=last,
                vol=quote.volume,
                ts=quote.exchange_time // 86_400 * 86_400_000,
            ),
        },
        {
            "interval": "I1",
            **filled(
                open=last,
                high=last,
                low=last,
                close=last,
                vol=quote.last_quantity,
                ts=quote.exchange_time // 60 * 60_000,
            ),
        },
    ]
    some = {"ltpc": ltpc, "marketOHLC": {"ohlc": candles}}
    if item.is_index:
        return {"fullFeed": {"indexFF": some}, **asked}
    some |= {"marketLevel": {"bidAskQuote": levels}, "optionGreeks": {}}
    some |= filled(
        atp=rupees(quote.average_price),
        vtt=quote.volume,
        oi=float(quote.oi),
        tbq=float(quote.total_buy_quantity),
        tsq=float(quote.total_sell_quantity),
    )
    return {"fullFeed": {"marketFF": some}, **asked}


def as_tick(key: str, read: dict[str, Any], stamp: str) -> Tick:
    """Turn what the client read into the tick that our codec must make of the same feed."""
    full = read.get("fullFeed", {})
    index, market = full.get("indexFF"), full.get("marketFF")
    first = read.get("firstLevelWithGreeks")
    some = index or market or first or read
    ltpc = some.get("ltpc", {})
    fields: dict[str, Any] = {
        "ltp": price(ltpc, "ltp"),
        "close": price(ltpc, "cp"),
        "ltt_ms": int(ltpc.get("ltt", 0)) or None,
        "ts_event_ms": int(stamp),
    }
    mode = FeedMode.LTP
    if index is None:
        fields["last_trade_quantity"] = int(ltpc.get("ltq", 0))
    if first is not None:
        fields |= {"volume": int(first.get("vtt", 0)), "oi": int(first.get("oi", 0))}
        fields |= best([first.get("firstDepth", {})])
    if index is not None or market is not None:
        candles = some.get("marketOHLC", {}).get("ohlc", [])
        day = next((candle for candle in candles if candle["interval"] == "1d"), None)
        if day is not None:
            mode = FeedMode.DEPTH
            fields |= {name: price(day, name) for name in ("open", "high", "low")}
        elif index is not None:
            fields["last_trade_quantity"] = int(ltpc.get("ltq", 0))
    if market is not None:
        mode = FeedMode.DEPTH
        levels = market["marketLevel"].get("bidAskQuote", [])
        fields |= {
            "volume": int(market.get("vtt", 0)),
            "avg_trade_price": price(market, "atp"),
            "oi": int(market.get("oi", 0)),
            "total_buy_quantity": int(market.get("tbq", 0)),
            "total_sell_quantity": int(market.get("tsq", 0)),
            "bids": side(levels, "bid"),
            "asks": side(levels, "ask"),
            **best(levels),
        }
    return Tick(key, mode, 10_000, **fields)


def price(message: dict[str, Any], name: str) -> int | None:
    return round(message.get(name, 0.0) * 10_000) or None


def side(levels: list[dict[str, Any]], name: str) -> tuple[DepthLevel, ...]:
    rows = ((price(level, f"{name}P"), int(level.get(f"{name}Q", 0))) for level in levels)
    return tuple(DepthLevel(each, size) for each, size in rows if each)


def best(levels: list[dict[str, Any]]) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for name in ("bid", "ask"):
        top = side(levels, name)
        found[f"{name}_price"], found[f"{name}_size"] = top[0][:2] if top else (None, None)
    return found


def some_of_every_segment(market: Market, count: int) -> list[Quote]:
    chosen: dict[Segment, list[Quote]] = defaultdict(list)
    for quote in market.quotes.values():
        if len(chosen[quote.instrument.segment]) < count:
            chosen[quote.instrument.segment].append(quote)
    assert set(chosen) == set(Segment)
    return [quote for some in chosen.values() for quote in some]


def ours(frame: bytes, key: str) -> Tick:
    (tick,) = decode_frame(frame, {key: FeedMode.DEPTH}).ticks
    return tick


async def test_the_official_client_decodes_every_mode_to_the_values_meant(
    make_upstox_server: MakeUpstoxServer, run_broker_oracle: RunOracle
):
    """By way of the redirect, which the client follows as it does at the broker's."""
    server = await make_upstox_server(rate=0, max_keys=5_000)
    quotes = some_of_every_segment(server.market, 20)
    keys = [key_of(quote.instrument) for quote in quotes]
    report = await run_broker_oracle("upstox_live.py", server.url, ACCESS_TOKEN, given=keys)
    assert report["errors"] == []
    assert report["order"][0] == "market_info"
    assert {status for info in report["infos"] for status in info.values()} == {"NORMAL_OPEN"}
    for mode in UpstoxMode:
        feeds = report["feeds"][mode]
        assert feeds == {key_of(quote.instrument): meant(quote, mode) for quote in quotes}
        for quote, key in zip(quotes, keys, strict=True):
            frame = encode_frame(FrameType.LIVE_FEED, {key: encode_feed(quote, mode)}, NOW_MS)
            assert ours(frame, key) == as_tick(key, feeds[key], str(NOW_MS))
    # The last unsubscribe is under way still.
    await eventually(lambda: server.record().subscribed == 0)
    assert server.record().complaints() == []


async def test_the_official_client_understands_the_refusal_of_a_bad_token(
    make_upstox_server: MakeUpstoxServer, run_broker_oracle: RunOracle
):
    server = await make_upstox_server()
    report = await run_broker_oracle("upstox_live.py", server.url, "stale", given=["NSE_EQ|X"])
    assert "401 Unauthorized" in report["errors"][0]
    assert server.record().refused == {"401": 1}


async def test_extreme_values_and_the_vectors_are_decoded_alike(run_broker_oracle: RunOracle):
    far = 253_402_300_799  # the last second of the year 9999
    values = (
        (2**53, 2**63 - 1, far),
        (-(2**53), 1, 1),
        (-3763, 100, 1_587_400_000),  # crude oil in April 2020
        (1, 2**31, 2**31),
        (0, 0, 0),
    )
    feeds: list[tuple[str, bytes, dict[str, Any]]] = []
    for quote in some_of_every_segment(make_market(), 1):
        for number, (price, quantity, seconds) in enumerate(values):
            extreme = replace(
                quote,
                last_price=price,
                open=price,
                high=price,
                low=price,
                close=price,
                average_price=price,
                last_quantity=quantity,
                volume=quantity,
                total_buy_quantity=min(quantity, 2**53),
                total_sell_quantity=min(quantity, 2**53),
                oi=min(quantity, 2**53),
                last_trade_time=seconds,
                levels=(Level(0, quantity // quote.instrument.lot_size, 1),) * 10,
            )
            for mode in UpstoxMode:
                key = f"{key_of(quote.instrument)}/{number}"
                feeds.append((key, encode_feed(extreme, mode), meant(extreme, mode)))
    frames = [encode_frame(FrameType.LIVE_FEED, {key: feed}, NOW_MS) for key, feed, _ in feeds]
    vectors = [bytes.fromhex(UPSTOX_VECTORS[name]) for name in UPSTOX_VECTORS]
    read = await run_broker_oracle(
        "upstox_parse.py", given=[frame.hex() for frame in frames + vectors]
    )
    for (key, _, expected), told in zip(feeds, read, strict=False):
        assert told["feeds"] == {key: expected}
    for frame, told in zip(frames + vectors, read, strict=True):
        for key, feed in told.get("feeds", {}).items():
            assert ours(frame, key) == as_tick(key, feed, told["currentTs"])
    market_info = read[len(frames) + list(UPSTOX_VECTORS).index("market_info")]
    assert market_info["marketInfo"]["segmentStatus"] == dict(
        decode_frame(bytes.fromhex(UPSTOX_VECTORS["market_info"]), {}).statuses
    )
