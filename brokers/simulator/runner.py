"""Running one local exchange as a process: from arguments to a stop signal."""

from __future__ import annotations

import asyncio
import errno
import signal
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import uvloop

from brokers.simulator.angel.exchange import AngelExchange
from brokers.simulator.binance.capture import CaptureError, parse_capture
from brokers.simulator.binance.exchange import BinanceReplay
from brokers.simulator.dhan.exchange import DhanExchange
from brokers.simulator.exchange import LocalExchange
from brokers.simulator.fyers.exchange import FyersExchange
from brokers.simulator.market import Market, build_market
from brokers.simulator.stamped import build_stamped_market
from brokers.simulator.upstox.exchange import UpstoxExchange
from brokers.simulator.upstox.subscriptions import UpstoxPlan
from brokers.simulator.zerodha.exchange import KiteExchange
from brokers.times.market_clock import INDIA

__all__ = ["MARKET_EXCHANGES", "PLANS", "SimulatorError", "build_exchange", "build_replay", "run"]

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


def run(exchange: LocalExchange, *, port: int, announce: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``announce`` gets one line, with the URL, once it listens.

    Raises:
        SimulatorError: the port cannot be had.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(exchange, port, announce))


async def _serve(exchange: LocalExchange, port: int, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
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
        stopped = asyncio.create_task(stop.wait(), name="simulator stop")
        ended = asyncio.create_task(exchange.join(), name="simulator join")
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
    finally:
        await exchange.close()
    await ended
