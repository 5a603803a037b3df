"""Loading instruments masters, all or nothing."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError
from django.db.models import QuerySet
from django.utils import timezone

from brokers.binance.connection import BinanceAdapter
from brokers.exceptions import BrokerProtocolError, BrokerUnavailableError
from brokers.times.market_clock import INDIA
from brokers.types import InstrumentRow
from brokers.zerodha.connection import ZerodhaAdapter
from pooling.exceptions import MasterTooSmallError
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.instruments.download import download_master, open_master
from pooling.instruments.loader import LoadResult, expire_instruments, store_instruments
from pooling.models import BrokerAccount, Instrument, NamesRevision, SearchTier
from tests.support import SHARED_DATA

pytestmark = pytest.mark.django_db
TODAY = date(2026, 11, 21)
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


def listed() -> QuerySet[Instrument]:
    return Instrument.objects.filter(broker="zerodha").exclude(tier=SearchTier.EXPIRED)


def in_india(hour: int, minute: int) -> datetime:
    return datetime.combine(TODAY, time(hour, minute), INDIA)


def revision(broker: str = "zerodha") -> int:
    found = NamesRevision.objects.filter(broker=broker).first()
    return 0 if found is None else found.revision


FUTURES = [
    row(1, exchange="MCX", expiry=TODAY.isoformat()),
    row(2, exchange="NFO", expiry=TODAY.isoformat()),
    row(3, exchange="NFO", expiry=(TODAY + timedelta(days=1)).isoformat()),
]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "Asia/Kolkata"])
def test_a_contract_expires_by_its_exchange_and_not_by_the_site(
    settings: Any, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    settings.TIME_ZONE = zone
    for now, symbols in ((in_india(15, 31), {"S1", "S3"}), (in_india(23, 55), {"S3"})):
        monkeypatch.setattr("pooling.instruments.loader.timezone.now", lambda now=now: now)
        store_instruments("zerodha", FUTURES, is_forced=True)
        assert {each.symbol for each in listed()} == symbols


def test_what_expires_between_two_loads_is_marked_and_workers_can_see_that() -> None:
    store_instruments("zerodha", FUTURES, today=TODAY)
    store_instruments("binance", [row(1)], today=TODAY)
    before = revision(), revision("binance")
    assert expire_instruments(in_india(15, 29)) == 0
    assert (revision(), revision("binance")) == before
    assert expire_instruments(in_india(15, 30)) == 1
    assert {each.symbol for each in listed()} == {"S1", "S3"}
    assert (revision(), revision("binance")) == (before[0] + 1, before[1])
    assert expire_instruments(in_india(23, 55)) == 1
    assert expire_instruments(in_india(23, 56)) == 0


def test_a_load_that_changes_something_is_seen_by_workers_and_no_other() -> None:
    rows = [row(1), row(2)]
    assert revision() == 0
    for number, loaded in enumerate((rows, [*rows, row(3)], rows), start=1):
        store_instruments("zerodha", loaded, today=TODAY)
        assert revision() == number
        store_instruments("zerodha", loaded, today=TODAY)
        assert revision() == number


def test_only_what_has_changed_is_written() -> None:
    rows = [row(number) for number in range(2_000)]
    first = store_instruments("zerodha", rows, today=TODAY)
    assert first == LoadResult(rows=2_000, written=2_000, unchanged=0, expired=0)
    rows[7] = row(7, lot_size="75")
    again = store_instruments("zerodha", rows, today=TODAY)
    assert again == LoadResult(rows=2_000, written=1, unchanged=1_999, expired=0)
    assert Instrument.objects.count() == 2_000
    assert Instrument.objects.get(symbol="S7").lot_size == 75
    assert (
        Instrument.objects.filter(loaded__lt=Instrument.objects.latest("loaded").loaded).count()
        == 0
    )


def test_rows_are_updated_added_and_removed() -> None:
    store_instruments("zerodha", [row(1), row(2)], today=TODAY)
    store_instruments("binance", [row(1)])
    before = Instrument.objects.get(broker="zerodha", symbol="S2").pk
    rows = [row(2, broker_token="22"), row(3), row(3, name="twice")]
    store_instruments("zerodha", rows, today=TODAY)
    found = listed().order_by("symbol")
    assert [(each.symbol, each.broker_token, each.name) for each in found] == [
        ("S2", "22", "SOME NAME"),
        ("S3", "3", "SOME NAME"),
    ]
    assert found[0].pk == before
    assert Instrument.objects.filter(broker="binance").count() == 1


def test_what_left_the_master_or_is_past_its_expiry_is_marked() -> None:
    store_instruments("zerodha", [row(1), row(2), row(3, expiry="2026-11-20")], today=TODAY)
    assert [each.symbol for each in listed()] == ["S1", "S2"]
    result = store_instruments("zerodha", [row(2), row(4)], today=TODAY)
    assert result.expired == 1
    assert {each.symbol for each in listed()} == {"S2", "S4"}
    assert Instrument.objects.get(symbol="S1").tier == SearchTier.EXPIRED
    store_instruments("zerodha", [row(1), row(2)], today=TODAY)
    assert {each.symbol for each in listed()} == {"S1", "S2"}, "it may come back"


def test_expired_ones_are_deleted_a_month_later() -> None:
    store_instruments("zerodha", [row(1), row(2)], today=TODAY)
    store_instruments("zerodha", [row(2)], today=TODAY)
    Instrument.objects.filter(symbol="S1").update(loaded=timezone.now() - timedelta(days=31))
    store_instruments("zerodha", [row(2)], today=TODAY)
    assert [each.symbol for each in Instrument.objects.all()] == ["S2"]


def test_a_master_that_lacks_most_rows_is_refused_unless_forced() -> None:
    rows = [row(number) for number in range(10)]
    store_instruments("zerodha", rows, today=TODAY)
    with pytest.raises(MasterTooSmallError, match="--force") as refused:
        store_instruments("zerodha", rows[:4], today=TODAY)
    assert (refused.value.rows, refused.value.before) == (4, 10)
    assert listed().count() == 10
    assert store_instruments("zerodha", rows[:4], today=TODAY, is_forced=True).expired == 6
    assert store_instruments("zerodha", rows[:2], today=TODAY).rows == 2


def test_a_load_beside_another_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was compared with is not there any more."""
    store_instruments("zerodha", [row(1)], today=TODAY)

    def rows_during_which_another_loads() -> Iterator[InstrumentRow]:
        store_instruments("zerodha", [row(2)], today=TODAY)
        yield row(3)

    with pytest.raises(BrokerProtocolError, match="another process"):
        store_instruments("zerodha", rows_during_which_another_loads(), today=TODAY)
    assert [each.symbol for each in listed()] == ["S2"]


