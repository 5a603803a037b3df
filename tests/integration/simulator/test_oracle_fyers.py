"""Fyers' own client and our codec read everything that the local exchange sends alike."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import defaultdict
from typing import Any

import msgspec
import pytest

from brokers.fyers.answers import CustomMessage, Reply
from brokers.fyers.codec import Data, FyersDecoder
from brokers.simulator.fyers.encoder import (
    FyersName,
    TopicKind,
    encode_data,
    encode_lite,
    encode_snapshot,
    encode_update,
    name_of,
    topic_kinds,
)
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Market, Quote
from brokers.types import DepthLevel, FeedMode, Tick
from tests.fix_oracles import RunOracle
from tests.fix_simulator import ACCESS_TOKEN, MakeFyersServer
from tests.support import eventually
from tests.unit.brokers.fyers.fyers_vectors import FYERS_VECTORS

pytestmark = pytest.mark.oracle

I32 = 2**31 - 1
SEGMENTS = {"nse_cm", "nse_fo", "cde_fo", "nse_com", "bse_cm", "bse_fo", "bcs_fo", "mcx_fo"}
# What the client works out by itself, and the circuits, which it sets to zero.
UNUSED = {"ch", "chp", "lower_ckt", "upper_ckt", "type", "symbol"}
FEED_FIELDS = {
    "ltp": "ltp",
    "vol_traded_today": "volume",
    "last_traded_qty": "last_trade_quantity",
    "bid_size": "bid_size",
    "ask_size": "ask_size",
    "bid_price": "bid_price",
    "ask_price": "ask_price",
    "tot_buy_qty": "total_buy_quantity",
    "tot_sell_qty": "total_sell_quantity",
    "avg_trade_price": "avg_trade_price",
    "low_price": "low",
    "high_price": "high",
    "open_price": "open",
    "prev_close_price": "close",
}
TIMES = {"last_traded_time": "ltt_ms", "exch_feed_time": "ts_event_ms"}


def named(quote: Quote) -> FyersName:
    name = name_of(quote.instrument)
    assert name is not None
    return name


def some_of_every_segment(market: Market, count: int) -> list[Quote]:
    chosen: dict[str, list[Quote]] = defaultdict(list)
    for quote in market.quotes.values():
        key = "index" if quote.instrument.is_index else named(quote).segment
        if len(chosen[key]) < count:
            chosen[key].append(quote)
    assert set(chosen) == SEGMENTS | {"index"}
    return [quote for each in chosen.values() for quote in each]


def as_fields(read: dict[str, Any], scale: int) -> dict[str, Any]:
    """Turn what the client read of a feed into the fields that our tick must have."""
    fields: dict[str, Any] = {}
    for name, value in read.items():
        if name in TIMES:
            fields[TIMES[name]] = value * 1000 or None
        elif name not in UNUSED:
            is_price = name == "ltp" or name.endswith("_price")
            fields[FEED_FIELDS[name]] = (round(value * scale) or None) if is_price else value
    # A price of 0 is none, which the client does not know, and takes its quantity along.
    for side in ("bid", "ask"):
        if fields.get(f"{side}_price") is None:
            fields[f"{side}_size"] = None
    return fields


def as_levels(read: dict[str, Any], side: str, scale: int) -> tuple[DepthLevel, ...]:
    levels = (
        DepthLevel(
            round(read[f"{side}_price{at}"] * scale),
            read[f"{side}_size{at}"],
            read[f"{side}_order{at}"],
        )
        for at in range(1, 6)
    )
    return tuple(level for level in levels if level.price)


def agrees(tick: Tick, read: dict[str, Any]) -> bool:
    """Tell whether our tick says what the client read of the same record."""
    if read["type"] == "dp":
        sides = (as_levels(read, side, tick.price_scale) for side in ("bid", "ask"))
        return tick.mode is FeedMode.DEPTH and (tick.bids, tick.asks) == tuple(sides)
    meant = Tick(
        tick.broker_token, tick.mode, tick.price_scale, **as_fields(read, tick.price_scale)
    )
    # The client does not tell open interest; the feed of a depth tick has the book's best.
    unread = {"oi": None}
    if tick.mode is FeedMode.DEPTH:
        top = ("bid_price", "ask_price", "bid_size", "ask_size", "bids", "asks")
        unread |= dict.fromkeys(top)
        meant = msgspec.structs.replace(meant, **dict.fromkeys(top))
    return msgspec.structs.replace(tick, **unread) == meant


def meant_by(quote: Quote, kind: TopicKind) -> dict[str, Any]:
    """Return what the client must make of a quote's topic."""
    scale = quote.instrument.segment.price_scale
    meant: dict[str, Any] = {"type": kind.value, "symbol": named(quote).ticker}
    if kind is TopicKind.BOOK:
        for side, levels in (("bid", quote.bids()), ("ask", quote.asks())):
            for at, (price, size, orders) in enumerate(levels, 1):
                meant |= {
                    f"{side}_price{at}": price / scale,
                    f"{side}_size{at}": size,
                    f"{side}_order{at}": orders,
                }
        return meant
    prices = {"ltp": quote.last_price, "prev_close_price": quote.close}
    prices |= {f"{name}_price": getattr(quote, name) for name in ("low", "high", "open")}
    if kind is TopicKind.FEED:
        bid, ask = quote.bids()[0], quote.asks()[0]
        prices |= {"bid_price": bid[0], "ask_price": ask[0], "avg_trade_price": quote.average_price}
        meant |= {
            "vol_traded_today": quote.volume,
            "last_traded_time": quote.last_trade_time,
            "bid_size": bid[1],
            "ask_size": ask[1],
            "last_traded_qty": quote.last_quantity,
            "tot_buy_qty": quote.total_buy_quantity,
            "tot_sell_qty": quote.total_sell_quantity,
            "lower_ckt": 0,
            "upper_ckt": 0,
        }
    meant |= {name: price / scale for name, price in prices.items()}
    return meant | {"exch_feed_time": quote.exchange_time}


