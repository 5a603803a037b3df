"""Shipped fakes for tests of pools: time that costs nothing, a store in memory, a broker in memory.

``FakeBroker`` is the other end of every ``FakeTransport``: it is given to a pool as its connector,
keeps a record of what it was asked, and fails by verbs. ``make_adapter_class`` builds the adapter
that speaks with it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from brokers.base import (
    BrokerAdapter,
    BrokerCapabilities,
    BrokerEvent,
    Confirmed,
    Credentials,
    Handshake,
    ReconnectSoon,
    SubscriptionRejected,
)
from brokers.exceptions import BrokerConfigError, BrokerLimitError, BrokerProtocolError
from brokers.feed import PoolStats
from brokers.types import (
    FeedMode,
    Instrument,
    InstrumentKey,
    InstrumentRow,
    Subscription,
    Tick,
    TickSink,
)
from pooling.contracts import AccountSpec, TakenCommand, UsageSample
from pooling.exceptions import ConnectionLostError
from pooling.history import PoolPast
from pooling.transport import UpgradeRefusedError

__all__ = [
    "FakeAdapter",
    "FakeBroker",
    "FakeClock",
    "FakeTransport",
    "InMemoryAccountStore",
    "MiddleOfRange",
    "VirtualClock",
    "VirtualTimeLoop",
    "make_adapter_class",
    "make_instrument",
]

EPOCH_MS = 1_767_600_000_000


def make_instrument(number: int, exchange: str = "NSE") -> Instrument:
    """Return an instrument whose symbol and broker token carry ``number``."""
    return Instrument(InstrumentKey(exchange, f"S{number}"), str(number))


class MiddleOfRange:
    """Randomness without any: always the middle."""

    def uniform(self, a: float, b: float) -> float:
        """Return the middle of the range."""
        return (a + b) / 2


class FakeClock:
    """A clock that a test sets forward by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def monotonic(self) -> float:
        """Return the seconds advanced so far."""
        return self.now

    def time_ms(self) -> int:
        """Return epoch milliseconds, counted from a fixed day."""
        return EPOCH_MS + int(self.now * 1000)


class _SkippingSelector(selectors.DefaultSelector):
    """Instead of waiting for time to pass, tells how long it would have waited."""

    def __init__(self, skip: Callable[[float], None]) -> None:
        super().__init__()
        self._skip = skip

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if not ready and timeout:
            self._skip(timeout)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on which waiting takes no time: it jumps to whatever is due next.

    Use as ``asyncio.Runner(loop_factory=VirtualTimeLoop)`` with no real sockets. A loop on which
    nothing is due waits for real, for another thread.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        super().__init__(_SkippingSelector(self._pass))

    def time(self) -> float:
        """Return the virtual seconds that have passed."""
        return self._seconds

    def _pass(self, seconds: float) -> None:
        self._seconds += seconds


class VirtualClock:
    """The clock of the running ``VirtualTimeLoop``."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def monotonic(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    def time_ms(self) -> int:
        """Return epoch milliseconds, counted from a fixed day."""
        return EPOCH_MS + int(self._loop.time() * 1000)


class InMemoryAccountStore:
    """An ``AccountStore`` of dictionaries; ``go_down`` makes every call fail until ``come_back``.

    ``instruments`` None knows every symbol of the form that ``make_instrument`` makes.
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

    async def take_commands(
        self, worker_id: str, pool_ids: Collection[str]
    ) -> Sequence[TakenCommand]:
        """Hand out what a test has put into ``commands``, once."""
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


