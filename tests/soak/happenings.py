"""Does to the system what happens in an hour of its life; each returns when all is back."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Sequence

from tests.soak.market import Name, changed_master
from tests.soak.plan import Happening, Planned
from tests.soak.processes import run_manage
from tests.soak.system import System
from tests.soak.verdict import Event, Names

__all__ = ["Actor"]

_DOWN_SECONDS = 2.0  # how long a restarted server is away
_WAITING_SECONDS = 5.0  # how long lowered limits and an ended token last
_FEW_SYMBOLS, _ENOUGH_SYMBOLS = "10", "100"
# The longest whose prices of before must not come back, and longer than any broker's silence.
_INTERRUPTION_SECONDS = 28.0


class Actor:
    """Does events one after the other.

    Args:
        system: what they are done to.
        names: what names mean, by exchange's number; loads write down what they change.
        on_gone: called with names that can no longer be had.
        interruption_seconds: how long a link is dead or an account off.
    """

    def __init__(
        self,
        system: System,
        names: dict[int, Names],
        on_gone: Callable[[Sequence[Name]], Awaitable[None]],
        interruption_seconds: float = _INTERRUPTION_SECONDS,
    ) -> None:
        self._system = system
        self._names = names
        self._on_gone = on_gone
        self._interruption_seconds = interruption_seconds
        self._loads = 0
        self._tokens = 1
        self._numbers = {Happening.LINK_DEAD: 0, Happening.ACCOUNT_OFF: 0}
        self.replacing = ""  # the process that is being replaced now

    async def do(self, planned: Planned) -> Event:
        """Do one event; what fails is told in it and does not end the run."""
        begin, error = time.time(), ""
        number = self._number(planned.happening)
        try:
            await self._action(planned, number)
        except (OSError, RuntimeError, TimeoutError) as failure:
            error = f"{type(failure).__name__}: {failure}"[:600]
        finally:
            self.replacing = ""
        return Event(planned.happening, planned.target, begin, time.time(), number, error)

    def _number(self, happening: Happening) -> int:
        """Return the exchange that an interruption is of: each in turn."""
        if happening not in self._numbers:
            return 0
        turn = self._numbers[happening]
        self._numbers[happening] += 1
        return self._system.exchanges[turn % len(self._system.exchanges)].number

    async def _action(self, planned: Planned, number: int) -> None:
        match planned.happening:
            case Happening.GATEWAY_STOPPED:
                await self._replace_gateway(planned.target, signal.SIGTERM)
            case Happening.GATEWAY_KILLED:
                await self._replace_gateway(planned.target, signal.SIGKILL)
            case Happening.WORKER_STOPPED:
                await self._replace_worker(signal.SIGTERM)
            case Happening.WORKER_KILLED:
                await self._replace_worker(signal.SIGKILL)
            case Happening.TOKEN_ENDED:
                await self._end_token()
            case Happening.INSTRUMENTS_LOADED:
                await self._load()
            case Happening.LIMITS_EDITED:
                await self._edit_limits()
            case Happening.LINK_DEAD:
                await self._kill_link(number)
            case Happening.ACCOUNT_OFF:
                await self._switch_off(number)
            case _:
                await self._restart_server(planned.happening)

    async def _replace_gateway(self, name: str, number: signal.Signals) -> None:
        gateway = next(each for each in self._system.gateways if each.name == name)
        self.replacing = name
        code = await gateway.end(number)
        await gateway.start()
        await gateway.serves()
        _check(name, number, code)

    async def _replace_worker(self, number: signal.Signals) -> None:
        self.replacing = "worker"
        code = await self._system.worker.end(number)
        await asyncio.sleep(_DOWN_SECONDS)
        await self._system.worker.start()
        await asyncio.sleep(_DOWN_SECONDS)  # the gateways may not have noticed the end before
        for gateway in self._system.gateways:
            await gateway.serves()
        _check("worker", number, code)

    async def _restart_server(self, happening: Happening) -> None:
        system = self._system
        if happening is Happening.NGINX_RELOADED:
            await system.nginx.reload()
        elif happening is Happening.REDIS_RESTARTED:
            await system.redis.stop()
            await asyncio.sleep(_DOWN_SECONDS)
            await system.redis.start()
        else:
            await system.postgres.stop()
            await asyncio.sleep(_DOWN_SECONDS)
            await system.postgres.start()
        await asyncio.sleep(_DOWN_SECONDS)

    async def _end_token(self) -> None:
        exchange, user = self._system.exchanges[0], self._system.users[0]
        self._tokens += 1
        token = f"token-{self._tokens}"
        await exchange.do("expire_token")
        await exchange.do("drop")
        await asyncio.sleep(_WAITING_SECONDS)
        await exchange.do(f"set_token?access_token={token}")
        await self._system.store(user, exchange.broker, token)
        await asyncio.sleep(_WAITING_SECONDS)

    async def _load(self) -> None:
        system = self._system
        # The names that the first two users share: a change reaches two pools.
        shared = [name for name in system.users[0].names if name in system.users[1].names][-15:]
        change = changed_master(system.today, self._loads, shared)
        self._loads += 1
        master = system.folder / f"master-{self._loads}.csv"
        master.write_bytes(change.master)
        changed = [
            self._names[user.number]
            for user, exchange in zip(system.users, system.exchanges, strict=True)
            if exchange.broker == "zerodha"
        ]
        for names in changed:
            names.may_change(time.time(), change.names)
        await system.load("zerodha", master)
        for names in changed:
            names.have_changed(time.time(), change.names)
        await self._on_gone([name for name, meant in change.names.items() if meant is None])
        await system.load("angel")

    async def _edit_limits(self) -> None:
        pool = self._system.users[1].pool
        for symbols in (_FEW_SYMBOLS, _ENOUGH_SYMBOLS):
            arguments = ("set-limit", pool, "--symbols-per-connection", symbols, "--yes")
            await run_manage(self._system.environment, "pool", *arguments, "--wait", "60")
            await asyncio.sleep(_WAITING_SECONDS)

    async def _kill_link(self, number: int) -> None:
        exchange = self._system.exchanges[number - 1]
        await exchange.do("go_silent")
        await asyncio.sleep(self._interruption_seconds)
        await exchange.do("speak")

    async def _switch_off(self, number: int) -> None:
        user = self._system.users[number - 1]
        await self._system.switch(user, on=False)
        await asyncio.sleep(self._interruption_seconds)
        await self._system.switch(user, on=True)
        everybody = f'"total": {len(self._system.users)}'
        for gateway in self._system.gateways:
            await gateway.answers(f"http://127.0.0.1:{gateway.port}/readyz", everybody)
        await asyncio.sleep(2 * _WAITING_SECONDS)  # until the gateways have looked at the accounts


def _check(name: str, number: signal.Signals, code: int) -> None:
    if number is signal.SIGTERM and code != 0:
        raise RuntimeError(f"{name} ended with {code} when it was told to stop")
