"""Dhan's own client and our codecs read everything that the local exchange sends alike."""

from __future__ import annotations

import struct
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from brokers.dhan.codec import FeedDecoder
from brokers.dhan.deep_codec import DeepDecoder
from brokers.simulator.dhan import encoder
from brokers.simulator.dhan.encoder import INDIA_SECONDS, name_of, rupees
from brokers.simulator.listing import ListedInstrument, Segment
from brokers.simulator.market import Level, Market, Quote
from brokers.types import DepthLevel, Tick
from tests.fix_oracles import RunOracle
from tests.fix_simulator import ACCESS_TOKEN, MakeDhanServer
from tests.support import eventually
from tests.unit.brokers.dhan.dhan_vectors import DHAN_DEEP_VECTORS, DHAN_VECTORS

pytestmark = pytest.mark.oracle

CLIENT_ID = "1000000001"
U32, U16 = 2**32 - 1, 2**16 - 1
FAR_S = 4_294_900_000  # a trade's time, whatever the epoch
PLAIN_RUPEES = 131_072
TYPES = {15: "Ticker Data", 17: "Quote Data", 21: "Full Data"}
# What the client tells, and our name for it.
PRICES = {
    "LTP": "ltp",
    "avg_price": "avg_trade_price",
    "open": "open",
    "high": "high",
    "low": "low",
}
NUMBERS = {
    "LTQ": "last_trade_quantity",
    "volume": "volume",
    "total_sell_quantity": "total_sell_quantity",
    "total_buy_quantity": "total_buy_quantity",
    "OI": "oi",
}


def key(quote: Quote) -> str:
    name = name_of(quote.instrument)
    assert name is not None
    return f"{name.number}:{name.security_id}"


def text(price: int, item: ListedInstrument) -> str:
    """Return a price as the client shows it: what 32 bits keep of it, to two decimals."""
    kept: float = struct.unpack("<f", struct.pack("<f", rupees(price, item)))[0]
    return f"{kept:.2f}"


def meant(quote: Quote, code: int) -> dict[str, Any]:
    """Return the dict into which the client must decode a quote."""
    item = quote.instrument
    name = name_of(item)
    assert name is not None
    traded = (quote.last_trade_time or quote.exchange_time) + INDIA_SECONDS
    told: dict[str, Any] = {
        "type": TYPES[code],
        "exchange_segment": name.number,
        "security_id": int(name.security_id),
        "LTP": text(quote.last_price, item),
        "LTT": clock(traded),
    }
    if code == 15:
        return told
    told |= {
        "LTQ": min(quote.last_quantity, U16),
        "avg_price": text(quote.average_price, item),
        "volume": quote.volume,
        "total_sell_quantity": quote.total_sell_quantity,
        "total_buy_quantity": quote.total_buy_quantity,
        "open": text(quote.open, item),
        "close": "0.00",
        "high": text(quote.high, item),
        "low": text(quote.low, item),
    }
    if code == 21:
        nothing = [(0, 0, 0)] * 5
        books = (nothing, nothing) if item.is_index else (quote.bids(), quote.asks())
        told |= {
            "OI": quote.oi,
            "oi_day_high": quote.oi_day_high,
            "oi_day_low": quote.oi_day_low,
            "depth": [
                {
                    "bid_quantity": bid[1],
                    "ask_quantity": ask[1],
                    "bid_orders": bid[2],
                    "ask_orders": ask[2],
                    "bid_price": text(bid[0], item),
                    "ask_price": text(ask[0], item),
                }
                for bid, ask in zip(*books, strict=True)
            ],
        }
    return told


def clock(wire_s: int) -> str:
    return datetime.fromtimestamp(wire_s, UTC).strftime("%H:%M:%S")


def encoded(quote: Quote, code: int) -> bytes:
    encode = {
        15: encoder.encode_ticker,
        17: encoder.encode_quote,
        21: encoder.encode_full,
    }[code]
    return encode(quote)