class FakeAdapter(BrokerAdapter):
    """Speaks the JSON of ``FakeBroker``; ``make_adapter_class`` varies it."""

    capabilities = BrokerCapabilities(
        name="fake",
        label="Fake",
        exchanges=frozenset({"NSE"}),
        max_connections=3,
        symbols_per_connection=3,
    )
    depth_cost = 1

    def __init__(self, *, endpoint: str | None = None, sink: TickSink | None = None) -> None:
        super().__init__(endpoint=endpoint, sink=sink)
        self._instruments: dict[str, Instrument] = {}

    @classmethod
    def cost(cls, instrument: Instrument, mode: FeedMode) -> int:
        """Return ``depth_cost`` for depth, else 1."""
        return cls.depth_cost if mode is FeedMode.DEPTH else 1

    @classmethod
    def master_url(cls, http_endpoint: str | None) -> str:
        """Return nothing that could be reached."""
        return "http://fake.invalid/"

    @classmethod
    def parse_master(cls, data: bytes) -> Iterator[InstrumentRow]:
        """Yield nothing."""
        return iter(())

    def handshake(self, credentials: Credentials) -> Handshake:
        """Put the token into the URL."""
        token = credentials.values.get("token", "")
        if self.capabilities.credential_fields and not token:
            raise BrokerConfigError("the credential has no token")
        return Handshake(url=f"{self.endpoint}?token={token}")

    def subscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return one message. Raises BrokerConfigError for a broker token that is no number."""
        for item in items:
            if not item.instrument.broker_token.isdigit():
                raise BrokerConfigError("not a number")
        self._instruments.update((item.instrument.broker_token, item.instrument) for item in items)
        return [_message("subscribe", items)]

    def unsubscribe(self, items: Sequence[Subscription]) -> list[str | bytes]:
        """Return one message."""
        for item in items:
            self._instruments.pop(item.instrument.broker_token, None)
        return [_message("unsubscribe", items)]

    def change_mode(self, items: Sequence[tuple[Subscription, Subscription]]) -> list[str | bytes]:
        """Return one message."""
        return [_message("mode", [new for _, new in items])]

    def receive(self, frame: str | bytes, ts_received_ms: int) -> Sequence[BrokerEvent]:
        """Decode one frame of the fake broker."""
        try:
            said = msgspec.json.decode(frame)
        except msgspec.DecodeError as error:
            raise BrokerProtocolError("not JSON") from error
        for token in said.get("ticks", ()):
            instrument = self._instruments.get(token)
            if instrument is None:
                self.ticks_unknown += 1
                continue
            tick = Tick(token, FeedMode.LTP, 100, ltp=100)
            self.sink.publish(instrument, tick, ts_received_ms)
            self.ticks_published += 1
        events: list[BrokerEvent] = []
        for kind, make in (("ok", self._confirmed), ("no", self._rejected)):
            if kind in said:
                events.append(make(said[kind]))
        if "bye" in said:
            events.append(ReconnectSoon(said["bye"]))
        return events

    def reset(self) -> None:
        """Forget the instruments."""
        self._instruments.clear()

    def _confirmed(self, tokens: Sequence[str]) -> BrokerEvent:
        return Confirmed(self._keys(tokens))

    def _rejected(self, tokens: Sequence[str]) -> BrokerEvent:
        return SubscriptionRejected(BrokerLimitError("too many"), self._keys(tokens))

    def _keys(self, tokens: Sequence[str]) -> tuple[InstrumentKey, ...]:
        return tuple(self._instruments[t].key for t in tokens if t in self._instruments)


def make_adapter_class(*, depth_cost: int = 1, **capabilities: Any) -> type[FakeAdapter]:
    """Return an adapter class with other capabilities; tiny limits by default."""
    defaults: dict[str, Any] = {
        "name": "fake",
        "label": "Fake",
        "exchanges": frozenset({"NSE"}),
        "max_connections": 3,
        "symbols_per_connection": 3,
        "default_endpoint": "ws://fake.invalid",
    }
    declared = BrokerCapabilities(**(defaults | capabilities))
    namespace = {"capabilities": declared, "depth_cost": depth_cost}
    return type("ConfiguredFakeAdapter", (FakeAdapter,), namespace)


class FakeTransport:
    """One socket to a ``FakeBroker``."""

    def __init__(self, broker: FakeBroker, token: str) -> None:
        self.broker = broker
        self.token = token
        self.heard_at = self.pong_at = broker.now()
        self.subscribed: dict[str, tuple[int, int]] = {}
        self.is_open = True
        self.closed_by_us = False
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._unsaid: list[str | bytes] = []

    async def send(self, message: str | bytes) -> None:
        """Give a message to the broker."""
        if not self.is_open:
            raise ConnectionLostError("the fake broker hung up")
        self.broker.heard(self, message)

    async def recv(self) -> str | bytes:
        """Return what the broker says next."""
        frame = await self._incoming.get()
        if frame is None:
            raise ConnectionLostError("the fake broker hung up")
        return frame

    async def ping(self) -> None:
        """Have the broker answer, unless it is silent."""
        if not self.broker.is_silent:
            self.pong_at = self.broker.now()

    async def close(self) -> None:
        """Close from our side."""
        self.closed_by_us = True
        self.hang_up()

    def abort(self) -> None:
        """Drop from our side."""
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection; the other side notices with its next read or write."""
        if self.is_open:
            self.is_open = False
            self._incoming.put_nowait(None)

    def say(self, frame: str | bytes) -> None:
        """Send a frame from the broker."""
        if self.broker.is_silent:
            self._unsaid.append(frame)
        elif self.is_open:
            self.heard_at = self.broker.now()
            self._incoming.put_nowait(frame)

    def catch_up(self) -> None:
        """Say what was held back by a silence: a stream loses nothing, it is late."""
        unsaid, self._unsaid = self._unsaid, []
        for frame in unsaid:
            self.say(frame)


