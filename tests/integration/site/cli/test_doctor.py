"""Each failure that the doctor knows, made for real; and that a healthy installation has none."""

from __future__ import annotations

import http.server
import json
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from openalgo_site.config.channel_layer import channel_layers
from openalgo_site.config.env import Environment
from openalgo_site.config.public_url import parse_public_url
from openalgo_site.doctor import keys, processes, storage, surroundings
from openalgo_site.doctor.findings import Check, Finding, Outcome, failed, fine
from openalgo_site.doctor.main import all_checks, examine
from pooling.keys.files import create_key_file
from pooling.models import BrokerAccount, Instrument, PoolStatus
from streaming.addresses import parse_networks
from streaming.link.zmq_feed_link import ZmqFeedLink
from streaming.models import GatewayStatus
from streaming.wire.keys import create_key_file as create_bus_key_file
from streaming.wire.versions import PROTOCOL_VERSION, UNTOLD, version_trouble
from tests.credential_kit import CredentialCipher, foreign_sealer
from tests.integration.site.processes.test_runpool import ACCOUNT, Installation
from tests.support import eventually_sync, free_port


@pytest.fixture
def configured(settings: Any) -> Callable[..., None]:
    def configure(**values: Any) -> None:
        settings.ENV = msgspec.structs.replace(Environment(), **values)

    return configure


def problem(findings: Iterable[Finding], *words: str) -> Finding:
    """Return the only finding that is not fine; it has these words and says what mends it."""
    (found,) = [each for each in findings if each.outcome is not Outcome.OK]
    for word in words:
        assert word in f"{found.message} {found.mends}", found
    assert found.mends, found
    return found


def all_fine(findings: Iterable[Finding]) -> bool:
    return {each.outcome for each in findings} == {Outcome.OK}


# Storage


@pytest.mark.django_db
def test_migrations_that_are_missing() -> None:
    assert all_fine(storage.migrations())
    MigrationRecorder.Migration.objects.filter(app="pooling").order_by("-pk")[0].delete()
    found = problem(storage.migrations(), "pooling.", "manage.py migrate")
    assert found.outcome is Outcome.FAILED


@pytest.mark.django_db
def test_a_database_that_takes_no_rows() -> None:
    assert all_fine(storage.writable())
    if connection.vendor != "sqlite":
        pytest.skip("the breakage is SQLite's")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only=ON")
        try:
            found = problem(storage.writable(), "DATA_DIR")
        finally:
            cursor.execute("PRAGMA query_only=OFF")
    assert found.outcome is Outcome.FAILED


def test_key_files_missing_open_and_broken(data_dir: Path) -> None:
    path = data_dir / "credentials.key"
    problem(keys.key_file(), "missing", "createkeyfile")
    create_key_file(path)
    assert all_fine(keys.key_file())
    path.chmod(0o640)
    problem(keys.key_file(), "0640", "chmod 600")
    path.chmod(0o600)
    path.write_text("no key\n")
    problem(keys.key_file(), "one key a line", "createkeyfile")


def test_credentials_of_another_key(account: BrokerAccount, cipher: CredentialCipher) -> None:
    values = {"api_key": "k" * 8, "access_token": "t" * 8}
    account.set_credentials(values, cipher)
    account.credentials_expire = None
    account.save()
    assert all_fine(keys.credentials())
    account.set_credentials(values, foreign_sealer())
    account.save()
    found = problem(keys.credentials(), "asha/zerodha/main", "restore the key")
    assert found.outcome is Outcome.FAILED


def test_credentials_missing_and_expired(account: BrokerAccount, cipher: CredentialCipher) -> None:
    account.set_credentials({"api_key": "k" * 8}, cipher)
    account.credentials_expire = None
    account.save()
    found = problem(keys.credentials(), "login needed: not stored: Access token", "Brokers page")
    assert found.outcome is Outcome.WARNING
    account.set_credentials({"access_token": "t" * 8}, cipher)
    account.credentials_expire = timezone.now() - timedelta(hours=1)
    account.save()
    problem(keys.credentials(), "login needed: the stored credential ended at", "Brokers page")


