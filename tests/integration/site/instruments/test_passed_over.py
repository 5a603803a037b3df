"""What a load leaves out of a master, what it says of that, and which names are told apart."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from brokers.passed_over import PassedOver
from brokers.types import InstrumentRow
from pooling.exceptions import MasterTooSmallError
from pooling.instruments.loader import LoadResult, store_instruments
from pooling.instruments.search import search_instruments
from pooling.models import Instrument, SearchTier

pytestmark = pytest.mark.django_db
HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
)
INFY = "408065,1594,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE\n"
BONDS = (
    "1001,4,9NTPC29,NTPC 9% 2029 SERIES A,0,,,0.05,1,EQ,BSE,BSE\n"
    "1002,5,9NTPC29,NTPC 9% 2029 SERIES B,0,,,0.05,1,EQ,BSE,BSE\n"
)
UNUSABLE = "none,1,TCS,TCS,0,,,0.05,1,EQ,NSE,NSE\n"
UNKNOWN = "77,1,WHEAT,WHEAT,0,,,0.05,1,EQ,XYZ,XYZ\n"
FOREIGN = "78,1,NIFTY26JANFUT,NIFTY,0,2099-01-27,0,0.5,1,FUT,NSEIX-FUT,NSEIX\n"


def bond(token: str, symbol: str = "9NTPC29", **changes: Any) -> InstrumentRow:
    values: dict[str, Any] = {
        "exchange": "BSE",
        "symbol": symbol,
        "broker_token": token,
        "broker_symbol": symbol,
        "name": "NTPC",
        "expiry": "",
        "strike": "",
        "lot_size": "1",
        "tick_size": "0.05",
        "instrument_type": "EQ",
    }
    return InstrumentRow(**{**values, **changes})


def listed() -> dict[str, str]:
    rows = Instrument.objects.exclude(tier=SearchTier.EXPIRED)
    return dict(rows.values_list("symbol", "broker_token"))


def load(tmp_path: Path, *rows: str, **options: Any) -> str:
    file = tmp_path / "master.csv"
    file.write_text(HEADER + "".join(rows))
    out = StringIO()
    call_command("loadinstruments", broker="zerodha", file=file, stdout=out, **options)
    return out.getvalue()


def test_a_load_says_what_it_passed_over_and_why(tmp_path: Path) -> None:
    said = load(tmp_path, UNUSABLE, UNKNOWN, FOREIGN, BONDS, INFY)
    assert said.startswith("zerodha: 3 instruments, 3 of them new or changed; 0 expired\n")
    assert "  1 share a name with another: their token is behind it\n" in said
    assert "  1 cannot be used: bad token … (line 2: bad token 'none')\n" in said
    assert "  1 cannot be used: unknown exchange XYZ (WHEAT)\n" in said
    assert "  1 passed over: derivatives of NSEIX have no name (NIFTY26JANFUT)\n" in said
    assert load(tmp_path, BONDS, INFY).count("\n") == 2


def test_a_load_says_it_in_json(tmp_path: Path) -> None:
    said = json.loads(load(tmp_path, UNUSABLE, INFY, json=True))
    assert said["passed_over"] == [
        {
            "reason": "bad token …",
            "rows": 1,
            "is_fault": True,
            "examples": ["line 2: bad token 'none'"],
        }
    ]


@pytest.mark.parametrize(
    ("row", "words"), [(UNUSABLE, "bad token"), (UNKNOWN, "unknown exchange XYZ")]
)
def test_strict_refuses_what_should_be_an_instrument(tmp_path: Path, row: str, words: str) -> None:
    load(tmp_path, INFY)
    with pytest.raises(CommandError, match=words):
        load(tmp_path, row, BONDS, INFY, strict=True)
    assert set(listed()) == {"INFY"}
    load(tmp_path, FOREIGN, BONDS, INFY, strict=True)
    assert len(listed()) == 3


def test_two_of_one_name_can_both_be_had() -> None:
    result = store_instruments("zerodha", [bond("1001"), bond("1002"), bond("1002")])
    assert listed() == {"9NTPC29": "1001", "9NTPC29-1002": "1002"}
    assert result.renamed == 1
    assert [(reason.text, reason.count) for reason in result.passed_over] == [("is there twice", 1)]
    found = [row["symbol"] for row in search_instruments(["zerodha"], "9NTPC29")]
    assert found == ["9NTPC29", "9NTPC29-1002"]


def test_a_name_stays_with_the_instrument_that_had_it() -> None:
    """Whatever the order of the next master: a name must not mean another from one day on."""
    store_instruments("zerodha", [bond("1001"), bond("1002"), bond("1003")])
    before = {"9NTPC29": "1001", "9NTPC29-1002": "1002", "9NTPC29-1003": "1003"}
    assert listed() == before
    result = store_instruments("zerodha", [bond("1003"), bond("1002"), bond("1001")])
    assert listed() == before
    assert (result.written, result.expired) == (0, 0)
    store_instruments("zerodha", [bond("1003"), bond("1002")])
    assert listed() == {"9NTPC29": "1003", "9NTPC29-1002": "1002"}


def test_a_new_token_of_one_name_is_taken() -> None:
    store_instruments("zerodha", [bond("1001")])
    store_instruments("zerodha", [bond("1009")])
    assert listed() == {"9NTPC29": "1009"}


def test_two_options_of_one_name_stay_options_of_their_underlying() -> None:
    option = {"exchange": "NFO", "expiry": "2099-11-24", "strike": "24000", "instrument_type": "CE"}
    rows = [bond(token, "NIFTY24NOV9924000CE", **option) for token in ("NFO|1", "NFO|2")]
    store_instruments("upstox", rows)
    assert listed() == {"NIFTY24NOV9924000CE": "NFO|1", "NIFTY24NOV9924000CE-2": "NFO|2"}
    assert set(Instrument.objects.values_list("underlying", flat=True)) == {"NIFTY"}


def test_a_token_means_one_instrument() -> None:
    """Ticks come by token: with two names, one of them would show the other's price."""
    result = store_instruments("angel", [bond("7:1", "JEERA"), bond("7:1", "GOLD", exchange="NCO")])
    assert listed() == {"JEERA": "7:1"}
    (reason,) = result.passed_over
    assert reason.is_fault
    assert reason.examples == ["NCO:GOLD (7:1 is BSE:JEERA)"]


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"symbol": "X" * 65}, False),
        ({"symbol": "é" * 40}, False),
        ({"symbol": "A\x00B"}, False),
        ({"symbol": ""}, False),
        ({"exchange": "X" * 17}, False),
        ({"broker_token": "1" * 65}, False),
        ({"broker_token": ""}, False),
        ({"broker_symbol": "X" * 65}, True),
        ({"broker_symbol": "A\x00"}, True),
        ({"name": "N\x00" + "X" * 200}, True),
        ({"instrument_type": "X" * 30}, True),
        ({"lot_size": "9" * 400}, True),
    ],
)
def test_no_text_of_a_row_refuses_a_load(changes: dict[str, str], kept: bool) -> None:
    odd = {"symbol": "ODD", "broker_token": "2", **changes}
    passed = PassedOver()
    result = store_instruments(
        "zerodha", [bond("1"), bond(odd.pop("broker_token"), **odd)], passed=passed
    )
    assert result.rows == 1 + kept
    assert passed.faults == (not kept)


def test_an_exchange_that_is_gone_from_a_master_refuses_it() -> None:
    """Half a file may still have more than half of all rows."""
    large = [bond(f"1{number}", f"A{number}") for number in range(300)]
    small = [bond(f"2{number}", f"B{number}", exchange="NSE") for number in range(100)]
    store_instruments("zerodha", large + small)
    with pytest.raises(MasterTooSmallError, match=r"49 rows of NSE .* had 100.*--force"):
        store_instruments("zerodha", large + small[:49])
    assert store_instruments("zerodha", large + small[:50]).expired == 50
    result = store_instruments("zerodha", large, is_forced=True)
    assert result == LoadResult(rows=300, written=0, unchanged=300, expired=50)