def told(read: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in read.items() if name not in ("ch", "chp")}


def access_token(key: str) -> str:
    claims = {"exp": 4_000_000_000, "hsm_key": key}
    parts = ({"alg": "HS256"}, claims)
    header, payload = (base64.urlsafe_b64encode(json.dumps(each).encode()) for each in parts)
    return f"ABCD-100:{header.decode()}.{payload.decode()}.x"


async def test_the_official_client_decodes_every_topic_to_the_values_meant(
    make_fyers_server: MakeFyersServer, run_broker_oracle: RunOracle
):
    """In full mode feeds and books, in lite mode last prices; it acknowledges what is asked for."""
    server = await make_fyers_server(rate=0, ack_every=2)
    quotes = some_of_every_segment(server.market, 30)
    feeds = {named(q).topic(topic_kinds(q.instrument)[0]): named(q).ticker for q in quotes}
    shares = [quote for quote in quotes if not quote.instrument.is_index]
    books = {named(quote).topic(TopicKind.BOOK): named(quote).ticker for quote in shares}
    url, token = f"{server.url}/hsm/v1-5/prod", access_token(ACCESS_TOKEN)
    full, lite = await asyncio.gather(
        run_broker_oracle(
            "fyers_live.py",
            url,
            token,
            "full",
            given={"SymbolUpdate": feeds, "DepthUpdate": books},
        ),
        run_broker_oracle("fyers_live.py", url, token, "lite", given={"SymbolUpdate": feeds}),
    )
    assert (full["errors"], lite["errors"]) == ([], [])
    assert {said["code"] for said in full["said"] + lite["said"]} == {200}
    symbols = {named(quote).ticker: quote for quote in quotes}
    read = full["ticks"]["SymbolUpdate"]
    assert {name: told(tick) for name, tick in read.items()} == {
        name: meant_by(quote, topic_kinds(quote.instrument)[0]) for name, quote in symbols.items()
    }
    assert full["ticks"]["DepthUpdate"] == {
        named(quote).ticker: meant_by(quote, TopicKind.BOOK) for quote in shares
    }
    for name, tick in lite["ticks"]["SymbolUpdate"].items():
        quote = symbols[name]
        assert tick["ltp"] == quote.last_price / quote.instrument.segment.price_scale
    assert len(lite["ticks"]["SymbolUpdate"]) == len(quotes)
    assert server.acknowledgements >= 2
    # The last unsubscribes are under way still.
    await eventually(lambda: server.record().subscribed == 0)
    assert server.record().complaints() == []


async def test_the_official_client_understands_the_refusal_of_a_bad_token(
    make_fyers_server: MakeFyersServer, run_broker_oracle: RunOracle
):
    server = await make_fyers_server()
    report = await run_broker_oracle(
        "fyers_live.py", f"{server.url}/hsm/v1-5/prod", access_token("stale-key"), "full", given={}
    )
    # That its mode is refused, too, it may still hear.
    assert report["errors"][0]["code"] == 11001
    assert server.record().refused == {"401": 1}


def extreme(segment: Segment, price: int, quantity: int, seconds: int) -> list[list[int]]:
    """Return the values of a feed and a book that are all the same."""
    assert segment.price_scale
    feed = [price, quantity, seconds, seconds, quantity, quantity, price, price, quantity]
    feed += [quantity, quantity, price, quantity, price, price, 1, 2, 3, 4, price, price or 1]
    return [feed, [price] * 10 + [quantity] * 20]


