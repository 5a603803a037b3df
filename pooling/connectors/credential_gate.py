"""One credential, read again for every connect, and tried only once after it was refused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from brokers.contract import Credentials
from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from brokers.times.retry_after import MAX_RETRY_AFTER_SECONDS
from brokers.words import one_line
from pooling.clock import Clock
from pooling.contracts import AccountStore
from pooling.exceptions import CircuitOpenError, ConnectRateError, StoreUnavailableError

__all__ = ["CredentialGate"]

logger = logging.getLogger("pooling")


MAX_REFUSALS = 16  # endpoints whose refusals are remembered


@dataclass(frozen=True, slots=True)
class _Refusal:
    """This version of the credential is not taken, and why."""

    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Bar:
    """Nothing is tried before ``until``, on the monotonic clock; ``kind`` says why."""

    until: float
    kind: type[BrokerRateLimitError | BrokerUnavailableError]


class CredentialGate:
    """Lets one connect of a pool through at a time. Used on the worker's loop only.

    One at a time has three reasons: a refused credential is offered to the broker once and not once
    per connection, the broker's least time between two connects is kept, and a ``Retry-After`` that
    one connection was told binds them all.

    Args:
        pool_id: whose credential it is.
        store: where it is read.
        is_required: False for brokers that need none.
        interval_seconds: least time between two connects. May be changed.
        version: the version known to be stored now.
        endpoint: where the account's connections go.
        lack: what of a needed credential is not stored, in words; "": nothing.
        ends_ms: when the stored one ends, in epoch milliseconds; None: nobody can know.
    """

    def __init__(
        self,
        *,
        pool_id: str,
        store: AccountStore,
        clock: Clock,
        is_required: bool,
        interval_seconds: float,
        version: int,
        endpoint: str,
        lack: str = "",
        ends_ms: int | None = None,
    ) -> None:
        self._pool_id = pool_id
        self._store = store
        self._clock = clock
        self._is_required = is_required
        self.interval_seconds = interval_seconds
        self._version = version
        self._endpoint = endpoint
        self._lack = lack
        self._ends_ms = ends_ms
        self._turn = asyncio.Lock()  # whose connect it is: one at a time
        self._last_connect: float | None = None  # when the latest began; paces them
        self._bars: dict[str, _Bar] = {}  # by endpoint, until the wait is over
        self._last_read: Credentials | None = None  # for when the store is down
        self._refused_version: int | None = None  # None: nothing bars the way
        self._refusals: dict[str, _Refusal] = {}  # by endpoint, the latest of each
        self._renewed = asyncio.Event()
        self.reason = ""  # why it is shut

    @property
    def is_shut(self) -> bool:
        """Whether a newer credential is needed before anything is tried again."""
        return self._refused_version is not None

    @property
    def login_needed(self) -> str:
        """Why no connect is expected to succeed before somebody has logged in; "": one is.

        A credential past its end is tried all the same: the broker has the last word. Any thread.
        """
        if not self._is_required:
            return ""
        if self.is_shut:
            return self.reason or "the broker refused the credential"
        if self._lack:
            return self._lack
        has_ended = self._ends_ms is not None and self._clock.time_ms() >= self._ends_ms
        return "the stored credential has ended" if has_ended else ""

    @asynccontextmanager
    async def attempt(self) -> AsyncIterator[Credentials]:
        """Wait for one's turn and yield the credential to connect with.

        A ``BrokerAuthError`` or ``BrokerConfigError`` raised in the block shuts the gate, the
        ``Retry-After`` of a ``BrokerRateLimitError`` or ``BrokerUnavailableError`` bars it for so
        long.

        Raises:
            BrokerAuthError: this credential was refused before; nothing was tried.
            BrokerConfigError: it cannot be read.
            BrokerRateLimitError: the ``Retry-After`` of such an error is not over; nothing was
                tried.
            BrokerUnavailableError: likewise; or none was read so far, or a newer one than the
                refused is stored, and the store is down.
        """
        async with self._turn:
            if self.is_shut:
                raise BrokerAuthError(self.reason)
            self._check_retry_after()
            await self._keep_interval()
            version, endpoint = self._version, self._endpoint
            try:
                credentials = await self._read()
                version = credentials.version if self._is_required else version
                refusal = self._refusals.get(self._endpoint)
                if self._is_required and refusal is not None and version == refusal.version:
                    # A newer one is stored and cannot be read: the store is down.
                    raise BrokerUnavailableError("the new credential cannot be read yet")
                # The store took its time: what counts is when, and where, the broker is asked.
                endpoint = self._endpoint
                self._check_retry_after()
                self._last_connect = self._clock.monotonic()
                yield credentials
            except (BrokerAuthError, BrokerConfigError) as error:
                self.refuse(version, error, endpoint)
                raise
            except (ConnectRateError, CircuitOpenError):
                raise  # it was not the broker that asked to wait: each is told its own time
            except (BrokerRateLimitError, BrokerUnavailableError) as error:
                self._bar(endpoint, error)
                raise

    def refuse(self, version: int, error: BrokerError, endpoint: str | None = None) -> None:
        """Note that the broker does not take this version of the credential at an endpoint.

        Where there is none, a refusal is not about it, and nothing a person saves would help.

        Args:
            version: of the credential.
            error: why.
            endpoint: who refused it; None: the present one.
        """
        if isinstance(error, BrokerAuthError) and not self._is_required:
            return
        where = self._endpoint if endpoint is None else endpoint
        self._refusals.pop(where, None)
        self._refusals[where] = refusal = _Refusal(version, str(error))
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]
        if where == self._endpoint:  # else the one that is asked next has not refused it
            self._shut(refusal)

    def renew(self, version: int, *, lack: str = "", ends_ms: int | None = None) -> bool:
        """Note which version is stored now, see the constructor; returns whether that opened it."""
        self._version = max(version, self._version)
        self._lack, self._ends_ms = lack, ends_ms
        if self._refused_version is None or version <= self._refused_version:
            return False
        self._open()
        return True

    def reopen(self, endpoint: str) -> None:
        """Follow an edited endpoint: what another one refused says nothing about this one.

        A refusal and a ``Retry-After`` bind where they were told, also whoever comes back there.
        """
        self._endpoint = endpoint
        self._open()
        if endpoint in self._refusals:
            self._shut(self._refusals[endpoint])

    def forget_refusals(self) -> None:
        """Note that credentials are presented in another way now: each may be tried once more."""
        self._refusals.clear()

    async def wait_until_open(self) -> None:
        """Wait for a newer credential; returns at once when none is needed."""
        while self.is_shut:
            await self._renewed.wait()

    def _shut(self, refusal: _Refusal) -> None:
        if refusal.version < self._version:
            return  # a newer one was saved while this one was being tried
        self._refused_version = self._version = refusal.version
        self.reason = refusal.reason
        self._renewed.clear()

    def _open(self) -> None:
        self._refused_version = None
        self.reason = ""
        self._renewed.set()

    def _bar(self, endpoint: str, error: BrokerRateLimitError | BrokerUnavailableError) -> None:
        now = self._clock.monotonic()
        seconds = min(error.retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
        is_limited = isinstance(error, BrokerRateLimitError)
        bar = _Bar(now + seconds, BrokerRateLimitError if is_limited else BrokerUnavailableError)
        self._bars = {where: each for where, each in self._bars.items() if each.until > now}
        if endpoint not in self._bars or self._bars[endpoint].until < bar.until:
            self._bars[endpoint] = bar

    def _check_retry_after(self) -> None:
        bar = self._bars.get(self._endpoint)
        wait = bar.until - self._clock.monotonic() if bar is not None else 0.0
        if bar is not None and wait > 0:
            raise bar.kind("the broker asked to wait", retry_after_seconds=wait)

    async def _keep_interval(self) -> None:
        if self._last_connect is not None:
            wait = self._last_connect + self.interval_seconds - self._clock.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
        self._last_connect = self._clock.monotonic()

    async def _read(self) -> Credentials:
        if not self._is_required:
            return Credentials()
        try:
            self._last_read = await self._store.credentials(self._pool_id)
        except BrokerConfigError:
            raise
        except Exception as error:
            # Supervision point: the store is somebody else's code. While it is down, what it said
            # last is good enough: a wrong credential is refused by the broker.
            if self._last_read is None:
                raise BrokerUnavailableError("the credential cannot be read yet") from error
            is_known = isinstance(error, StoreUnavailableError)
            logger.warning(
                "pool %s: the credential cannot be read, using the last one%s",
                self._pool_id,
                f" ({one_line(error)})" if is_known else "",
                exc_info=not is_known,
            )
        return self._last_read