def test_instruments_missing_and_old(account: BrokerAccount, instruments: list[Instrument]) -> None:
    assert all_fine(storage.instruments())
    Instrument.objects.update(loaded=timezone.now() - timedelta(days=9))
    found = problem(storage.instruments(), "loadinstruments --broker zerodha")
    assert found.outcome is Outcome.WARNING
    Instrument.objects.all().delete()
    found = problem(storage.instruments(), "loadinstruments --broker zerodha")
    assert found.outcome is Outcome.FAILED


def test_a_full_disk_and_a_missing_directory(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem(storage.disk(), "mkdir")
    data_dir.mkdir()
    monkeypatch.setattr(storage, "LOW_BYTES", 0)
    monkeypatch.setattr(storage, "LOWEST_BYTES", 0)
    assert all_fine(storage.disk())
    monkeypatch.setattr(storage, "LOWEST_BYTES", 1 << 60)
    assert problem(storage.disk(), "DATA_DIR").outcome is Outcome.FAILED


# Processes


def serve(account: BrokerAccount, **values: Any) -> None:
    now = timezone.now()
    defaults = {"owner": "host:1", "state": "live", "since": now, "heartbeat": now}
    PoolStatus.objects.update_or_create(account=account, defaults=defaults | values)


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock: a row of now stays one, however slow the test is."""
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)


@pytest.mark.usefixtures("still")
def test_workers_missing_silent_and_without_a_credential(account: BrokerAccount) -> None:
    assert problem(processes.workers(), "never served", "runpool").outcome is Outcome.FAILED
    serve(account)
    assert all_fine(processes.workers())
    serve(account, heartbeat=timezone.now() - timedelta(minutes=2))
    problem(processes.workers(), "no worker: worker host:1 was last heard at", "runpool")
    serve(account, state="auth_required", reason="HTTP 403")
    assert problem(processes.workers(), "HTTP 403", "Brokers page").outcome is Outcome.FAILED
    serve(account, state="stale", reason="no data")
    assert problem(processes.workers(), "no data").outcome is Outcome.WARNING
    serve(account, heartbeat=timezone.now() + timedelta(minutes=2))
    problem(processes.workers(), "ahead", "chrony")


@pytest.mark.django_db
def test_a_bus_without_a_worker(
    configured: Callable[..., None],
    settings: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(processes, "BEAT_SECONDS", 0.3)
    settings.BUS_DIR = folder = tmp_path / "bus"
    configured(zmq_port=5555)
    problem(processes.bus(), "nobody listens", "DATA_DIR", "runpool")
    folder.mkdir(mode=0o700)
    problem(processes.bus(), "nobody listens", "DATA_DIR", "runpool")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "5555.ticks"))
        other.listen()
        problem(processes.bus(), "does not announce itself", "start the worker again")
        folder.chmod(0o755)
        problem(processes.bus(), "open to others", "chmod 700")
        folder.chmod(0o700)
    keys = tmp_path / "bus.key"
    create_bus_key_file(keys)
    with socket.create_server(("0.0.0.0", 0)) as other:
        configured(
            zmq_host="0.0.0.0", zmq_port=other.getsockname()[1], zmq_curve_key_file=str(keys)
        )
        problem(processes.bus(), "no worker of this installation", "ZMQ_PORT")
    configured(zmq_curve_key_file=str(tmp_path / "missing"))
    problem(processes.bus(), "ZMQ_CURVE_KEY_FILE")
    configured(zmq_host="192.0.2.1")
    problem(processes.bus(), "ZMQ_CURVE_KEY_FILE")


@pytest.mark.redis
def test_a_channel_layer_that_works_and_one_that_does_not(
    configured: Callable[..., None], settings: Any, redis_url: str
) -> None:
    def look(url: str) -> Iterable[Finding]:
        configured(redis_url=url)
        settings.CHANNEL_LAYERS = channel_layers(url)
        return processes.notices()

    assert all_fine(look(redis_url))
    assert [each.outcome for each in look("")] == [Outcome.SKIPPED]
    found = problem(look(f"redis://:secret-word@127.0.0.1:{free_port()}/0"), "Redis", "REDIS_URL")
    assert found.outcome is Outcome.FAILED
    assert "secret-word" not in found.message
    assert "2 s" in found.message  # what it costs
    with socket.create_server(("127.0.0.1", 0)) as silent:
        problem(look(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"), "no answer in time")


class WebServer:
    """Answers every GET with one status, one Date and one body."""

    def __init__(self, status: int, ahead: timedelta = timedelta(), body: bytes = b"") -> None:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(status)
                self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
                self.send_header("Content-Length", f"{len(body)}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.mark.django_db
@pytest.mark.usefixtures("still")
def test_gateways_missing_and_ports_of_others(configured: Callable[..., None]) -> None:
    configured(port=free_port())
    problem(processes.gateways(), "does not answer", "rungateway")
    now = timezone.now()
    GatewayStatus.objects.create(gateway="g", host="h", pid=1, started=now, heartbeat=now)
    assert all_fine(processes.gateways())
    for status, words in ((404, "another program"), (400, "ALLOWED_HOSTS")):
        with WebServer(status) as server:
            configured(port=server.port)
            problem(processes.gateways(), words)
    with WebServer(200) as server:
        configured(port=server.port)
        assert all_fine(processes.gateways())


@pytest.mark.django_db
@pytest.mark.usefixtures("still")
@pytest.mark.parametrize(
    ("version", "words"),
    [
        ({}, "speaks an older version of the bus"),
        ({"bus_version": PROTOCOL_VERSION + 1}, f"speaks version {PROTOCOL_VERSION + 1} of"),
    ],
)
def test_a_gateway_of_another_version(
    configured: Callable[..., None], version: dict[str, int], words: str
) -> None:
    with WebServer(200, body=json.dumps({"status": "ok"} | version).encode()) as server:
        configured(port=server.port)
        problem(processes.gateways(), words, "restart the worker and all gateways")
    same = json.dumps({"status": "ok", "bus_version": PROTOCOL_VERSION}).encode()
    with WebServer(200, body=same) as server:
        configured(port=server.port)
        assert all_fine(processes.gateways())


def test_a_worker_of_another_version(
    configured: Callable[..., None], settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BUS_DIR = tmp_path / "bus"
    configured(zmq_port=5555)
    (tmp_path / "bus").mkdir(mode=0o700)
    words = version_trouble(worker=UNTOLD, gateway=PROTOCOL_VERSION)
    monkeypatch.setattr(ZmqFeedLink, "workers", lambda link: 1)
    monkeypatch.setattr(ZmqFeedLink, "version_troubles", lambda link: [words])
    version, silent = processes.bus()
    assert words in version.message
    assert (version.outcome, silent.outcome) == (Outcome.FAILED, Outcome.WARNING)


# Surroundings


def test_settings_that_the_system_checks_refuse(
    configured: Callable[..., None], settings: Any
) -> None:
    configured(host="0.0.0.0")
    settings.DEBUG = True
    problem(
        [each for each in surroundings.system_checks() if "openalgo_site" in each.message],
        "openalgo_site.E001",
        "DEBUG=false",
    )


def test_origins(configured: Callable[..., None], settings: Any) -> None:
    configured()
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    assert all_fine(surroundings.origins())
    settings.CSRF_TRUSTED_ORIGINS = ["ticks.example.com"]
    problem(surroundings.origins(), "https://")
    settings.CSRF_TRUSTED_ORIGINS = ["https://ticks.example.com"]
    problem(surroundings.origins(), "add ticks.example.com to ALLOWED_HOSTS")
    settings.ALLOWED_HOSTS = [".example.com"]
    assert all_fine(surroundings.origins())
    settings.CSRF_TRUSTED_ORIGINS = []
    settings.ALLOWED_HOSTS = ["*"]
    assert problem(surroundings.origins(), "ALLOWED_HOSTS").outcome is Outcome.WARNING
    settings.ALLOWED_HOSTS = ["localhost"]
    configured(host="0.0.0.0")
    assert problem(surroundings.origins(), "PUBLIC_URL").outcome is Outcome.FAILED


def test_a_public_url_with_tls_needs_a_proxy_that_is_trusted(
    configured: Callable[..., None], settings: Any
) -> None:
    configured()
    settings.PUBLIC_URL = parse_public_url("https://[fd00::7]:8443")
    settings.ALLOWED_HOSTS = ["127.0.0.1", "[fd00::7]"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://[fd00::7]:8443"]
    assert problem(surroundings.origins(), "TRUSTED_PROXIES").outcome is Outcome.WARNING
    settings.TRUSTED_PROXIES = parse_networks("127.0.0.1")
    assert all_fine(surroundings.origins())


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hard limit counts: a gateway raises the other one."""
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, 700))
    assert all_fine(surroundings.open_files(400))
    assert problem(surroundings.open_files(None), "ulimit -n").outcome is Outcome.WARNING
    found = problem(surroundings.open_files(1_000), "LimitNOFILE=1256")
    assert found.outcome is Outcome.FAILED
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (100, resource.RLIM_INFINITY))
    assert all_fine(surroundings.open_files(1_000_000))


