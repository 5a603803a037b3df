"""Running one local exchange as a process: from arguments to a stop signal."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

from brokers.simulator.angel.exchange import AngelExchange
from brokers.simulator.angel.login import AngelLogin
from brokers.simulator.binance.capture import CaptureError, parse_capture
from brokers.simulator.binance.exchange import BinanceReplay
from brokers.simulator.dhan.exchange import DhanExchange
from brokers.simulator.dhan.login import DhanLogin
from brokers.simulator.exchange import LocalExchange
from brokers.simulator.fyers.exchange import FyersExchange
from brokers.simulator.fyers.login import FyersLogin
from brokers.simulator.login.desk import LoginDesk
from brokers.simulator.login.people import APP
from brokers.simulator.market import Market, build_market
from brokers.simulator.market_exchange import MarketExchange
from brokers.simulator.stamped import build_stamped_market
from brokers.simulator.upstox.exchange import UpstoxExchange
from brokers.simulator.upstox.login import UpstoxLogin
from brokers.simulator.upstox.subscriptions import UpstoxPlan
from brokers.simulator.zerodha.exchange import KiteExchange
from brokers.simulator.zerodha.login import KiteLogin
from brokers.times.market_clock import INDIA

__all__ = [
    "LOGINS",
    "MARKET_EXCHANGES",
    "PLANS",
    "SimulatorError",
    "build_exchange",
    "build_login",
    "build_replay",
    "run",
]

# The brokers that the simulated market can speak as.
MARKET_EXCHANGES: Mapping[
    str, type[KiteExchange | AngelExchange | DhanExchange | FyersExchange | UpstoxExchange]
] = {
    "zerodha": KiteExchange,
    "angel": AngelExchange,
    "dhan": DhanExchange,
    "fyers": FyersExchange,
    "upstox": UpstoxExchange,
}

# The login desks of those that have one.
LOGINS: Mapping[str, type[LoginDesk]] = {
    "zerodha": KiteLogin,
    "angel": AngelLogin,
    "dhan": DhanLogin,
    "fyers": FyersLogin,
    "upstox": UpstoxLogin,
}

# What their users may have paid for, the usual first.
PLANS: Mapping[str, tuple[str, ...]] = {"upstox": tuple(UpstoxPlan)}


class SimulatorError(Exception):
    """The local exchange cannot run; the message is one sentence for a person."""


def build_exchange(
    *,
    broker: str,
    port: int,
    rate: float,
    seed: int,
    api_key: str,
    access_token: str,
    control_token: str,
    plan: str | None = None,
    stamp: int | None = None,
) -> LocalExchange:
    """Return a broker's exchange whose market opens now.

    ``plan`` is one of the broker's in ``PLANS``; None: its usual one. ``stamp``: its prices are
    stamped with this number, see ``stamped``.

    Raises:
        SimulatorError: a bad argument, or a broker that is not in ``MARKET_EXCHANGES``.
    """
    kind = MARKET_EXCHANGES.get(broker)
    if kind is None:
        known = ", ".join(MARKET_EXCHANGES)
        raise SimulatorError(f"no local exchange speaks as {broker!r}; known: {known}")
    options: dict[str, Any] = {} if plan is None else {"plan": plan}
    if plan is not None and plan not in PLANS.get(broker, ()):
        plans = ", ".join(PLANS.get(broker, ())) or "none"
        raise SimulatorError(f"{broker} has no plan {plan!r}; known: {plans}")
    try:
        return kind(
            market=_market(seed, stamp),
            api_key=api_key,
            access_token=access_token,
            rate=rate,
            port=port,
            control_token=control_token,
            seed=seed,
            **options,
        )
    except ValueError as error:
        raise SimulatorError(str(error)) from None


def build_login(
    *, broker: str, port: int, redirect: str, control_token: str = ""
) -> LoginDesk | None:
    """Return a broker's login desk; None where it has none, or ``port`` is 0.

    Args:
        redirect: the address that is registered with the app there.
    """
    kind = LOGINS.get(broker)
    if kind is None or not port:
        return None
    return kind(app=replace(APP, redirect=redirect), port=port, control_token=control_token)


def _market(seed: int, stamp: int | None) -> Market:
    today, now_s = datetime.now(INDIA).date(), int(time.time())
    if stamp is None:
        return build_market(seed=seed, today=today, now_s=now_s)
    return build_stamped_market(number=stamp, seed=seed, today=today, clock=time.time)


def build_replay(
    *, replay: Path, port: int, speed: float, loop: bool, control_token: str
) -> BinanceReplay:
    """Return a replay of a capture file. Raises SimulatorError where it cannot be read."""
    try:
        capture = parse_capture(replay.read_bytes())
        return BinanceReplay(
            capture=capture, port=port, speed=speed, loop=loop, control_token=control_token
        )
    except OSError as error:
        raise SimulatorError(f"{replay} cannot be read: {error.strerror}") from None
    except CaptureError as error:
        raise SimulatorError(f"{replay} cannot be replayed: {error}") from None
    except ValueError as error:
        raise SimulatorError(str(error)) from None


def run(
    exchange: LocalExchange,
    *,
    port: int,
    announce: Callable[[str], None],
    login: LoginDesk | None = None,
    only_logins: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` gets a line with the URL of what listens.

    With ``only_logins`` the feed takes nothing but tokens of ``login``. A login desk whose port
    cannot be had is left out, and that is announced.

    Raises:
        SimulatorError: the port cannot be had.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(exchange, port, announce, login, only_logins))


async def _serve(
    exchange: LocalExchange,
    port: int,
    announce: Callable[[str], None],
    login: LoginDesk | None,
    only_logins: bool,
) -> None:
    stop, is_login_open = asyncio.Event(), False
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        await exchange.open()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise SimulatorError(
                f"Port {port} is already taken; free it or set SIMULATOR_PORT to another one."
            ) from None
        raise SimulatorError(f"Port {port} (SIMULATOR_PORT) cannot be used: {error}") from None
    try:
        announce(f"The local exchange listens on {exchange.url}")
        is_login_open = login is not None and await _opened(login, exchange, announce, only_logins)
        stopped = asyncio.create_task(stop.wait(), name="simulator stop")
        ended = asyncio.create_task(exchange.join(), name="simulator join")
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
    finally:
        if login is not None and is_login_open:
            await login.close()
        await exchange.close()
    await ended


async def _opened(
    login: LoginDesk, exchange: LocalExchange, announce: Callable[[str], None], only: bool
) -> bool:
    """Open the login desk beside its exchange; False where its port cannot be had."""
    try:
        await login.open()
    except OSError as error:
        announce(f"Nobody can log in: SIMULATOR_LOGIN_PORT cannot be used ({error.strerror})")
        return False
    if isinstance(exchange, MarketExchange):
        exchange.take_logins(login.tokens, only=only)
    announce(f"Logins are at {login.url}, which says who may")
    return True