def recorded() -> tuple[list[bytes], dict[str, FeedMode]]:
    """Return one connection's frames, and the modes in which a decoder must track their topics.

    Snapshots of every segment at every scale, many records to a frame; updates that change
    everything, some of it, and one field; extremes; fields that are never sent.
    """
    items: list[ListedInstrument] = []
    for at, segment in enumerate(each for each in Segment if each is not Segment.INDICES):
        items.append(
            ListedInstrument(
                segment=segment,
                exchange_token=100 + at,
                tradingsymbol="X",
                name="X",
                exchange="NSE",
                base_price=1,
                tick=1,
            )
        )
    index = ListedInstrument(
        segment=Segment.INDICES,
        exchange_token=1,
        tradingsymbol="NIFTY 50",
        name="N",
        exchange="NSE",
        base_price=1,
        tick=1,
    )
    steps = [(7_313_000, 300, 1_700_000_000), (I32, I32, I32), (-3763, 100, 1_587_400_000)]
    steps += [(-I32, 1, 1), (5, 0, 0), (6, 7, 8)]
    modes: dict[str, FeedMode] = {}
    frames: list[bytes] = []
    states: dict[tuple[int, TopicKind], list[int]] = {}
    for step, values in enumerate(steps):
        records: list[bytes] = []
        for at, item in enumerate([*items, index]):
            name = name_of(item)
            assert name is not None
            feed, book = extreme(item.segment, *values)
            for number, (kind, now) in enumerate(
                [(TopicKind.INDEX, [*feed[:3], *feed[13:15], 9 + step])]
                if item.is_index
                else [(TopicKind.FEED, feed), (TopicKind.BOOK, book)]
            ):
                topic_number = 1 + 2 * at + number
                before = states.get((at, kind))
                if before is None:
                    records.append(encode_snapshot(item, kind, now, topic_number))
                    if kind is not TopicKind.BOOK:
                        modes[name.topic(kind)] = FeedMode.DEPTH
                else:
                    records.append(encode_update(now, before, topic_number))
                    once = [*now]
                    once[0] += 1 if once[0] < I32 else -1
                    records.append(encode_update(once, now, topic_number))
                    now = once
                states[at, kind] = now
        frames += [encode_data(records, 2 * step), encode_data(records[-2:], 2 * step + 1)]
    return frames, modes


async def test_every_kind_of_record_and_the_vectors_are_decoded_alike(
    run_broker_oracle: RunOracle,
):
    frames, modes = recorded()
    vectors = [bytes.fromhex(text) for text in FYERS_VECTORS.values()]
    lites = [encode_data([encode_lite(price, 1)], 1) for price in (5, -5, I32, -I32, 0)]
    lite_frames = [frames[0], *lites]
    read, read_vectors, read_lites = await asyncio.gather(
        run_broker_oracle(
            "fyers_parse.py", given={"lite": False, "frames": [f.hex() for f in frames]}
        ),
        run_broker_oracle(
            "fyers_parse.py", given={"lite": False, "frames": [f.hex() for f in vectors]}
        ),
        run_broker_oracle(
            "fyers_parse.py", given={"lite": True, "frames": [f.hex() for f in lite_frames]}
        ),
    )
    decoder = FyersDecoder()
    for token, mode in modes.items():
        decoder.track(token, mode)
    compared = 0
    for frame, messages in zip(frames, read, strict=True):
        data = decoder.decode(frame)
        assert isinstance(data, Data)
        compared += compare(data.ticks, messages)
    assert compared > 150

    decoder = FyersDecoder()
    decoder.track("sf|nse_cm|3045", FeedMode.DEPTH)
    decoder.track("if|nse_cm|Nifty 50", FeedMode.QUOTE)
    for frame, messages in zip(vectors, read_vectors, strict=True):
        said = decoder.decode(frame)
        if isinstance(said, Data):
            for tick, message in zip(said.ticks, messages, strict=True):
                if tick.mode is FeedMode.LTP:  # the lite record
                    assert message["ltp"] == (tick.ltp or 0) / tick.price_scale
                else:
                    assert agrees(tick, message)
        elif isinstance(said, Reply):
            assert said.is_ok == (messages[0]["s"] == "ok")
        else:
            assert isinstance(said, CustomMessage)
            assert (said.code, said.text) == (messages[0]["code"], messages[0]["message"])

    decoder = FyersDecoder()
    (first, *_) = modes
    decoder.track(first, FeedMode.LTP)
    for frame, messages in zip(lite_frames[1:], read_lites[1:], strict=True):
        decoder.decode(frames[0])
        data = decoder.decode(frame)
        assert isinstance(data, Data)
        (tick,) = data.ticks
        assert [message["ltp"] for message in messages] == [(tick.ltp or 0) / tick.price_scale]
        assert (tick.mode, tick.ts_event_ms) == (FeedMode.LTP, None)


def compare(ticks: list[Tick], messages: list[dict[str, Any]]) -> int:
    """Compare the ticks of a frame with what the client told of it; return how many they were.

    The client tells nothing of an update that changes nothing, and a book's tick needs a feed.
    """
    ours = iter(ticks)
    for message in messages:
        tick = next(each for each in ours if agrees(each, message))
        assert tick.price_scale > 0
    return len(messages)