def test_a_clock_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    walls = iter([1000.0, 1000.2, 1000.0, 1060.0])
    clocks = SimpleNamespace(
        time=lambda: next(walls),
        monotonic=iter([5.0, 5.2, 5.0, 5.2]).__next__,
        sleep=lambda s: None,
    )
    monkeypatch.setattr(surroundings, "time", clocks)
    assert all_fine(surroundings.clock())
    problem(surroundings.clock(), "+59.80 s", "chrony")


def test_brokers_out_of_reach(account: BrokerAccount) -> None:
    BrokerAccount.objects.update(endpoint=f"ws://127.0.0.1:{free_port()}")
    found = problem(surroundings.brokers(), "cannot be reached", "endpoint")
    assert found.outcome is Outcome.FAILED
    with WebServer(404) as server:
        BrokerAccount.objects.update(endpoint=f"ws://127.0.0.1:{server.port}")
        assert all_fine(surroundings.brokers())
        BrokerAccount.objects.update(endpoint=f"wss://127.0.0.1:{server.port}")
        problem(surroundings.brokers(), "TLS")


@pytest.mark.parametrize(
    ("ahead", "outcome", "words"),
    [
        (timedelta(seconds=15), Outcome.WARNING, "behind"),
        (timedelta(hours=1), Outcome.FAILED, "behind"),
        (timedelta(hours=-1), Outcome.FAILED, "ahead of"),
    ],
)
def test_a_clock_that_differs_from_the_broker(
    account: BrokerAccount, ahead: timedelta, outcome: Outcome, words: str
) -> None:
    with WebServer(404, ahead) as server:
        BrokerAccount.objects.update(endpoint=f"ws://127.0.0.1:{server.port}")
        assert problem(surroundings.brokers(), words, "chrony").outcome is outcome


