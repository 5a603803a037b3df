"""The listing as Fyers' symbol masters, and its names of indices. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, time

import msgspec

from brokers.simulator.fyers.encoder import FyersName, name_of
from brokers.simulator.listing import ListedInstrument

__all__ = ["INDEX_NAMES", "encode_masters"]

INDEX_NAMES = "index_hsm_mapping.json"
# Exchange, segment and file of each segment; there is no file of the BSE's currencies.
_SEGMENTS = {
    "nse_cm": (10, 10, "NSE_CM.csv"),
    "nse_fo": (10, 11, "NSE_FO.csv"),
    "cde_fo": (10, 12, "NSE_CD.csv"),
    "nse_com": (10, 20, "NSE_COM.csv"),
    "bse_cm": (12, 10, "BSE_CM.csv"),
    "bse_fo": (12, 11, "BSE_FO.csv"),
    "mcx_fo": (11, 20, "MCX_COM.csv"),
}
_CLOSE = time(10, 0, tzinfo=UTC)  # half past three in India


def encode_masters(instruments: Iterable[ListedInstrument]) -> dict[str, bytes]:
    """Return the files by name: a table without a header for each segment, and the index names."""
    tables = {file: io.StringIO() for _, _, file in _SEGMENTS.values()}
    indices: dict[str, str] = {}
    for item in instruments:
        name = name_of(item)
        if name is None or name.segment not in _SEGMENTS:
            continue
        exchange, segment, file = _SEGMENTS[name.segment]
        writer = csv.writer(tables[file], lineterminator="\n")
        writer.writerow(_row(item, name, exchange, segment))
        if item.is_index:
            indices[name.ticker] = name.token
    files = {file: table.getvalue().encode() for file, table in tables.items()}
    return files | {INDEX_NAMES: msgspec.json.encode(indices)}


def _row(item: ListedInstrument, name: FyersName, exchange: int, segment: int) -> list[object]:
    expiry = item.expiry
    is_option = item.instrument_type in ("CE", "PE")
    day = f"{expiry:%y%m%d}" if expiry else "000000"
    closes = int(datetime.combine(expiry, _CLOSE).timestamp()) if expiry else ""
    symbol = name.ticker.partition(":")[2]
    return [
        f"{exchange}{segment}{day}{item.exchange_token}",
        item.name,
        _kind(item),
        item.lot_size,
        f"{item.tick / item.segment.price_scale:g}",
        "",
        "0915-1530|1815-1915:",
        "",
        closes,
        name.ticker,
        exchange,
        segment,
        item.exchange_token,
        item.name if expiry else symbol.partition("-")[0],
        item.exchange_token,
        float(item.strike) if is_option else -1.0,
        item.instrument_type if is_option else "XX",
        "",
        "None",
        "0",
        "0.0",
    ]


def _kind(item: ListedInstrument) -> int:
    """Return the exchange's instrument type: 0 a share, 10 an index, 11 and 14 of an index's."""
    if item.is_index:
        return 10
    return {"FUT": 11, "CE": 14, "PE": 14}.get(item.instrument_type, 0)
