"""No secret shows anywhere: planted in every field that takes one, looked for in all that is seen.

The demo is run with a planted secret in each place; everything that comes out of it is kept: pages,
metrics, frames, log lines at DEBUG, what is on the bus, the database, what other users of the
machine see of the processes. None of it may hold one.
"""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
import zmq
from redis import Redis
from websockets.asyncio.client import connect

from openalgo_site.demo.secrets_file import DemoSecrets, write
from streaming.wire.keys import CurveKeys
from tests.fault.test_demo import RunningDemo, demo
from tests.support import eventually_sync, free_port

pytestmark = pytest.mark.timeout(240)

# Letters and digits only, so that no encoding changes them.
PLANTED = {
    "password of the user": "canarypassword7b1e0c52",
    "API key of the user": "5ca1ab1e" * 8,
    "api_key of the account": "canarykiteapikey61f2",
    "access_token of the account": "canarykiteaccess90ad33",
    "api_key that the broker refuses": "canaryrefusedkey04c7",
    "access_token that the broker refuses": "canaryrefusedaccess5b9",
    "path of the webhook": "canarywebhookpath8d21",
    "secret of the webhook": "canarysigningsecret3e77",
    "password of the mail server": "canarymailpassword22ab",
    "key of Django": "canarydjangosecretkey" + "x7" * 20,
    "token of the exchange's faults": "canarycontroltoken19f",
    "secret key of the bus": "canarybussecret5d07aa91c3e26f48b70d12e9a",
    "password of Redis": "canaryredispassword71be",
    "key of the metrics": "canarymetricskey3ab09f",
    "API key that nobody has": "deadca7a" * 8,
    "password that nobody has": "canarywrongpassword66",
    "API secret of the app": "canaryapisecret4417fe",
    "TOTP secret": "CANARYTOTPSECRETXYZ23456",
    "code of a login": "canarylogincode83bd5519",
    "state of a login that nobody began": "canarystate" + "f3" * 16,
}
# Six digits stand elsewhere by chance, so this one is looked for where logins are spoken of.
PIN = "840273"
_HAS_PIN = re.compile(rf"(?<!\d){PIN}(?!\d)")
_OF_LOGINS = re.compile(r"pin\b|login|totp|dhan|httpx", re.I)
OF_DEMO = ("password of the user", "API key of the user")
OF_SIMULATOR = {
    "api_key of the account",
    "access_token of the account",
    "token of the exchange's faults",
}
BY_ENVIRONMENT = {
    "simulator": OF_SIMULATOR | {"key of Django"},
    "worker": {"key of Django", "password of the mail server", "password of Redis"},
    "gateway": {"key of Django", "password of Redis", "key of the metrics"},
}


# Instruments are ten thousand and the broker's; logging out would end the walk.
LEFT_OUT = re.compile(r"logout|^/static/|/instrument/\d+/")


class Seen:
    """All that came out, by where it was seen."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: str | bytes) -> None:
        found = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        self.texts[where] = self.texts.get(where, "") + found

    def has(self, where: str, words: str) -> bool:
        return words in self.texts.get(where, "")

    def leaks(self) -> list[str]:
        """Say which secret was seen where."""
        return [
            f"{name}: {where}"
            for where, text in self.texts.items()
            for name, value in PLANTED.items()
            if value in text
        ] + [
            f"PIN: {where}: {line}"
            for where, text in self.texts.items()
            for line in text.splitlines()
            if _HAS_PIN.search(line) and _OF_LOGINS.search(line)
        ]


class Webhook(BaseHTTPRequestHandler):
    got: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append(f"{self.path} {self.headers['TickPool-Signature']} {body.decode()}")
        self.send_response(500 if len(self.got) == 1 else 200)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


class Dhan(BaseHTTPRequestHandler):
    """The login of a broker that takes PIN and code in its query, and refuses them."""

    got: list[str]

    def do_POST(self) -> None:
        self.got.append(self.path)
        body = b'{"status":"error","message":"Invalid Pin"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[str]]]:
    """A webhook that fails at first; yields its address and what it got."""
    yield from serving(Webhook)


@pytest.fixture
def dhan() -> Iterator[tuple[str, list[str]]]:
    """Dhan's login; yields its address and what it was asked."""
    yield from serving(Dhan)