# The whole


def test_one_broken_check_does_not_hide_the_others() -> None:
    def broken() -> Iterator[Finding]:
        raise RuntimeError("oops")

    checks = [
        Check("a", broken),
        Check("b", lambda: [fine("b", "good")], needs=("a",)),
        Check("c", lambda: [fine("c", "good")], needs=("b",)),
        Check("d", lambda: [failed("d", "bad"), fine("d", "good")]),
    ]
    found = [(each.check, each.outcome.value) for each in examine(checks)]
    assert found == [("a", "failed"), ("b", "skipped"), ("c", "skipped"), ("d", "failed"),
                     ("d", "ok")]  # fmt: skip


def test_every_need_is_a_check_that_comes_before() -> None:
    seen: set[str] = set()
    for check in all_checks(network=True):
        assert set(check.needs) <= seen
        seen.add(check.name)


BEFORE = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("createkeyfile")
"""
MORE = """
from datetime import datetime, timedelta, UTC
from pooling.models import Instrument
Instrument.objects.create(broker="zerodha", exchange="NSE", symbol="INFY", broker_token="1",
                          broker_symbol="INFY", loaded=datetime.now(UTC))
from pooling.keys.crypto import load_sealer
from pooling import conf
account = BrokerAccount.objects.get()
account.endpoint = "ws://127.0.0.1:9"
account.set_credentials({"api_key": "k" * 8, "access_token": "t" * 8},
                        load_sealer(conf.key_file()))
