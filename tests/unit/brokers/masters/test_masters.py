"""What every broker's instruments master has in common, whatever its format."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest

from brokers.exceptions import BrokerProtocolError
from brokers.masters.index_names import COMMON_NAMES, common_name, index_symbol
from brokers.passed_over import PassedOver
from brokers.registry import default_registry
from brokers.types import InstrumentRow
from tests.unit.brokers.angel.test_angel_symbols import SBIN as ANGEL_ROW
from tests.unit.brokers.binance.test_binance_symbols import BTCUSDT
from tests.unit.brokers.dhan.test_dhan_symbols import HEADER as DHAN_HEADER
from tests.unit.brokers.fyers.test_fyers_symbols import line as fyers_line
from tests.unit.brokers.upstox.test_upstox_symbols import RELIANCE as UPSTOX_ROW
from tests.unit.brokers.zerodha.test_zerodha_symbols import HEADER as KITE_HEADER

# What an index of an exchange is called in a master: by its broker's spelling.
_MARKETS = {"NSE_INDEX": "NSE", "BSE_INDEX": "BSE"}


def _zerodha(token: str, lot: str, tick: str) -> str:
    return f"{token},1,S{token},A SHARE,0,,,{tick},{lot},EQ,NSE,NSE"


def _dhan(token: str, lot: str, tick: str) -> str:
    return f"NSE,E,{token},EQUITY,0,S{token},{lot},A share,,,,{tick},NA,ES,EQ,A SHARE"


def _fyers(token: str, lot: str, tick: str) -> str:
    number = f"1010000000{token}" if token.isdigit() else token
    return fyers_line({0: number, 3: lot, 4: tick, 9: f"NSE:S{token}-EQ"})


def _angel(token: str, lot: str, tick: str) -> str:
    return json.dumps(
        {**ANGEL_ROW, "token": token, "symbol": f"S{token}-EQ", "lotsize": lot, "tick_size": tick}
    )


def _upstox(token: str, lot: str, tick: str) -> str:
    key = f"NSE_EQ|{token}" if token.isdigit() else token
    names = {"instrument_key": key, "trading_symbol": f"S{token}"}
    return json.dumps({**UPSTOX_ROW, **names, "lot_size": lot, "tick_size": tick})


def _binance(token: str, lot: str, tick: str) -> str:
    filters = [
        {"filterType": "PRICE_FILTER", "tickSize": tick},
        {"filterType": "LOT_SIZE", "stepSize": lot},
    ]
    symbol = f"S{token}" if token.isdigit() else 5
    return json.dumps({**BTCUSDT, "symbol": symbol, "filters": filters})


ROWS: dict[str, Callable[[str, str, str], str]] = {
    "angel": _angel,
    "binance": _binance,
    "dhan": _dhan,
    "fyers": _fyers,
    "upstox": _upstox,
    "zerodha": _zerodha,
}


def master(broker: str, rows: list[str]) -> bytes:
    if broker in ("angel", "upstox"):
        return f"[{','.join(rows)}]".encode()
    if broker == "binance":
        return f'{{"symbols":[{",".join(rows)}]}}'.encode()
    header = {"zerodha": KITE_HEADER.rstrip("\n"), "dhan": DHAN_HEADER}.get(broker)
    return "\n".join([*([header] if header else []), *rows, ""]).encode()


def read(broker: str, *rows: str, passed: PassedOver | None = None) -> list[InstrumentRow]:
    adapter = default_registry().get(broker)
    return list(adapter.parse_masters([io.BytesIO(master(broker, list(rows)))], passed))


@pytest.mark.parametrize("broker", ROWS)
def test_what_no_tick_needs_refuses_nothing(broker: str) -> None:
    row = ROWS[broker]
    odd = ("one", "-5", "NaN", "1e999999999", "1.0E400", "٣", "0x10", "1,5"[:1] + " 5")
    for value in odd:
        (found,) = read(broker, row("1", value, value))
        assert (found.lot_size, found.tick_size) == ("", ""), value
    (found,) = read(broker, row("1", "1.00E+07", "5"))
    assert found.lot_size == "10000000"
    (found,) = read(broker, row("1", "", ""))
    assert {found.lot_size, found.tick_size} <= {"", "0"}


@pytest.mark.parametrize("broker", ROWS)
def test_a_row_that_cannot_be_used_is_noted_and_others_load(broker: str) -> None:
    row = ROWS[broker]
    rows = [row("1", "1", "5"), row("x", "1", "5"), row("2", "1", "5")]
    passed = PassedOver()
    assert len(read(broker, *rows, passed=passed)) == 2
    (reason,) = passed.reasons.values()
    assert (reason.count, reason.is_fault, passed.rows) == (1, True, 3)
    assert "'x'" not in reason.text
    with pytest.raises(BrokerProtocolError):
        read(broker, *rows)


@pytest.mark.parametrize("broker", ROWS)
def test_a_file_that_ends_in_such_a_row_is_cut_off(broker: str) -> None:
    row = ROWS[broker]
    with pytest.raises(BrokerProtocolError, match="whole"):
        read(broker, row("1", "1", "5"), row("x", "1", "5"), passed=PassedOver())


@pytest.mark.parametrize("broker", ROWS)
def test_a_file_of_such_rows_is_no_master(broker: str) -> None:
    row = ROWS[broker]
    rows = [row("1", "1", "5"), *(row("x", "1", "5") for _ in range(50)), row("2", "1", "5")]
    with pytest.raises(BrokerProtocolError, match="of 22 rows cannot be used"):
        read(broker, *rows, passed=PassedOver())


def _kite_index(exchange: str, name: str) -> str:
    market = {"GLOBAL_INDEX": "GLOBAL"}.get(exchange) or _MARKETS[exchange]
    return f"9,1,{name},{name},0,,0,0,0,EQ,INDICES,{market}"


def _dhan_index(exchange: str, name: str) -> str:
    return f"{_MARKETS[exchange]},I,9,INDEX,0,{name},1.0,{name},,,XX,5,,INDEX,X,{name}"


def _fyers_index(exchange: str, name: str) -> str:
    market = _MARKETS[exchange]
    number = {"NSE": "10100000009", "BSE": "12100000009"}[market]
    return fyers_line({0: number, 1: name, 9: f"{market}:{name}-INDEX"})


def _angel_index(exchange: str, name: str) -> str:
    kind: dict[str, Any] = {"instrumenttype": "AMXIDX", "exch_seg": _MARKETS[exchange]}
    return json.dumps({**ANGEL_ROW, **kind, "symbol": name, "name": name})


def _upstox_index(exchange: str, name: str) -> str:
    kind = {"segment": exchange, "instrument_type": "INDEX", "trading_symbol": name}
    return json.dumps({**UPSTOX_ROW, **kind, "instrument_key": f"{exchange}|{name}"})


INDICES: dict[str, Callable[[str, str], str]] = {
    "angel": _angel_index,
    "dhan": _dhan_index,
    "fyers": _fyers_index,
    "upstox": _upstox_index,
    "zerodha": _kite_index,
}


def test_openalgos_common_names_are_all_there() -> None:
    assert {exchange: len(names) for exchange, names in COMMON_NAMES.items()} == {
        "NSE_INDEX": 57,
        "BSE_INDEX": 40,
        "GLOBAL_INDEX": 13,
    }


@pytest.mark.parametrize("broker", INDICES)
def test_an_index_has_openalgos_name_however_the_broker_spells_it(broker: str) -> None:
    exchanges = [*_MARKETS, *(["GLOBAL_INDEX"] if broker == "zerodha" else [])]
    for exchange in exchanges:
        for symbol, others in COMMON_NAMES[exchange].items():
            for spelling in (symbol, *others):
                (row,) = read(broker, INDICES[broker](exchange, spelling))
                assert (row.exchange, row.symbol) == (exchange, symbol), spelling
                assert row.instrument_type == "INDEX"


@pytest.mark.parametrize(
    ("exchange", "name", "symbol"),
    [
        ("BSE_INDEX", "AUTO", "BSEAUTO"),
        ("BSE_INDEX", "BSE CG", "BSECAPITALGOODS"),
        ("BSE_INDEX", "S&P BSE Auto", "BSEAUTO"),
        ("BSE_INDEX", "S&P BSE SENSEX", "SENSEX"),
        ("BSE_INDEX", "BSE OIL & GAS", "BSEOIL&GAS"),
        ("BSE_INDEX", "SME IPO", "BSESMEIPO"),
        ("BSE_INDEX", "BSE SENSEX SIXTY 65:35", "BSESENSEXSIXTY65:35"),
        ("NSE_INDEX", "HangSeng BeES-NAV", "HANGSENGBEESNAV"),
        ("NSE_INDEX", "NIFTY100 Qualty30", "NIFTY100QUALTY30"),
        ("NSE_INDEX", "Nifty 50", "NIFTY"),
        ("NSE_INDEX", "NIFTY50 EQL Wgt", "NIFTY50EQLWGT"),
        ("NSE_INDEX", "NIFTY IND DIGITAL", "NIFTYINDDIGITAL"),
        ("NSE_INDEX", "BHARATBOND-APR30", "BHARATBOND-APR30"),
        ("GLOBAL_INDEX", "GIFT NIFTY", "GIFTNIFTY"),
        ("GLOBAL_INDEX", "US 10YR YIELD", "US10YRYIELD"),
        ("MCX_INDEX", "MCXBULLDEX", "MCXBULLDEX"),
    ],
)
def test_names_of_exchanges_and_of_feeds(exchange: str, name: str, symbol: str) -> None:
    assert index_symbol(exchange, name) == symbol


def test_one_spelling_means_one_index() -> None:
    for names in COMMON_NAMES.values():
        spellings = [each for name, others in names.items() for each in (name, *others)]
        assert len(spellings) == len(set(spellings))
    assert common_name("NSE_INDEX", "AUTO") is None
    assert index_symbol("BSE_INDEX", "unheard of", "S&P BSE Teck") == "BSETECK"