def serving(kind: type[BaseHTTPRequestHandler]) -> Iterator[tuple[str, list[str]]]:
    got: list[str] = []
    handler = type("Handler", (kind,), {"got": got})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join(10)
    server.server_close()


class Browser:
    """A person in the admin; every page is kept."""

    def __init__(self, client: httpx2.Client, seen: Seen) -> None:
        self._client = client
        self._seen = seen

    def get(self, path: str) -> httpx2.Response:
        answer = self._client.get(path)
        self._keep(path, answer)
        return answer

    def post(self, path: str, data: dict[str, str]) -> httpx2.Response:
        """Send the form of a page; what the page held and ``data`` does not name stays."""
        page = self.get(path)
        fields = dict(
            re.findall(r'<input type="hidden" name="([^"]+)"(?: value="([^"]*)")?', page.text)
        )
        headers = {"Referer": str(page.url)}
        answer = self._client.post(path, data={**fields, **data}, headers=headers)
        self._keep(path, answer)
        return answer

    def come_back(self, address: str) -> None:
        """Follow a broker's page back; what it sent along may stand nowhere afterwards."""
        answer = self._client.get(address)
        assert "?" not in str(answer.url)
        self._keep("after the callback", answer)

    def _keep(self, path: str, answer: httpx2.Response) -> None:
        self._seen.add(f"page {path}", answer.text)
        self._seen.add(f"headers {path}", str(dict(answer.headers)))


def bus_key_file(folder: Path) -> CurveKeys:
    """Make the file of the bus's keys as ``createkeyfile --bus`` does, of the planted secret."""
    secret = PLANTED["secret key of the bus"].encode()
    public = zmq.curve_public(secret)
    file = folder / "bus.key"
    text = 'metadata\ncurve\n    public-key = "{}"\n    secret-key = "{}"\n'
    file.write_text(text.format(public.decode(), secret.decode()))
    file.chmod(0o600)
    return CurveKeys(public, secret)


@pytest.fixture
def redis_with_password(redis_url: str) -> str:
    """A user of its own in the tests' Redis; returns the URL that lets in with the password."""
    password = PLANTED["password of Redis"]
    with Redis.from_url(redis_url) as server:
        server.acl_setuser(
            "canary", enabled=True, passwords=[f"+{password}"], keys=["*"], channels=["*"],
            categories=["+@all"],
        )  # fmt: skip
    return redis_url.replace("redis://", f"redis://canary:{password}@")


def sniff(port: str, keys: CurveKeys, seen: Seen, is_over: threading.Event) -> None:
    """Read everything that a worker says on the bus."""
    context = zmq.Context()
    with context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        keys.protect_client(socket)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(f"tcp://127.0.0.1:{port}")
        while not is_over.is_set():
            if socket.poll(100):
                seen.add("bus", b" ".join(socket.recv_multipart()))
    context.term()


async def use(ready: dict[str, Any], seen: Seen) -> None:
    """A client that is refused, then one that subscribes and reads ticks."""
    async with connect(ready["openalgo_url"]) as socket:
        await socket.send(
            json.dumps({"action": "authenticate", "api_key": PLANTED["API key that nobody has"]})
        )
        seen.add("frames", await socket.recv())
    async with connect(ready["openalgo_url"]) as socket:
        await socket.send(json.dumps({"action": "authenticate", "api_key": ready["api_key"]}))
        seen.add("frames", await socket.recv())
        for action in ("get_broker_info", "list_subscriptions", "subscribe_status"):
            await socket.send(json.dumps({"action": action}))
        wanted = [{"exchange": "NSE", "symbol": "RELIANCE"}]
        await socket.send(json.dumps({"action": "subscribe", "symbols": wanted, "mode": "Quote"}))
        async with asyncio.timeout(60):
            # The bus is heard on a socket of its own, which may be connected later.
            while '"market_data"' not in seen.texts["frames"] or not seen.has("bus", "RELIANCE"):
                seen.add("frames", await socket.recv())


