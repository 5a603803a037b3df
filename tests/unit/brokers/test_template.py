"""The broker to copy is whole: what it says of ticks, masters and answers is so."""

from __future__ import annotations

import io

import pytest

from brokers._template.codec import decode_frame
from brokers._template.connection import TemplateAdapter
from brokers._template.constants import BODY_DEPTH, BODY_LTP, BODY_QUOTE
from brokers.contract import Confirmed, SubscriptionRejected
from brokers.exceptions import BrokerConfigError, BrokerProtocolError
from brokers.registry import default_registry
from brokers.testing import RecordingSink
from brokers.types import DepthLevel, FeedMode, Instrument, InstrumentKey, Subscription

INFY = Instrument(InstrumentKey("NSE", "INFY"), "7")
HEADER = "token,exchange,symbol,name,expiry,strike,type,lot,tick"


def test_nobody_can_choose_it() -> None:
    assert "template" not in default_registry().names()


def test_a_plan_with_more_connections_is_a_setting() -> None:
    assert TemplateAdapter.capabilities.max_connections == 3
    assert TemplateAdapter.with_settings({"connections": "5"}).capabilities.max_connections == 5
    with pytest.raises(BrokerConfigError, match=r"Template: setting connections: .* from 3 to 10"):
        TemplateAdapter.with_settings({"connections": 2})


@pytest.mark.parametrize(
    ("frame", "mode"),
    [
        (BODY_LTP.pack(7, 157_370), FeedMode.LTP),
        (BODY_QUOTE.pack(7, 157_370, 5, 1, 2, 3, 4), FeedMode.QUOTE),
        (
            BODY_DEPTH.pack(7, 157_370, 5, 1, 2, 3, 4, 1_767_600_000, 157_365, 10, 2, *([0] * 27)),
            FeedMode.DEPTH,
        ),
    ],
)
def test_ticks_of_every_mode_reach_the_sink(frame: bytes, mode: FeedMode) -> None:
    sink = RecordingSink()
    adapter = TemplateAdapter(sink=sink)
    adapter.receive(frame, 0)
    adapter.subscribe([Subscription(INFY, mode)])
    adapter.receive(frame, 0)
    assert (adapter.ticks_published, adapter.ticks_unknown) == (1, 1)
    tick = decode_frame(frame)
    assert (tick.mode, tick.ltp, tick.price_scale) == (mode, 157_370, 100)
    if mode is FeedMode.DEPTH:
        assert (tick.bids, tick.asks) == ((DepthLevel(157_365, 10, 2),), ())
        assert tick.ts_event_ms == 1_767_600_000_000


def test_a_frame_that_is_cut_short_is_refused() -> None:
    for size in range(BODY_LTP.size):
        with pytest.raises(BrokerProtocolError):
            decode_frame(bytes(size))


def test_answers_name_their_instruments() -> None:
    adapter = TemplateAdapter(sink=RecordingSink())
    adapter.subscribe([Subscription(INFY, FeedMode.LTP)])
    assert adapter.receive('{"confirmed":[7,8]}', 0) == [Confirmed((INFY.key,))]
    (event,) = adapter.receive('{"error":"too many","tokens":[7]}', 0)
    assert isinstance(event, SubscriptionRejected)
    assert event.keys == (INFY.key,)


def test_a_master_becomes_openalgos_names() -> None:
    rows = [
        "1,NSE,INFY,INFOSYS,,,EQ,1,0.05",
        "2,NSE,NIFTY 50,NIFTY 50,,,INDEX,,",
        "3,NFO,X,NIFTY,2024-03-28,,FUT,50,0.05",
        "4,NFO,X,NIFTY,2024-03-28,20800.0,CE,50,0.05",
    ]
    master = io.BytesIO("\n".join((HEADER, *rows)).encode())
    found = [(row.exchange, row.symbol) for row in TemplateAdapter.parse_master(master)]
    assert found == [
        ("NSE", "INFY"),
        ("NSE_INDEX", "NIFTY"),
        ("NFO", "NIFTY28MAR24FUT"),
        ("NFO", "NIFTY28MAR2420800CE"),
    ]


@pytest.mark.parametrize("row", ["x,NSE,A,A,,,EQ,1,1", "1,NFO,A,A,soon,,FUT,1,1", "1,NSE"])
def test_a_broken_row_names_its_line(row: str) -> None:
    with pytest.raises(BrokerProtocolError, match="line 2"):
        list(TemplateAdapter.parse_master(io.BytesIO(f"{HEADER}\n{row}".encode())))