class FakeBroker:
    """A broker in memory: a ``Connector`` for pools, with faults as verbs and a record.

    It confirms every subscription with one tick unless told not to. ``attempts`` has (time, token)
    of every connect, ``complaints`` what a real broker would hold against its client.
    """

    def __init__(self, *, symbols_per_connection: int = 10**9, confirms: bool = True) -> None:
        self.transports: list[FakeTransport] = []
        self.attempts: list[tuple[float, str]] = []
        self.messages: list[tuple[float, FakeTransport, dict[str, Any]]] = []
        self.complaints: list[str] = []
        self.good_tokens: set[str] | None = None
        self.is_silent = False
        self.confirms = confirms
        self.opened = asyncio.Event()
        self._limit = symbols_per_connection
        self._refusal: tuple[int, Mapping[str, str]] | None = None

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> FakeTransport:
        """Open a socket, or refuse it."""
        token = handshake.url.partition("?token=")[2]
        self.attempts.append((self.now(), token))
        await asyncio.sleep(0)
        if self._refusal is not None:
            status, headers = self._refusal
            raise UpgradeRefusedError(status, headers, b"")
        if self.good_tokens is not None and token not in self.good_tokens:
            raise UpgradeRefusedError(403, {}, b"")
        transport = FakeTransport(self, token)
        self.transports.append(transport)
        self.opened.set()
        return transport

    @property
    def open(self) -> list[FakeTransport]:
        """The sockets that are open."""
        return [transport for transport in self.transports if transport.is_open]

    @property
    def subscribed(self) -> dict[str, tuple[int, int]]:
        """Broker token to (mode, depth levels), over all open sockets."""
        return {t: level for transport in self.open for t, level in transport.subscribed.items()}

    def now(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()

    def drop(self, transport: FakeTransport | None = None) -> None:
        """Cut one socket, or all."""
        for one in [transport] if transport else self.open:
            one.hang_up()

    def go_silent(self) -> None:
        """Say nothing more, pongs included."""
        self.is_silent = True

    def speak(self) -> None:
        """End the silence and say what was held back."""
        self.is_silent = False
        for transport in self.open:
            transport.catch_up()

    def refuse(self, status: int, **headers: str) -> None:
        """Answer every connect with an HTTP status; ``Retry_After="5"`` names a header."""
        self._refusal = (status, {name.replace("_", "-"): text for name, text in headers.items()})

    def accept(self) -> None:
        """End ``refuse``."""
        self._refusal = None

    def say(self, frame: str | bytes) -> None:
        """Send a frame on every socket."""
        for transport in self.open:
            transport.say(frame)

    def tick(self) -> None:
        """Send one tick of everything subscribed."""
        for transport in self.open:
            transport.say(_say(ticks=list(transport.subscribed)))

    def heard(self, transport: FakeTransport, message: str | bytes) -> None:
        """Take a client's message."""
        said = msgspec.json.decode(message)
        self.messages.append((self.now(), transport, said))
        tokens = {token: (mode, depth) for token, mode, depth in said["items"]}
        have = transport.subscribed
        if said["do"] == "unsubscribe":
            self.complaints += [f"{t} was not subscribed" for t in tokens if t not in have]
            for token in tokens:
                have.pop(token, None)
            return
        known = said["do"] == "mode"
        self.complaints += [f"{t}: {said['do']}" for t in tokens if (t in have) is not known]
        have.update(tokens)
        if len(have) > self._limit:
            self.complaints.append(f"{len(have)} subscribed")
        if self.confirms:
            transport.say(_say(ok=list(tokens), ticks=list(tokens)))


def _message(do: str, items: Sequence[Subscription]) -> str:
    rows = [(item.instrument.broker_token, int(item.mode), item.depth_levels) for item in items]
    return msgspec.json.encode({"do": do, "items": rows}).decode()


def _say(**said: object) -> str:
    return msgspec.json.encode(said).decode()
