"""The instruments' host is away, slow, or answers with something else: yesterday's stay."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from brokers.registry import default_registry
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.models import Instrument, SearchTier
from tests.support import free_port
from tests.unit.brokers.masters.test_masters import ROWS, master

pytestmark = pytest.mark.django_db

COUNT = 120
# Slower than anything that a test waits for otherwise, and far below the time-out.
SLOW_SECONDS = 1.0


class Host:
    """A broker's host that serves ``body``; each verb makes it fail in one way."""

    def __init__(self, body: bytes) -> None:
        self.whole = self.body = body
        self.status = 200
        self.says_length = True
        self.delay_seconds = 0.0
        self.asked = threading.Event()
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.asked.set()
                time.sleep(host.delay_seconds)
                self.send_response(host.status)
                if host.says_length:
                    whole = (
                        host.body if host.status != 200 else max(host.body, host.length, key=len)
                    )
                    self.send_header("Content-Length", str(len(whole)))
                self.end_headers()
                self.wfile.write(host.body)

            def log_message(self, *args: object) -> None:
                pass

        self.length = b""  # what the length is that of, where it is not the body's
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(params=ROWS)
def broker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def host(broker: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    row = ROWS[broker]
    numbers = range(100_000, 100_000 + COUNT)
    body = master(broker, [row(str(number), "1", "5") for number in numbers])
    host = Host(gzip.compress(body) if broker == "upstox" else body)
    adapter = default_registry().get(broker)
    monkeypatch.setattr(adapter, "master_urls", classmethod(lambda cls, http: (f"{host.url}/m",)))
    monkeypatch.setattr(
        "pooling.conf.http_options",
        lambda: HttpOptions(timeout_seconds=20, retry=RetryPolicy(retries=0)),
    )
    load(broker)
    yield host
    host.close()


def load(broker: str) -> str:
    out = StringIO()
    call_command("loadinstruments", broker=broker, stdout=out, stderr=StringIO())
    return out.getvalue()


def listed(broker: str) -> int:
    return Instrument.objects.filter(broker=broker).exclude(tier=SearchTier.EXPIRED).count()


def _half(host: Host) -> None:
    host.length, host.body = host.whole, host.whole[: len(host.whole) * 6 // 10]


def _half_of_unknown_length(host: Host) -> None:
    host.says_length, host.body = False, host.whole[: len(host.whole) * 6 // 10 + 7]


def _serves(body: bytes, status: int = 200) -> Callable[[Host], None]:
    def fail(host: Host) -> None:
        host.body, host.status = body, status

    return fail


FAILURES: dict[str, Callable[[Host], None]] = {
    "gone": Host.close,
    "half a file": _half,
    "half a file of unknown length": _half_of_unknown_length,
    "web page": _serves(b"\xef\xbb\xbf \r\n<!DOCTYPE html><html><body>Please log in</body></html>"),
    "empty": _serves(b""),
    "line": _serves(b"Too many requests, please try again later.\n"),
    "wrong columns": _serves(b"token,symbol,price\n1,INFY,5\n2,TCS,6\n"),
    "JSON of an error": _serves(b'{"status":"error","message":"no\\nsession"}'),
    "JSON of other rows": _serves(b'[{"a":1},{"a":2}]'),
    "bytes": _serves(bytes(range(256)) * 20),
    "broken compression": _serves(b"\x1f\x8b" + b"\x00" * 50),
    "server error": _serves(b"<html>bad gateway</html>", 502),
    "not found": _serves(b"no such file", 404),
    "too many requests": _serves(b"slow down", 429),
    "login wanted": _serves(b"who are you", 401),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_yesterdays_instruments_stay_and_one_sentence_says_why(
    broker: str, host: Host, failure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listed(broker) == COUNT
    FAILURES[failure](host)
    if failure == "gone":
        monkeypatch.setattr(host, "close", lambda: None)
    with pytest.raises(CommandError) as told:
        load(broker)
    words = str(told.value)
    assert words.startswith(f"{broker}: ")
    if failure == "gone":
        assert "127.0.0.1" in words, "the host"
        assert "load a copy with --file, or from --url" in words
    assert words.endswith("; its instruments of before stay")
    assert "\n" not in words
    assert "Traceback" not in words
    assert len(words) < 400
    assert listed(broker) == COUNT


@pytest.mark.parametrize("failure", ["web page", "empty", "half a file"])
def test_back_again_it_loads_what_is_there(broker: str, host: Host, failure: str) -> None:
    whole = host.body
    FAILURES[failure](host)
    with pytest.raises(CommandError):
        load(broker)
    host.body, host.length = whole, b""
    assert load(broker).startswith(f"{broker}: {COUNT} instruments, 0 of them new or changed")


def test_a_host_that_was_never_there_is_told_without_a_word_of_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"http://127.0.0.1:{free_port()}/m"
    monkeypatch.setattr(
        "pooling.conf.http_options", lambda: HttpOptions(retry=RetryPolicy(retries=0))
    )
    with pytest.raises(
        CommandError, match=r"^zerodha: http://127\.0\.0\.1.*cannot be read"
    ) as told:
        call_command("loadinstruments", broker="zerodha", url=url, stderr=StringIO())
    assert "stay" not in str(told.value)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broker", ["zerodha"], indirect=False)
def test_a_slow_host_holds_nothing_that_a_tick_or_a_page_needs(
    broker: str, host: Host, django_db_blocker: Any
) -> None:
    """The database is written to meanwhile, and only afterwards by the load."""
    host.delay_seconds = SLOW_SECONDS
    host.asked.clear()
    said: list[str] = []

    def run() -> None:
        with django_db_blocker.unblock():
            try:
                said.append(load(broker))
            finally:
                connection.close()

    loading = threading.Thread(target=run)
    loading.start()
    assert host.asked.wait(20)
    began = time.monotonic()
    Instrument.objects.filter(broker=broker, symbol="S100000").update(name="WRITTEN MEANWHILE")
    took = time.monotonic() - began
    assert not said, "the host has not answered yet"
    assert took < SLOW_SECONDS
    loading.join(30)
    assert said[0].startswith(f"{broker}: {COUNT} instruments")
