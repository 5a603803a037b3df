"""What the local exchange says as Fyers, against the wire spec's vectors."""

from __future__ import annotations

import io
from datetime import date
from typing import Any

import pytest

from brokers.fyers.symbols import parse_masters
from brokers.simulator.fyers.encoder import (
    FyersName,
    TopicKind,
    encode_custom,
    encode_data,
    encode_lite,
    encode_reply,
    encode_snapshot,
    encode_update,
    name_of,
    topic_kinds,
    values_of,
)
from brokers.simulator.fyers.masters import INDEX_NAMES, encode_masters
from brokers.simulator.listing import ListedInstrument, Segment, build_listing
from brokers.simulator.market import Level, Quote
from tests.unit.brokers.fyers.fyers_vectors import FYERS_VECTORS

TODAY = date(2026, 1, 5)


def listed(segment: Segment, token: int, symbol: str, **changes: Any) -> ListedInstrument:
    values: dict[str, Any] = {
        "segment": segment,
        "exchange_token": token,
        "tradingsymbol": symbol,
        "name": symbol,
        "exchange": "NSE",
        "base_price": 73045,
        "tick": 5,
    }
    return ListedInstrument(**{**values, **changes})


SBIN = listed(Segment.NSE, 3045, "SBIN")
NIFTY = listed(Segment.INDICES, 1, "NIFTY 50")
QUOTE = Quote(
    instrument=SBIN,
    last_price=73140,
    open=73141,
    high=73440,
    low=72490,
    close=73045,
    last_quantity=2,
    average_price=73059,
    volume=23_491_195,
    total_buy_quantity=28_301_400,
    total_sell_quantity=11_084_300,
    last_trade_time=1_704_273_001,
    exchange_time=1_704_273_002,
    oi=77,
    levels=(
        *(Level(-at, 1 + at, 20 + at) for at in range(5)),
        *(Level(at, 10 + at, 30 + at) for at in range(1, 6)),
    ),
)


def vector(name: str) -> bytes:
    return bytes.fromhex(FYERS_VECTORS[name])


def test_the_fields_are_in_their_order() -> None:
    feed = values_of(QUOTE, TopicKind.FEED)
    assert feed[:15] == [
        *(73140, 23_491_195, 1_704_273_001, 1_704_273_002, 1, 11, 73140, 73145, 2),
        *(28_301_400, 11_084_300, 73059, 77, 72490, 73440),
    ]
    assert (len(feed), feed[19:]) == (21, [73141, 73045])
    book = values_of(QUOTE, TopicKind.BOOK)
    assert book[:10] == [73140, 73135, 73130, 73125, 73120, 73145, 73150, 73155, 73160, 73165]
    assert (book[15:20], book[25:]) == ([11, 12, 13, 14, 15], [31, 32, 33, 34, 35])
    index = values_of(QUOTE, TopicKind.INDEX)
    assert index == [73140, 73045, 1_704_273_002, 73440, 72490, 73141]


def test_a_sum_beyond_32_bits_comes_out_negative() -> None:
    quote = Quote(instrument=SBIN, last_price=1, open=1, high=1, low=1, close=1, volume=2**32 - 5)
    quote.levels = QUOTE.levels
    assert values_of(quote, TopicKind.FEED)[1] == -5


@pytest.mark.parametrize(("name", "numbers"), [("feed_snapshot", (1, 2)), ("feed_depth", (3,))])
def test_the_snapshot_vectors(name: str, numbers: tuple[int, ...]) -> None:
    """Their values are taken from them; where everything stands is ours."""
    frame = vector(name)
    records = []
    for item, kind, number in (
        (SBIN, TopicKind.FEED, 1),
        (NIFTY, TopicKind.INDEX, 2),
        (SBIN, TopicKind.BOOK, 3),
    ):
        if number in numbers:
            named = name_of(item)
            assert named is not None
            at = frame.index(named.topic(kind).encode()) + len(named.topic(kind))
            count = frame[at]
            values = [
                int.from_bytes(frame[at + 1 + 4 * n : at + 5 + 4 * n], "big", signed=True)
                for n in range(count)
            ]
            records.append(encode_snapshot(item, kind, values, number))
    assert encode_data(records, int.from_bytes(frame[3:7], "big")) == frame