@pytest.mark.parametrize(
    "rows", [[], [row(1), row(2, expiry="soon")], [row(1), row(2, strike="much")]]
)
def test_a_master_that_is_not_understood_changes_nothing(rows: list[InstrumentRow]) -> None:
    store_instruments("zerodha", [row(9)], today=TODAY)
    with pytest.raises(BrokerProtocolError):
        store_instruments("zerodha", rows)
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


def test_a_write_that_fails_half_way_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise DatabaseError("disk full")

    store_instruments("zerodha", [row(9)], today=TODAY)
    with monkeypatch.context() as broken:
        broken.setattr(QuerySet, "delete", fail)
        with pytest.raises(DatabaseError):
            store_instruments("zerodha", [row(1)])
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


def test_a_row_that_the_database_refuses_is_named_as_the_masters_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise IntegrityError("no such value")

    store_instruments("zerodha", [row(9)], today=TODAY)
    with monkeypatch.context() as broken:
        broken.setattr(QuerySet, "bulk_create", refuse)
        with pytest.raises(BrokerProtocolError, match="zerodha"):
            store_instruments("zerodha", [row(1), row(9)])
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


@pytest.fixture(autouse=True)
def no_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their waits are tested where time costs nothing."""
    monkeypatch.setattr(
        "pooling.conf.http_options",
        lambda: HttpOptions(timeout_seconds=20, retry=RetryPolicy(retries=0)),
    )


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
    store_instruments("zerodha", [row(9)], today=TODAY)
    with (
        web_server(status, (HEADER + INFY).encode(), length) as url,
        pytest.raises(CommandError, match=words),
    ):
        call_command("loadinstruments", broker="zerodha", url=url)
    assert [each.symbol for each in Instrument.objects.all()] == ["S9"]


def test_an_unreachable_host_is_a_sentence() -> None:
    def refuse(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("connection refused", request=request)

    with pytest.raises(BrokerUnavailableError, match=r"example\.test.*cannot be read"):
        download_master(
            "http://example.test/x",
            options=HttpOptions(retry=RetryPolicy(retries=0)),
            transport=httpx2.MockTransport(refuse),
        )


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
    with open_master(file) as master:
        result = store_instruments("zerodha", ZerodhaAdapter.parse_master(master))
    assert result.rows == len(file.read_text().strip().splitlines()) - 1


def test_without_a_name_every_broker_in_use_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails keeps the other from nothing, and is named in the end."""
    user = User.objects.create_user("asha")
    for broker in ("zerodha", "binance"):
        BrokerAccount.objects.create(user=user, broker=broker)
    out = StringIO()
    with web_server(200, (HEADER + INFY).encode()) as url:
        for adapter in (ZerodhaAdapter, BinanceAdapter):
            monkeypatch.setattr(adapter, "master_url", classmethod(lambda cls, http: url))
        with pytest.raises(CommandError, match="exchangeInfo"):
            call_command("loadinstruments", stdout=out, json=True)
    assert json.loads(out.getvalue()) == {
        "broker": "zerodha",
        "instruments": 1,
        "written": 1,
        "expired": 0,
        "renamed": 0,
        "passed_over": [],
    }


def test_without_a_name_and_without_accounts_it_says_what_to_do() -> None:
    with pytest.raises(CommandError, match="--broker"):
        call_command("loadinstruments")
    with pytest.raises(CommandError, match="--broker"):
        call_command("loadinstruments", url="http://127.0.0.1:1/")
