"""Requests of people to running pools, taken about once a second and carried out one by one."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from brokers.exceptions import BrokerConfigError
from brokers.registry import BrokerRegistry
from brokers.types import InstrumentKey
from brokers.words import counted, one_line, verb
from pooling.contracts import AccountStore, CommandVerb, TakenCommand
from pooling.exceptions import CommandRefusedError
from pooling.pool.pool import ConnectionPool

__all__ = ["CommandRunner"]

logger = logging.getLogger("pooling")

COMMAND_SECONDS = 10.0
MAX_UNTOLD = 64  # ends that the store has not taken yet; the oldest are given up first


class CommandRunner:
    """Carries out the requests to a worker's pools. Used on the worker's loop only.

    A request that fails ends as failed; neither the next one nor the worker notices.

    Args:
        store: where requests wait and their ends are written.
        worker_id: who takes them.
        pools: the worker's pools; read only.
        registry: the brokers.
        follow_accounts: has the pools be what the store says, now.
    """

    def __init__(
        self,
        *,
        store: AccountStore,
        worker_id: str,
        pools: Mapping[str, ConnectionPool],
        registry: BrokerRegistry,
        follow_accounts: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._worker_id = worker_id
        self._pools = pools
        self._registry = registry
        self._follow_accounts = follow_accounts
        # (command, whether it was done, result) that the store does not know of yet.
        self._untold: deque[tuple[int, bool, str]] = deque(maxlen=MAX_UNTOLD)

    async def look(self) -> None:
        """Take what waits, carry it out and write how it ended. May raise what stores do."""
        await self._tell()
        if not self._pools:
            return
        for command in await self._store.take_commands(self._worker_id, self._pools.keys()):
            is_done, result = await self._carry_out(command)
            logger.info(
                "pool %s: %s asked for, %s: %s",
                command.pool_id,
                command.verb,
                "done" if is_done else "failed",
                one_line(result),
                extra={"action": "pool_command"},
            )
            self._untold.append((command.id, is_done, result))
            await self._tell()

    async def _tell(self) -> None:
        while self._untold:
            command_id, is_done, result = self._untold[0]
            await self._store.finish_command(command_id, is_done=is_done, result=result)
            self._untold.popleft()

    async def _carry_out(self, command: TakenCommand) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return True, await self._result_of(command)
        except CommandRefusedError as error:
            return False, str(error)
        except TimeoutError:
            return False, f"It was not done within {COMMAND_SECONDS:g} s; look at the worker's log."
        except Exception:
            # Supervision point: a request that breaks something must not end the others.
            logger.exception("pool %s: %s failed unexpectedly", command.pool_id, command.verb)
            return False, "It failed unexpectedly; the worker's log says why."

    async def _result_of(self, command: TakenCommand) -> str:
        pool = self._pools.get(command.pool_id)
        if pool is None:
            raise CommandRefusedError("This worker does not have the pool any more; ask again.")
        argument = command.argument
        if command.verb in (CommandVerb.PAUSE, CommandVerb.RESUME):
            # The account remembers it; reading the accounts again is what carries it out.
            await self._follow_accounts()
            return _paused(pool) if pool.spec.is_paused else _resumed(pool)
        if command.verb is CommandVerb.RECONNECT:
            return pool.operator.reconnect(argument.get("slot"))
        if command.verb is CommandVerb.DRAIN:
            return pool.operator.drain(int(argument["slot"]))
        if command.verb is CommandVerb.REBALANCE:
            return pool.operator.rebalance()
        if command.verb is CommandVerb.PREVIEW:
            return await self._preview(pool, argument)
        return pool.operator.unsubscribe([InstrumentKey(*key) for key in argument["keys"]])

    async def _preview(self, pool: ConnectionPool, argument: Mapping[str, Any]) -> str:
        limits = {name: value for name, value in argument.items() if name != "settings"}
        capabilities = None
        if "settings" in argument:
            try:
                adapter = self._registry.get(pool.spec.broker, argument["settings"])
            except BrokerConfigError as error:
                raise CommandRefusedError(f"{error}.") from None
            capabilities = adapter.capabilities
        options = replace(pool.spec.options, **limits)
        return (await pool.operator.preview(options, capabilities)).sentence()


def _paused(pool: ConnectionPool) -> str:
    symbols = pool.get_stats().wanted
    wait = verb(symbols, "waits", "wait")
    return (
        "The pool is paused: its connections are closed, and "
        f"{counted(symbols, 'symbol')} {wait} for it."
    )


def _resumed(pool: ConnectionPool) -> str:
    symbols = pool.get_stats().wanted
    if not symbols:
        return "The pool is resumed; nothing is subscribed."
    return f"The pool is resumed: connections open for {counted(symbols, 'symbol')}."