def work(
    browser: Browser, running: RunningDemo, ready: dict[str, Any], webhook: str, seen: Seen
) -> None:
    """Do what brings each secret into the system, by hand as a person would."""
    wrong = {"username": "demo", "password": PLANTED["password that nobody has"]}
    assert "Please enter the correct" in browser.post("/admin/login/", wrong).text
    right = {"username": "demo", "password": ready["password"]}
    assert "Pools at a glance" in browser.post("/admin/login/?next=/admin/", right).text
    asyncio.run(use(ready, seen))
    accounts = "/admin/pooling/brokeraccount/"
    targets = "/admin/pooling/alerttarget/"
    account = {
        "user": "1",
        "broker": "zerodha",
        "label": "refused",
        "endpoint": f"ws://127.0.0.1:{running.ports['SIMULATOR_PORT']}",
        "enabled": "on",
        "credential_zerodha_api_key": PLANTED["api_key that the broker refuses"],
        "credential_zerodha_access_token": PLANTED["access_token that the broker refuses"],
        "config-0-warm_connections": "1",
        "_continue": "Save",
    }
    assert browser.post(f"{accounts}add/", account).url.path == f"{accounts}2/change/"
    target = {
        "account": "1",
        "kind": "webhook",
        "url": f"http://{webhook}/{PLANTED['path of the webhook']}",
        "secret": PLANTED["secret of the webhook"],
        "tells_recovery": "on",
        "enabled": "on",
    }
    assert browser.post(f"{targets}add/", target).url.path == targets
    spoiled = {**target, "url": f"ftp://x/{PLANTED['path of the webhook']}"}
    assert "Enter a URL such as" in browser.post(f"{targets}add/", spoiled).text
    log_in_at_brokers(browser)
    assert "The pool is paused" in browser.post(f"{accounts}1/operate/pause/", {}).text
    crawl(browser)


def log_in_at_brokers(browser: Browser) -> None:
    """Log in by a page with a code that the broker refuses, and by PIN and TOTP likewise."""
    app = {
        "label": "morning",
        "api_key": "publicapp0001",
        "api_secret": PLANTED["API secret of the app"],
    }
    going = browser.post("/brokers/add/zerodha/", app).text
    state = re.search(r"state(?:=|%3D|%253D)([\w-]{20,})", going)
    assert state is not None
    callback = "/brokers/zerodha/callback/?type=login&status=success"
    code = PLANTED["code of a login"]
    nobodys = PLANTED["state of a login that nobody began"]
    browser.come_back(f"{callback}&request_token={code}&state={nobodys}")
    browser.come_back(f"{callback}&request_token={code}&state={state[1]}")
    by_itself = {
        "label": "night",
        "client_id": "1000000009",
        "pin": PIN,
        "totp_secret": PLANTED["TOTP secret"],
        "unattended": "on",
        "unattended_at": "08:05",
        "consent": "on",
    }
    browser.post("/brokers/add/dhan/?kind=unattended", by_itself)

    def ended() -> bool:
        cards = browser.get("/brokers/cards.json").json()["cards"]
        return sum(each["attempt"] is None and bool(each["last"]) for each in cards) == 2

    eventually_sync(ended, timeout=60, message="a login did not end")


def crawl(browser: Browser) -> None:
    """Look at every page that one can come to from the first ones, and at each row's pages."""
    waiting = [
        "/admin/",
        "/",
        "/metrics",
        "/readyz",
        "/livez",
        "/api/pools",
        "/api/instruments?q=R",
    ]
    done: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in done or LEFT_OUT.search(path):
            continue
        done.add(path)
        page = browser.get(path)
        if "html" in page.headers.get("content-type", ""):
            found = re.findall(r'href="(/[^"#?]*)"', page.text)
            waiting += [each for each in found if each not in done][:60]
    assert {"/admin/pooling/brokeraccount/2/history/", "/admin/pooling/alerttarget/"} <= done


def tells_paused(got: list[str]) -> bool:
    """Whether the pause was told; on a slow machine other states may be told before it."""
    return any('"state":"paused"' in each for each in got)


def pids_of(ready: dict[str, Any]) -> dict[str, int]:
    processes = ready["processes"]
    (gateway,) = processes["gateway"]
    return {"worker": processes["worker"], "gateway": gateway, "simulator": processes["simulator"]}


def look_at_processes(ready: dict[str, Any], demo_pid: int, seen: Seen) -> None:
    for name, pid in {**pids_of(ready), "demo": demo_pid}.items():
        seen.add(f"command line of {name}", Path(f"/proc/{pid}/cmdline").read_bytes())
    for name, pid in pids_of(ready).items():
        environment = Path(f"/proc/{pid}/environ").read_bytes().decode()
        for known in BY_ENVIRONMENT[name]:
            environment = environment.replace(PLANTED[known], "")
        seen.add(f"environment of {name}", environment)