def agrees(read: dict[str, Any], ours: Tick) -> bool:
    """Tell whether our tick says what the client read, as far as the client tells."""
    scale = ours.price_scale
    prices = [(read[name], getattr(ours, field)) for name, field in PRICES.items() if name in read]
    levels = read.get("depth", [])
    for side, rows in (("bid", ours.bids), ("ask", ours.asks)):
        told = [
            (level[f"{side}_price"], level[f"{side}_quantity"], level[f"{side}_orders"])
            for level in levels
        ]
        if len(told) != len(rows or ()):  # what is shown as 0 may be less than a hundredth
            told = [row for row in told if Decimal(row[0])]
        if len(told) != len(rows or ()):
            return False
        for (price, quantity, orders), row in zip(told, rows or (), strict=True):
            prices.append((price, row.price))
            if (quantity, orders) != (row.quantity, row.orders):
                return False
    if any(read[name] != getattr(ours, field) for name, field in NUMBERS.items() if name in read):
        return False
    has_time = "LTT" in read and ours.ltt_ms is not None
    if has_time and read["LTT"] != clock((ours.ltt_ms or 0) // 1000 + INDIA_SECONDS):
        return False
    return all(is_same(shown, value, scale) for shown, value in prices)


def is_same(shown: str, known: int | None, scale: int) -> bool:
    """Compare to the paisa; to two of it where the client shows less, or 32 bits have less.

    What we do not know is 0 to the client.
    """
    value = known or 0
    difference = abs(Decimal(shown) - Decimal(value) / scale)
    is_plain = scale == 100 and abs(value) < PLAIN_RUPEES * scale
    # Far up, neighbours of 32 bits lie further apart than two paise.
    far = abs(Decimal(value) / scale) / 2**24
    return difference <= (0 if is_plain else Decimal("0.02") + far)


def some_of_every_segment(market: Market, count: int) -> list[Quote]:
    chosen: dict[int, list[Quote]] = defaultdict(list)
    for quote in market.quotes.values():
        name = name_of(quote.instrument)
        if name is not None and len(chosen[name.number]) < count:
            chosen[name.number].append(quote)
    assert set(chosen) == {0, 1, 2, 3, 4, 5, 7, 8}
    return [quote for each in chosen.values() for quote in each]


async def test_the_official_client_decodes_every_mode_to_the_values_meant(
    make_dhan_server: MakeDhanServer, run_broker_oracle: RunOracle
):
    server = await make_dhan_server(rate=0)
    quotes = some_of_every_segment(server.market, 20)
    interesting = [quote for quote in quotes if quote.instrument.has_open_interest]
    deep = [quote for quote in quotes if quote.instrument.segment in (Segment.NSE, Segment.NFO)]
    report = await run_broker_oracle(
        "dhan_live.py",
        server.url,
        ACCESS_TOKEN,
        CLIENT_ID,
        given={
            "feed": [named(quote) for quote in quotes],
            "closes": len(quotes),
            "interests": len(interesting),
            "20": [named(quote) for quote in deep],
            "200": [named(deep[0])],
        },
    )
    assert report["ended"] is False
    decoder = FeedDecoder()
    for code, kind in TYPES.items():
        read = report["packets"][str(code)]
        assert read[kind] == {key(quote): meant(quote, code) for quote in quotes}
        closes = {name: each["prev_close"] for name, each in read["Previous Close"].items()}
        assert closes == {key(quote): text(quote.close, quote.instrument) for quote in quotes}
        for quote in quotes:
            (ours,) = decoder.decode(encoded(quote, code), FAR_S)
            assert isinstance(ours, Tick)
            assert agrees(read[kind][key(quote)], ours), (quote, ours)
    interests = report["packets"]["17"]["OI Data"]
    assert {name: each["OI"] for name, each in interests.items()} == {
        key(quote): quote.oi for quote in interesting
    }
    for levels, chosen in ((20, deep), (200, deep[:1])):
        expected = {}
        for quote in chosen:
            for side, rows in (("Bid", quote.bids()), ("Ask", quote.asks())):
                expected[f"{key(quote)}:{side}"] = deep_rows(rows, quote, levels)
        assert report[str(levels)] == expected
    # The last unsubscribe is under way still.
    await eventually(lambda: server.record().subscribed == 0)
    assert server.record().complaints() == []


def named(quote: Quote) -> list[Any]:
    number, security_id = key(quote).split(":")
    return [int(number), security_id]


def deep_rows(
    rows: list[tuple[int, int, int]], quote: Quote, levels: int
) -> list[dict[str, float]]:
    told = [
        {"price": rupees(price, quote.instrument), "quantity": quantity, "orders": orders}
        for price, quantity, orders in rows
    ]
    missing = 20 - len(rows) if levels == 20 else 0
    return told + [{"price": 0.0, "quantity": 0, "orders": 0}] * missing


async def test_the_official_client_understands_why_it_is_refused(
    make_dhan_server: MakeDhanServer, run_broker_oracle: RunOracle
):
    server = await make_dhan_server()
    server.expire_token()
    nothing: dict[str, Any] = {"feed": [], "closes": 0, "interests": 0, "20": [], "200": []}
    report = await run_broker_oracle(
        "dhan_live.py", server.url, ACCESS_TOKEN, CLIENT_ID, given=nothing
    )
    assert report["ended"] is True
    assert "Access Token is expired" in report["printed"]
    # It comes back for ever; how often before it was stopped is not ours to say.
    assert server.record().refused["807"] >= 1


def extreme(segment: Segment, price: int, quantity: int, seconds: int, orders: int) -> Quote:
    item = ListedInstrument(
        segment=segment,
        exchange_token=2**31 - 1,
        tradingsymbol="X",
        name="X",
        exchange="NSE",
        base_price=1,
        tick=0,
    )
    return Quote(
        instrument=item,
        last_price=price,
        open=price,
        high=price,
        low=price,
        close=price,
        last_quantity=quantity,
        average_price=price,
        volume=quantity,
        total_buy_quantity=quantity,
        total_sell_quantity=quantity,
        last_trade_time=seconds,
        exchange_time=seconds,
        oi=quantity,
        oi_day_high=quantity,
        oi_day_low=quantity,
        levels=(Level(0, quantity, orders),) * 10,
    )


async def test_extreme_values_and_the_vectors_are_decoded_alike(run_broker_oracle: RunOracle):
    values = (
        (13_107_199, U32, FAR_S - INDIA_SECONDS, U16),  # the last paisa that 32 bits keep
        (52_428_795, U32, 1, U16),
        (10**10, 1, 1, 1),
        (-3_763, 100, 1_587_400_000, 7),  # crude oil in April 2020
        (0, 0, 1, 0),
    )
    segments = [each for each in Segment if each is not Segment.NCO]
    quotes = [extreme(segment, *each) for segment in segments for each in values]
    kinds = [(quote, code) for quote in quotes for code in TYPES]
    vectors = {name: bytes.fromhex(hexed) for name, hexed in DHAN_VECTORS.items()}
    frames = [encoded(*kind) for kind in kinds] + list(vectors.values())
    stacked = vectors["ticker"] + vectors["quote"]
    deep = {name: bytes.fromhex(hexed) for name, hexed in DHAN_DEEP_VECTORS.items()}
    # Neither the order of sides nor the sequence means anything to the client.
    small = extreme(Segment.NSE, -5, 2**32 - 1, 1, 2**32 - 1)
    books = {
        "20": [deep["bids_20"], encoder.encode_book(small, 20)],
        "200": [deep["bids_200"], encoder.encode_book(small, 200)],
    }
    report = await run_broker_oracle(
        "dhan_parse.py",
        given={
            "feed": [frame.hex() for frame in [*frames, stacked]],
            **{levels: [frame.hex() for frame in each] for levels, each in books.items()},
        },
    )
    read = [each["value"] for each in report["feed"]]
    assert read[: len(kinds)] == [meant(*kind) for kind in kinds]
    decoder = FeedDecoder()
    compared = 0
    for frame, value in zip(frames, read, strict=False):
        decoded = decoder.decode(frame, FAR_S)
        if isinstance(value, dict) and value["type"] in (*TYPES.values(), "Market Depth"):
            (ours,) = decoded
            assert isinstance(ours, Tick)
            if value["type"] == "Market Depth":
                value["LTP"] = f"{value['LTP']:.2f}"
            assert agrees(value, ours), (value, ours)
            compared += 1
    assert compared == len(kinds) + 4
    # The reason that the client prints, and the packet behind the first that it does not read.
    printed = report["feed"][list(vectors).index("disconnect") + len(kinds)]["printed"]
    assert printed == "Disconnected: No. of active websocket connections exceeded"
    assert read[-1]["type"] == "Ticker Data"
    assert len(decoder.decode(stacked, FAR_S)) == 2
    for levels, each in books.items():
        for frame, told in zip(each, report[levels], strict=True):
            (tick,) = DeepDecoder(levels=int(levels)).decode(frame, 0)
            assert isinstance(tick, Tick)
            for side in told["value"]:
                ours_side = tick.bids if side["type"] == "Bid" else tick.asks
                assert ours_side == tuple(
                    DepthLevel(round(row["price"] * 100), row["quantity"], row["orders"])
                    for row in side["depth"]
                    if row["price"]
                )
