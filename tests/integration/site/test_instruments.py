"""Loading instruments masters, all or nothing."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.db.models import QuerySet

from brokers.exceptions import BrokerProtocolError, BrokerUnavailableError
from brokers.types import InstrumentRow
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.instruments import download_master, load_instruments, store_instruments
from pooling.models import Instrument
from tests.support import SHARED_DATA

pytestmark = pytest.mark.django_db
HEADER = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
    "lot_size,instrument_type,segment,exchange\n"
)
INFY = "408065,1594,INFY,INFOSYS,0,,,0.05,1,EQ,NSE,NSE\n"


def row(number: int, **changes: Any) -> InstrumentRow:
    values: dict[str, Any] = {
        "exchange": "NSE",
        "symbol": f"S{number}",
        "broker_token": str(number),
        "broker_symbol": f"S{number}",
        "name": "Some name",
        "expiry": "2026-11-26",
        "strike": "20800.5",
        "lot_size": "50",
        "tick_size": "0.05",
        "instrument_type": "CE",
    }
    return InstrumentRow(**{**values, **changes})


def test_ten_thousand_rows_load_in_seconds() -> None:
    rows = [row(number) for number in range(10_000)]
    for _ in range(2):  # insert, then update
        started = time.monotonic()
        assert store_instruments("zerodha", rows) == 10_000
        assert time.monotonic() - started < 6
    assert Instrument.objects.count() == 10_000


def test_rows_are_updated_added_and_removed() -> None:
    store_instruments("zerodha", [row(1), row(2)])
    store_instruments("binance", [row(1)])
    before = Instrument.objects.get(broker="zerodha", symbol="S2").pk
    store_instruments("zerodha", [row(2, broker_token="22"), row(3), row(3, name="twice")])
    found = Instrument.objects.filter(broker="zerodha").order_by("symbol")
    assert [(each.symbol, each.broker_token, each.name) for each in found] == [
        ("S2", "22", "SOME NAME"),
        ("S3", "3", "SOME NAME"),
    ]
    assert found[0].pk == before
    assert Instrument.objects.filter(broker="binance").count() == 1


@pytest.mark.parametrize(
    "rows", [[], [row(1), row(2, expiry="soon")], [row(1), row(2, strike="much")]]
)
def test_a_master_that_is_not_understood_changes_nothing(rows: list[InstrumentRow]) -> None:
    store_instruments("zerodha", [row(9)])
    with pytest.raises(BrokerProtocolError):
        store_instruments("zerodha", rows)
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


def test_a_write_that_fails_half_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise DatabaseError("disk full")

    store_instruments("zerodha", [row(9)])
    with monkeypatch.context() as broken:
        broken.setattr(QuerySet, "delete", fail)
        with pytest.raises(DatabaseError):
            store_instruments("zerodha", [row(1)])
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


def test_a_row_that_the_database_refuses_is_named_as_the_masters_fault() -> None:
    store_instruments("zerodha", [row(9)])
    with pytest.raises(BrokerProtocolError, match="zerodha"):
        store_instruments("zerodha", [row(1), row(2, broker_token=None)])
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


@contextmanager
def web_server(status: int, body: bytes, length: int | None = None) -> Iterator[str]:
    """Serve ``body``; with a larger ``length`` the download is cut short."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answer: ClassVar[bytes] = body

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(self.answer)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/instruments"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_command_loads_from_a_url() -> None:
    out = StringIO()
    with web_server(200, (HEADER + INFY).encode()) as url:
        call_command("loadinstruments", broker="zerodha", url=url, stdout=out)
    assert Instrument.objects.get().broker_token == "408065"
    assert "1 instruments" in out.getvalue()


@pytest.mark.parametrize(
    ("status", "length", "words"),
    [(200, 10_000, "cannot be read"), (503, None, "HTTP 503")],
)
def test_an_interrupted_download_changes_nothing(
    status: int, length: int | None, words: str
) -> None:
    store_instruments("zerodha", [row(9)])
    with (
        web_server(status, (HEADER + INFY).encode(), length) as url,
        pytest.raises(CommandError, match=words),
    ):
        call_command("loadinstruments", broker="zerodha", url=url)
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


def test_an_unreachable_host_is_a_sentence() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    with pytest.raises(BrokerUnavailableError, match=r"example\.test.*cannot be read"):
        download_master("http://example.test/x", timeout=1, transport=httpx.MockTransport(refuse))


def test_a_file_that_is_no_master_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<html>login</html>")
    with pytest.raises(CommandError):
        call_command("loadinstruments", broker="zerodha", file=file)
    with pytest.raises(CommandError, match="No such file"):
        call_command("loadinstruments", broker="zerodha", file=tmp_path / "none")
    with pytest.raises(CommandError, match="unknown broker"):
        call_command("loadinstruments", broker="nobody", file=file)


@pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"no recorded data in {SHARED_DATA}")
def test_zerodhas_own_master_loads() -> None:
    file = SHARED_DATA / "kite_instruments_nse.csv"
    count = load_instruments(ZerodhaAdapter, file=file)
    assert count == len(file.read_text().strip().splitlines()) - 1
