"""The demo from its arguments to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings

from brokers.contract import BrokerCapabilities
from brokers.endpoints.addresses import is_loopback
from brokers.exceptions import BrokerError, BrokerUnavailableError
from brokers.simulator.runner import MARKET_EXCHANGES
from openalgo_site.config.env import Environment
from openalgo_site.demo.installation import (
    DemoAccount,
    RealAccountsError,
    prepare_database,
)
from openalgo_site.demo.ports import PortUnusableError, check_ports
from openalgo_site.demo.runner import DemoPlan, NotReadyError, run_demo
from openalgo_site.demo.secrets_file import DemoFileError, DemoSecrets, read_or_create
from openalgo_site.processes.guarded import die_with_parent
from openalgo_site.processes.running_ports import say_running
from openalgo_site.processes.supervisor import ChildFailedError
from pooling import conf
from pooling.http.policy import RetryPolicy
from pooling.instruments.download import download_master

__all__ = ["DEMO_ERRORS", "DemoChoice", "DemoUsageError", "run"]

REACH_SECONDS = 10.0


class DemoUsageError(Exception):
    """The arguments do not fit together or name a file that is not there."""


DEMO_ERRORS = (
    RealAccountsError,
    BrokerError,
    ChildFailedError,
    DemoFileError,
    DemoUsageError,
    NotReadyError,
    OSError,
    PortUnusableError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoChoice:
    """Which demo: ``replay`` plays a capture as Binance, whatever ``broker`` says."""

    broker: str = "zerodha"
    replay: Path | None = None
    speed: float | None = None

    @property
    def simulated(self) -> bool:
        """Whether the exchange runs here."""
        return self.replay is not None or self.broker in MARKET_EXCHANGES

    @property
    def broker_name(self) -> str:
        """The broker whose adapter this demo uses."""
        return self.broker if self.replay is None else "binance"

    def account(
        self, env: Environment, secrets: DemoSecrets, capabilities: BrokerCapabilities
    ) -> DemoAccount:
        """Return the broker account that this demo uses, with the limits of its broker."""
        endpoint = f"ws://127.0.0.1:{env.simulator_port}" if self.simulated else ""
        if not capabilities.credential_fields:
            return DemoAccount(broker=capabilities.name, endpoint=endpoint, credentials={})
        # The local exchange checks these two; of the rest it takes whatever is not empty.
        checked = {
            "api_key": env.simulator_api_key or secrets.simulator_api_key,
            "access_token": env.simulator_access_token or secrets.simulator_access_token,
        }
        names = [field.name for field in capabilities.credential_fields]
        return DemoAccount(
            broker=capabilities.name,
            endpoint=endpoint,
            credentials={name: checked.get(name, "demo") for name in names},
            symbols_per_connection=capabilities.symbols_per_connection,
            max_connections=capabilities.max_connections,
        )

    def simulator_arguments(self) -> tuple[str, ...] | None:
        """Return the arguments of ``runsimulator``, or None for a real exchange."""
        if self.replay is None:
            return ("--broker", self.broker) if self.simulated else None
        speed = () if self.speed is None else ("--speed", f"{self.speed:g}")
        return ("--replay", str(self.replay.resolve()), *speed)


def run(choice: DemoChoice, *, with_parent: bool = False) -> None:
    """Prepare and run until a signal; returns when everything has ended.

    Raises one of ``DEMO_ERRORS``, whose text is a sentence for the person who started it.
    """
    started = time.monotonic()
    if with_parent:
        die_with_parent(signal.SIGTERM)
    env: Environment = settings.ENV
    try:
        with _interruptible():
            plan = _prepare(choice, env)
        with say_running(Path(settings.DATA_DIR), env):
            asyncio.run(run_demo(plan, _say, started))
    except KeyboardInterrupt:
        pass  # asked to stop before anything was started
    _flush()


def _download(url: str) -> bytes:
    # Somebody waits in front of the screen: no retries.
    options = replace(
        conf.http_options(), timeout_seconds=REACH_SECONDS, retry=RetryPolicy(retries=0)
    )
    with download_master(url, options=options) as master:
        return master.read()


def _prepare(choice: DemoChoice, env: Environment) -> DemoPlan:
    if choice.replay is not None and not choice.replay.is_file():
        raise DemoUsageError(f"{choice.replay} is not a file that could be replayed")
    check_ports(_ports(choice, env))
    data_dir = Path(settings.DATA_DIR)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    secrets_path = data_dir / "demo.json"
    secrets = read_or_create(secrets_path)
    adapter = conf.broker_registry().get(choice.broker_name)
    account = choice.account(env, secrets, adapter.capabilities)
    master = None
    if not choice.simulated:
        try:
            master = tuple(_download(url) for url in adapter.master_urls(None))
        except BrokerUnavailableError as error:
            raise BrokerUnavailableError(
                f"{adapter.capabilities.label} cannot be reached, and this demo needs it: {error}. "
                "`make run` needs no internet: it brings an exchange of its own"
            ) from error
    prepare_database(secrets, account, conf.key_file())
    return DemoPlan(
        base_dir=Path(settings.BASE_DIR),
        env=env,
        adapter=adapter,
        secrets=secrets,
        secrets_path=secrets_path,
        simulator_arguments=choice.simulator_arguments(),
        master=master,
    )


def _ports(choice: DemoChoice, env: Environment) -> Iterator[tuple[str, str, int]]:
    yield "PORT", env.host, env.port
    yield "OPENALGO_PORT", env.host, env.openalgo_port
    if not is_loopback(env.zmq_host) or settings.BUS_DIR is None:  # else it names socket files
        yield "ZMQ_PORT", env.zmq_host, env.zmq_port
    if choice.simulated:
        yield "SIMULATOR_PORT", "127.0.0.1", env.simulator_port
        yield "SIMULATOR_LOGIN_PORT", "127.0.0.1", env.simulator_login_port


def _say(text: str) -> None:
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more: stop as if asked to, and let later lines go nowhere.
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        os.kill(os.getpid(), signal.SIGTERM)


def _flush() -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the preparation as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> Any:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
