"""A broker whose master is several files: all of them are loaded in one go, or nothing is."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from brokers.fyers.config import master_urls
from brokers.fyers.connection import FyersAdapter
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.models import Instrument

pytestmark = pytest.mark.django_db

SBIN = b"10100000003045,STATE BANK,0,1,0.05,,,,,NSE:SBIN-EQ,10,10,3045,SBIN,3045,-1.0,XX,,,,\n"
INDEX = b"101000000026009,NIFTYIT-INDEX,10,1,0.05,,,,,NSE:NIFTYIT-INDEX,10,10,1,X,1,-1.0,XX,,,,\n"
RELIANCE = b"1210000000500325,RIL,0,1,0.05,,,,,BSE:RELIANCE-A,12,10,5,RELIANCE,5,-1.0,XX,,,,\n"
FILES = {
    "NSE_CM.csv": SBIN + INDEX,
    "BSE_CM.csv": RELIANCE,
    "index_hsm_mapping.json": b'{"NSE:NIFTYIT-INDEX":"Nifty IT"}',
}


@contextmanager
def web_server(files: dict[str, bytes | None]) -> Iterator[str]:
    """Serve ``files`` by the last part of the path; others are empty, None is a server error."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = files.get(self.path.rpartition("/")[2], b"")
            self.send_response(500 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def load(files: dict[str, bytes | None], monkeypatch: pytest.MonkeyPatch) -> str:
    out = StringIO()
    with web_server(files) as url, monkeypatch.context() as patched:
        patched.setattr(
            "pooling.conf.http_options",
            lambda: HttpOptions(timeout_seconds=20, retry=RetryPolicy(retries=0)),
        )
        patched.setattr(
            FyersAdapter, "master_urls", classmethod(lambda cls, http: master_urls(url))
        )
        call_command("loadinstruments", broker="fyers", stdout=out)
    return out.getvalue()


def stored() -> set[tuple[str, str, str]]:
    rows = Instrument.objects.filter(broker="fyers")
    return set(rows.values_list("exchange", "symbol", "broker_token"))


def test_all_files_are_loaded_in_one_go_or_nothing_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({**FILES}, monkeypatch).startswith("fyers: 3 instruments")
    before = stored()
    assert before == {
        ("NSE", "SBIN", "sf|nse_cm|3045"),
        ("NSE_INDEX", "NIFTYIT", "if|nse_cm|Nifty IT"),
        ("BSE", "RELIANCE", "sf|bse_cm|500325"),
    }
    changed = SBIN.replace(b"3045", b"3046")
    for broken in ({"BSE_CM.csv": None}, {"BSE_CM.csv": b"<html>"}, {"MCX_COM.csv": b"{"}):
        with pytest.raises(CommandError):
            load({**FILES, "NSE_CM.csv": changed, **broken}, monkeypatch)
        assert stored() == before
    load({**FILES, "NSE_CM.csv": changed + INDEX}, monkeypatch)
    assert ("NSE", "SBIN", "sf|nse_cm|3046") in stored()


def test_several_masters_in_one_file_are_read_from_it(tmp_path: Path) -> None:
    file = tmp_path / "all.csv"
    file.write_bytes(RELIANCE + SBIN)
    call_command("loadinstruments", broker="fyers", file=file, stdout=StringIO())
    assert {symbol for _, symbol, _ in stored()} == {"RELIANCE", "SBIN"}
