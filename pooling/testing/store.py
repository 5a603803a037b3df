"""Accounts, credentials, instruments and history in memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from brokers.contract import Credentials
from brokers.pool_service import PoolStats
from brokers.types import Instrument, InstrumentKey
from pooling.contracts import AccountSpec, CommandVerb, TakenCommand, UsageSample
from pooling.history import PoolPast

__all__ = ["InMemoryAccountStore", "make_instrument"]


def make_instrument(number: int, exchange: str = "NSE") -> Instrument:
    """Return an instrument whose symbol and broker token carry ``number``."""
    return Instrument(InstrumentKey(exchange, f"S{number}"), str(number))


class InMemoryAccountStore:
    """An ``AccountStore`` of dictionaries; ``go_down`` makes every call fail until ``come_back``.

    ``instruments`` None knows every symbol of the form that ``make_instrument`` makes; ``load``
    replaces them. ``expiries`` are of what expired.
    """

    def __init__(
        self,
        *specs: AccountSpec,
        values: Mapping[str, str] | None = None,
        instruments: Mapping[InstrumentKey, Instrument] | None = None,
    ) -> None:
        self.specs = {spec.pool_id: spec for spec in specs}
        self.stored = {
            spec.pool_id: Credentials(values or {"token": "good"}, spec.credentials_version)
            for spec in specs
        }
        self.instruments = instruments
        self.expiries: dict[InstrumentKey, date | None] = {}
        self.revision = 0
        self.statuses: list[Sequence[PoolStats]] = []
        self.usage: list[UsageSample] = []
        self.events: list[tuple[str, str, str]] = []
        self.past: dict[str, PoolPast] = {}
        self.commands: list[TakenCommand] = []
        self.ended_commands: dict[int, tuple[bool, str]] = {}
        self.credential_reads = 0
        self._is_down = False

    def go_down(self) -> None:
        """Fail every call from now on."""
        self._is_down = True

    def come_back(self) -> None:
        """Answer again."""
        self._is_down = False

    def save_credentials(self, pool_id: str, values: Mapping[str, str]) -> int:
        """Store a newer credential, as an admin would, and return its version."""
        version = self.stored[pool_id].version + 1
        self.stored[pool_id] = Credentials(values, version)
        spec = self.specs[pool_id]
        self.specs[pool_id] = replace(spec, credentials_version=version)
        return version

    def load(
        self, *instruments: Instrument, expiries: Mapping[InstrumentKey, date | None] = {}
    ) -> None:
        """Make these the instruments of all brokers, as ``loadinstruments`` does."""
        self.instruments = {each.key: each for each in instruments}
        self.expiries = dict(expiries)
        self.revision += 1

    async def accounts(self) -> Sequence[AccountSpec]:
        """Return the specs."""
        self._check_up()
        return list(self.specs.values())

    async def credentials(self, pool_id: str) -> Credentials:
        """Return what is stored."""
        self._check_up()
        self.credential_reads += 1
        return self.stored[pool_id]

    async def resolve(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, Instrument]:
        """Return the known ones."""
        self._check_up()
        if self.instruments is not None:
            return {key: self.instruments[key] for key in keys if key in self.instruments}
        numbered = (key for key in keys if key.symbol[:1] == "S" and key.symbol[1:].isdigit())
        return {key: Instrument(key, key.symbol[1:]) for key in numbered}

    async def names_revision(self, broker: str) -> int:
        """Return how often ``load`` was called."""
        self._check_up()
        return self.revision

    async def expire(self) -> None:
        """Do nothing: tests say with ``load`` what expired."""
        self._check_up()

    async def expired(
        self, broker: str, keys: Sequence[InstrumentKey]
    ) -> Mapping[InstrumentKey, date | None]:
        """Return those of ``expiries``."""
        self._check_up()
        return {key: self.expiries[key] for key in keys if key in self.expiries}

    async def listed(self, broker: str, tokens: Collection[str]) -> Collection[str]:
        """Return those of ``instruments``."""
        self._check_up()
        if self.instruments is None:
            return {token for token in tokens if token.isdigit()}
        return {each.broker_token for each in self.instruments.values()}.intersection(tokens)

    async def why_nothing_listed(self, broker: str) -> str:
        """Say so where ``instruments`` are none."""
        self._check_up()
        return "nothing is loaded" if self.instruments == {} else ""

    async def save_status(self, worker_id: str, epoch: int, stats: Sequence[PoolStats]) -> None:
        """Keep the rows."""
        self._check_up()
        self.statuses.append(stats)

    async def save_usage(self, samples: Sequence[UsageSample]) -> None:
        """Keep the samples."""
        self._check_up()
        self.usage.extend(samples)

    async def pasts(self, pool_ids: Collection[str]) -> Mapping[str, PoolPast]:
        """Return what a test has put into ``past``."""
        self._check_up()
        return {pool_id: self.past[pool_id] for pool_id in pool_ids if pool_id in self.past}

    def ask(self, pool_id: str, verb: CommandVerb, **argument: Any) -> int:
        """Ask for something, as an operator would, and return its id."""
        number = len(self.commands) + len(self.ended_commands) + 1
        self.commands.append(TakenCommand(id=number, pool_id=pool_id, verb=verb, argument=argument))
        if verb in (CommandVerb.PAUSE, CommandVerb.RESUME):
            is_paused = verb is CommandVerb.PAUSE
            self.specs[pool_id] = replace(self.specs[pool_id], is_paused=is_paused)
        return number

    async def take_commands(
        self, worker_id: str, pool_ids: Collection[str]
    ) -> Sequence[TakenCommand]:
        """Hand out what was asked for, once."""
        self._check_up()
        taken = [command for command in self.commands if command.pool_id in pool_ids]
        self.commands = [command for command in self.commands if command not in taken]
        return taken

    async def finish_command(self, command_id: int, *, is_done: bool, result: str) -> None:
        """Keep the end."""
        self._check_up()
        self.ended_commands[command_id] = (is_done, result)

    async def record_event(self, pool_id: str, kind: str, message: str) -> None:
        """Keep the event."""
        self._check_up()
        self.events.append((pool_id, kind, message))

    def _check_up(self) -> None:
        if self._is_down:
            raise OSError("the store is down")
