"""Instruments masters: from a broker's URL or a file into the database, all or nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from pathlib import Path

import httpx
from django.db import DataError, IntegrityError, transaction
from django.utils import timezone

from brokers.base import BrokerAdapter
from brokers.exceptions import BrokerProtocolError, BrokerUnavailableError
from brokers.types import InstrumentRow
from pooling.models import Instrument
from pooling.operations.progress import Progress, counted, no_progress

__all__ = ["download_master", "load_instruments", "read_master", "store_instruments"]

logger = logging.getLogger(__name__)

MAX_MASTER_BYTES = 128 * 1024 * 1024
ROWS_PER_STATEMENT = 500
UPDATED = [
    "broker_token",
    "broker_symbol",
    "name",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "loaded",
]


def load_instruments(
    adapter: type[BrokerAdapter],
    *,
    url: str = "",
    file: Path | None = None,
    timeout: float = 30.0,
    progress: Progress = no_progress,
) -> int:
    """Replace a broker's instruments by those of ``file``, or of ``url`` (empty: the broker's own).

    Nothing changes unless the whole master was read and understood. Returns the number of rows.

    Raises:
        BrokerUnavailableError: the download failed.
        BrokerProtocolError: it is not an instruments master, or has no rows.
        OSError: the file cannot be read.
    """
    if file is not None:
        data = read_master(file)
    else:
        data = download_master(url or adapter.master_url(None), timeout=timeout, progress=progress)
    return store_instruments(adapter.capabilities.name, adapter.parse_master(data), progress)


def read_master(file: Path) -> bytes:
    """Return the file's bytes. Raises OSError, and BrokerProtocolError for one that is too big."""
    if file.stat().st_size > MAX_MASTER_BYTES:
        raise BrokerProtocolError(f"{file} is larger than {MAX_MASTER_BYTES:,} bytes")
    return file.read_bytes()


def download_master(
    url: str,
    *,
    timeout: float,
    transport: httpx.BaseTransport | None = None,
    progress: Progress = no_progress,
) -> bytes:
    """Return what ``url`` serves, completely.

    Raises:
        BrokerUnavailableError: not reachable, not answered in time, cut short, or an HTTP error.
        BrokerProtocolError: larger than any instruments master.
    """
    body = bytearray()
    try:
        with (
            httpx.Client(transport=transport, timeout=timeout, follow_redirects=True) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            size = response.headers.get("Content-Length", "")
            total = int(size) if size.isascii() and size.isdigit() else None
            for part in response.iter_bytes():
                body += part
                if len(body) > MAX_MASTER_BYTES:
                    raise BrokerProtocolError(f"{url} is larger than {MAX_MASTER_BYTES:,} bytes")
                # The header counts compressed bytes, which is what came over the wire.
                progress("downloading", response.num_bytes_downloaded, total, "bytes")
    except httpx.HTTPStatusError as error:
        raise BrokerUnavailableError(
            f"{url} answered with HTTP {error.response.status_code}"
        ) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise BrokerUnavailableError(
            f"{url} cannot be read: {error or type(error).__name__}"
        ) from error
    return bytes(body)


def store_instruments(
    broker: str, rows: Iterable[InstrumentRow], progress: Progress = no_progress
) -> int:
    """Insert, update and delete so that exactly ``rows`` remain of ``broker``; in one transaction.

    The master is parsed before the transaction begins, so the write lock is held for the writing
    only. Of rows with the same exchange and symbol the first counts.

    Raises:
        BrokerProtocolError: there is no row, or a row that does not fit.
    """
    now = timezone.now()
    instruments = list(_distinct(broker, counted(rows, progress, "reading", "rows"), now))
    if not instruments:
        raise BrokerProtocolError(f"the instruments master of {broker} has no rows")
    try:
        gone = _replace(broker, instruments, now, progress)
    except (DataError, IntegrityError) as error:
        raise BrokerProtocolError(f"the instruments master of {broker}: {error}") from error
    logger.info("broker %s: %d instruments loaded, %d gone", broker, len(instruments), gone)
    return len(instruments)


def _replace(broker: str, instruments: list[Instrument], now: datetime, progress: Progress) -> int:
    with transaction.atomic():
        for start in range(0, len(instruments), ROWS_PER_STATEMENT):
            progress("storing", start, len(instruments), "rows")
            Instrument.objects.bulk_create(
                instruments[start : start + ROWS_PER_STATEMENT],
                update_conflicts=True,
                unique_fields=["broker", "exchange", "symbol"],
                update_fields=UPDATED,
            )
        progress("storing", len(instruments), len(instruments), "rows")
        return Instrument.objects.filter(broker=broker).exclude(loaded=now).delete()[0]


def _distinct(broker: str, rows: Iterable[InstrumentRow], now: datetime) -> Iterator[Instrument]:
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if (row.exchange, row.symbol) in seen:
            continue
        seen.add((row.exchange, row.symbol))
        try:
            yield _instrument(broker, row, now)
        except ValueError as error:
            raise BrokerProtocolError(f"{row.exchange}:{row.symbol}: {error}") from error


def _instrument(broker: str, row: InstrumentRow, now: datetime) -> Instrument:
    return Instrument(
        broker=broker,
        exchange=row.exchange,
        symbol=row.symbol,
        broker_token=row.broker_token,
        broker_symbol=row.broker_symbol,
        name=row.name.upper()[:128],
        expiry=date.fromisoformat(row.expiry) if row.expiry else None,
        strike=_number(row.strike),
        tick_size=_number(row.tick_size),
        lot_size=_number(row.lot_size),
        instrument_type=row.instrument_type,
        loaded=now,
    )


def _number(text: str) -> float | None:
    return float(text) if text else None