def look_at_files(data_dir: Path, seen: Seen) -> None:
    for file in data_dir.rglob("*"):
        if file.is_file() and file.name != "demo.json":
            seen.add(f"file {file.name}", file.read_bytes())
    with sqlite3.connect(data_dir / "tickpool.sqlite3") as database:
        seen.add("database dump", "\n".join(database.iterdump()))
    database.close()


def test_no_planted_secret_is_seen_anywhere(
    tmp_path: Path,
    webhook: tuple[str, list[str]],
    dhan: tuple[str, list[str]],
    redis_with_password: str,
) -> None:
    (address, got), (dhan_address, asked) = webhook, dhan
    feed, login = free_port(), free_port()
    data_dir, key_dir = tmp_path / "data", tmp_path / "keys"
    data_dir.mkdir()
    key_dir.mkdir()
    keys = bus_key_file(key_dir)
    write(
        data_dir / "demo.json",
        DemoSecrets(
            username="demo",
            password=PLANTED["password of the user"],
            api_key=PLANTED["API key of the user"],
            simulator_api_key=PLANTED["api_key of the account"],
            simulator_access_token=PLANTED["access_token of the account"],
        ),
    )
    seen, is_over = Seen(), threading.Event()
    environment = {
        "LOG_LEVEL": "DEBUG",
        "LOG_LIBRARIES_LEVEL": "DEBUG",
        "SECRET_KEY": PLANTED["key of Django"],
        "SIMULATOR_CONTROL_TOKEN": PLANTED["token of the exchange's faults"],
        "SIMULATOR_RATE": "50",
        "EMAIL_HOST": "127.0.0.1",
        "EMAIL_PORT": "1",
        "EMAIL_USER": "tickpool",
        "EMAIL_PASSWORD": PLANTED["password of the mail server"],
        "METRICS_KEY": PLANTED["key of the metrics"],
        "ALERT_HOLD_SECONDS": "0",
        "ALERT_WEBHOOK_HOSTS": address,
        "ZMQ_CURVE_KEY_FILE": str(key_dir / "bus.key"),
        "REDIS_URL": redis_with_password,
        "SIMULATOR_PORT": str(feed),
        "SIMULATOR_LOGIN_PORT": str(login),
        "LOCAL_EXCHANGES": f"zerodha=ws://127.0.0.1:{feed} http://127.0.0.1:{login},"
        f"dhan=ws://127.0.0.1:1 http://{dhan_address}",
    }
    with demo(data_dir, **environment) as running:
        running.ports["SIMULATOR_PORT"] = str(feed)
        ready = running.ready()
        port = running.ports["ZMQ_PORT"]
        sniffer = threading.Thread(target=sniff, args=(port, keys, seen, is_over))
        sniffer.start()
        try:
            with httpx2.Client(base_url=ready["url"], follow_redirects=True, timeout=30) as client:
                work(Browser(client, seen), running, ready, address, seen)
            # The first attempt fails, so that a retry and its log line are seen too.
            eventually_sync(lambda: tells_paused(got[1:]), timeout=60, message="no alert came")
            look_at_processes(ready, running.process.pid, seen)
        finally:
            is_over.set()
            sniffer.join(10)
        running.process.terminate()
        assert running.wait(60) == 0
        lines = [
            line for line in running.lines if re.match(r"(worker|gateway|simulator)\s+\|", line)
        ]
        seen.add("log", "\n".join(lines))
    look_at_files(data_dir, seen)
    assert seen.leaks() == []
    # That nothing was found means something only if there was something to be found in.
    assert all(PLANTED["path of the webhook"] in each for each in got)
    assert any(f"pin={PIN}" in each and re.search(r"totp=\d{6}", each) for each in asked)
    assert "RELIANCE" in seen.texts["bus"]
    assert '"market_data"' in seen.texts["frames"]
    assert "tickpool_clients" in seen.texts["page /metrics"]
    assert "DEBUG" in seen.texts["log"]
    assert "sealed1." in seen.texts["database dump"]
    assert PLANTED["password of the user"] in "\n".join(running.lines)