account.credentials_expire = None
account.credentials_stored += timedelta(days=1)  # far from six o'clock
account.save()
"""


@pytest.mark.timeout(240)
def test_the_command_beside_a_running_worker_and_after_its_end(tmp_path: Path) -> None:
    """Bus round trip, heartbeats and exit codes, with real processes and a broken database last."""
    installation = Installation(tmp_path / "data")
    installation.env["PORT"] = str(free_port())
    code, out = installation.run("-c", BEFORE + ACCOUNT + MORE)
    assert code == 0, out
    worker = installation.start("manage.py", "runpool")

    said: list[str] = []

    def outcomes() -> dict[str, str]:
        code, out = installation.manage("pool", "doctor", "--json")
        report = json.loads(out[out.index("{\n") :])
        worst_last = sorted(report["findings"], key=lambda each: each["outcome"] == "failed")
        found = {each["check"]: each["outcome"] for each in worst_last}
        assert code == (0 if report["ok"] else 1)
        return found

    try:
        output = worker.stdout
        assert output is not None
        for line in output:
            if "serves 1 pool" in line:
                break
        drain = threading.Thread(target=lambda: said.append(output.read()))
        drain.start()
        found = eventually_sync(lambda: (seen := outcomes())["bus"] == "ok" and seen, timeout=60)
        assert isinstance(found, dict)
        assert found["database"] == found["writable"] == found["credentials"] == "ok"
        assert found["gateways"] == "failed"
        _, out = installation.manage("pool", "doctor")
        assert "answers at" not in out, "a line of the log within the report"
        # It stands still: the port is taken and nothing answers.
        worker.send_signal(signal.SIGSTOP)
        found = eventually_sync(
            lambda: (seen := outcomes())["workers"] == "failed" and seen, timeout=60
        )
        assert isinstance(found, dict)
        assert found["bus"] == "failed"
        _, out = installation.manage("pool", "doctor")
        hung = f"the worker of this installation (process {worker.pid}) does not answer since"
        assert out.count(hung) == 2, out
        assert f"kill -9 {worker.pid}" in out
    finally:
        worker.kill()
        worker.wait(10)
    drain.join(10)
    assert "arrived" not in said[0], "who looks is no gateway"
    output.close()
    found = eventually_sync(
        lambda: (seen := outcomes())["workers"] == "failed" and seen, timeout=60
    )
    assert isinstance(found, dict)
    assert found["bus"] == "failed"

    for file in installation.data_dir.glob("tickpool.sqlite3*"):
        file.unlink()
    (installation.data_dir / "tickpool.sqlite3").write_text("this is no database at all\n" * 50)
    found = outcomes()
    assert found["database"] == "failed"
    assert found["migrations"] == found["writable"] == found["workers"] == "skipped"