def test_the_vectors_of_updates_and_answers() -> None:
    before = [0] * 21
    feed = [73150, 23_491_200, 1_704_273_003, 1_704_273_004, *[0] * 17]
    index = [2_345_700, *[0] * 5]
    updates = [encode_update(feed, before, 1), encode_update(index, [0] * 6, 2)]
    assert encode_data(updates, 3) == vector("feed_update")
    assert encode_data([encode_lite(73160, 1)], 4) == vector("feed_lite")
    assert encode_reply(1, "K", 2) == vector("auth_ok")
    assert encode_reply(1, "N", 0) == vector("auth_bad")
    for kind, name in ((4, "sub_ok"), (5, "unsub_ok"), (12, "mode_ok")):
        assert encode_reply(kind, "K") == vector(name)
    assert encode_custom(51001, "Symbol limit exceeded", 4) == vector("custom_51")


def test_every_segment_has_its_names() -> None:
    found: dict[str, FyersName] = {}
    for item in build_listing(today=TODAY, size=1_000):
        name = name_of(item)
        assert name is not None
        kinds = topic_kinds(item)
        assert (TopicKind.INDEX in kinds) == item.is_index
        found.setdefault(name.segment, name)
    assert set(found) == {
        *("nse_cm", "nse_fo", "cde_fo", "nse_com", "bse_cm", "bse_fo", "bcs_fo", "mcx_fo"),
    }
    assert found["nse_cm"].ticker == "NSE:RELIANCE-EQ"
    assert found["bse_cm"].ticker == "BSE:RELIANCE-A"
    assert name_of(NIFTY) == ("nse_cm", "Nifty 50", "NSE:NIFTY50-INDEX")


def test_what_fyers_has_not_is_refused() -> None:
    stranger = listed(Segment.INDICES, 1, "MCXBULLDEX", exchange="MCX")
    assert name_of(stranger) is None
    with pytest.raises(ValueError, match="MCXBULLDEX"):
        encode_snapshot(stranger, TopicKind.INDEX, [0] * 6, 1)


def test_the_masters_name_what_ticks_and_every_symbol_once() -> None:
    listing = build_listing(today=TODAY, size=2_000)
    files = encode_masters(listing)
    assert set(files) == {
        *("NSE_CM.csv", "NSE_FO.csv", "NSE_CD.csv", "NSE_COM.csv", "BSE_CM.csv", "BSE_FO.csv"),
        *("MCX_COM.csv", INDEX_NAMES),
    }
    rows = list(parse_masters([io.BytesIO(content) for content in files.values()]))
    names = [
        (name, item)
        for item in listing
        if (name := name_of(item)) is not None and name.segment != "bcs_fo"
    ]
    assert {row.broker_token for row in rows} == {
        name.topic(topic_kinds(item)[0]) for name, item in names
    }
    by_symbol = {(row.exchange, row.symbol): row for row in rows}
    assert len(by_symbol) == len(rows) == len(names)
    assert by_symbol["NSE_INDEX", "NIFTY"].broker_token == "if|nse_cm|Nifty 50"
    assert by_symbol["NSE", "RELIANCE"].broker_token == "sf|nse_cm|2885"
    kite = {item.exchange_token: item for _, item in names if item.segment is Segment.NFO}
    for row in rows:
        if row.exchange == "NFO":
            item = kite[int(row.broker_token.rpartition("|")[2])]
            assert item.expiry is not None
            assert row.expiry == item.expiry.isoformat()
            assert float(row.strike or 0) == item.strike
            assert float(row.lot_size) == item.lot_size
