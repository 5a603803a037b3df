"""A worker or a gateway that stands still for seconds, and what its clients get once it goes on.

The exchange's prices say at which second they were made, so that an old one is known by itself.
What came before the process goes on has been read by then: ages are counted from that moment, and
do not depend on how fast the test is.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from brokers.simulator.stamped import WRAP_SECONDS, read_stamp
from tests.support import eventually_sync, free_port

ROOT = Path(__file__).resolve().parents[2]
STOPPED_SECONDS = 8.0
OLD_SECONDS = 5  # four, and one that is lost in stamps of whole seconds
SYMBOLS = ("RELIANCE", "INFY", "TCS", "HDFCBANK", "SBIN")

pytestmark = pytest.mark.timeout(240)


class System:
    """A stamped exchange, a worker and a gateway, each a process of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        names = ("PORT", "OPENALGO_PORT", "ZMQ_PORT", "SIMULATOR_LOGIN_PORT")
        self.ports = {name: str(free_port()) for name in names}
        self.env = {
            **os.environ,
            **self.ports,
            "DATA_DIR": str(folder),
            "DATABASE_URL": "",
            "REDIS_URL": "",
            "GATEWAY_WORKERS": "1",
        }
        port = free_port()
        options = {"--broker": "zerodha", "--port": port, "--rate": 300, "--stamp": 1}
        words = [str(word) for option in options.items() for word in option]
        self._start("exchange", "runsimulator", *words, "--access-token", "token")
        eventually_sync(lambda: "listens on" in self.log("exchange"), timeout=120)
        self.key = self._prepare(f"ws://127.0.0.1:{port}")
        url = f"http://127.0.0.1:{port}/instruments"
        self._run("manage.py", "loadinstruments", "--broker", "zerodha", "--url", url)
        self.worker = self._start("worker", "runpool")
        self.gateway = self._start("gateway", "rungateway")
        eventually_sync(lambda: "answers at" in self.log("gateway"), timeout=120)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def client(self, path: str = "/ws") -> Client:
        return self._stack.enter_context(Client.connected(self, path))

    def _prepare(self, endpoint: str) -> str:
        user: dict[str, Any] = {
            "name": "trader",
            "password": "unused-here",
            "broker": "zerodha",
            "endpoint": endpoint,
            "credentials": {"api_key": "simulator-key", "access_token": "token"},
            "symbols_per_connection": None,
            "list": [],
        }
        said = self._run("-m", "tests.soak.installation", "prepare", given={"users": [user]})
        key: str = json.loads(said)["trader"]["key"]
        return key

    def _run(self, *arguments: str, given: object = None) -> str:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.env,
            input=json.dumps(given),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def _start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self.folder / f"{name}.log").open("w"))
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.env,
            stdout=log,
            stderr=log,
        )
        self._stack.callback(process.wait, 60)
        self._stack.callback(process.kill)
        return process


class Client:
    """A client of a few symbols that keeps book of what it may take for live."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self.feeds: list[tuple[str, str]] = []  # status and reason, of the pool and of symbols
        self.stamps: list[int] = []  # the seconds of the prices, as they came

    @classmethod
    @contextmanager
    def connected(cls, system: System, path: str) -> Iterator[Client]:
        url = f"ws://127.0.0.1:{system.ports['OPENALGO_PORT']}{path}"
        protocols: Any = ["tickpool.batch.v1"] if "interval" in path else None
        with connect(url, proxy=None, legacy=True, open_timeout=60, subprotocols=protocols) as it:
            client = cls(it)
            client.ask(action="authenticate", api_key=system.key)
            client.ask(action="subscribe_status")
            symbols = [{"exchange": "NSE", "symbol": symbol} for symbol in SYMBOLS]
            client.ask(action="subscribe", symbols=symbols, mode="LTP")
            yield client

    def ask(self, **request: object) -> None:
        self._socket.send(json.dumps(request))

    def read(self, seconds: float) -> bool:
        """Take one message in, if one comes so soon."""
        try:
            message = json.loads(self._socket.recv(seconds))
        except TimeoutError:
            return False
        kind = message.get("type")
        if kind == "feed":
            self.feeds.append((message["status"], message.get("reason", "")))
        for tick in message["ticks"] if kind == "ticks" else [message]:
            if tick.get("type") == "market_data":
                self.stamps.append(read_stamp(round(tick["data"]["ltp"] * 100)).second)
        return True

    def read_until(self, moment: float) -> None:
        """Take in what comes until then, monotonic seconds."""
        while (left := moment - time.monotonic()) > 0:
            self.read(left)

    def read_to_the_end(self) -> None:
        """Take in all that is on its way from who stands still: it ends."""
        while self.read(0.2):
            pass

    def until_it_ticks(self) -> None:
        """Wait for prices of now: the newest is of the last two seconds."""

        def is_current() -> bool:
            self.read(0.5)
            return bool(self.stamps) and (time.time() - self.stamps[-1]) % WRAP_SECONDS < 3

        eventually_sync(is_current, timeout=120)


def oldest(stamps: list[int], moment: float) -> int:
    """The greatest age at ``moment``, unix seconds, of prices; those made later are of no age."""
    ages = [(int(moment) - stamp) % WRAP_SECONDS for stamp in stamps]
    return max(age if age < WRAP_SECONDS // 2 else 0 for age in ages)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with ExitStack() as stack:
        yield System(tmp_path_factory.mktemp("held_up"), stack)


@pytest.mark.parametrize("path", ["/ws", "/ws?interval=50"])
@pytest.mark.parametrize("name", ["worker", "gateway"])
def test_nothing_of_before_passes_for_live_once_it_goes_on(
    system: System, name: str, path: str
) -> None:
    """Clients hear that prices are stale, and what comes then is of now, in whatever form."""
    process: subprocess.Popen[bytes] = getattr(system, name)
    with ExitStack() as stack:
        client = stack.enter_context(Client.connected(system, path))
        client.until_it_ticks()
        process.send_signal(signal.SIGSTOP)
        try:
            client.read_until(time.monotonic() + STOPPED_SECONDS)
            client.read_to_the_end()
            before = len(client.feeds)
            client.stamps.clear()
            went_on = time.time()
        finally:
            process.send_signal(signal.SIGCONT)
        client.until_it_ticks()
        client.read_until(time.monotonic() + 1.0)
    assert oldest(client.stamps, went_on) <= OLD_SECONDS
    told = client.feeds if name == "worker" else client.feeds[before:]
    assert "stale" in {status for status, _ in told}
    assert f"this {name} was held up for" in system.log(name)
    if name == "gateway":
        assert told[0][0] == "stale"
        assert "this gateway was held up for" in told[0][1]
