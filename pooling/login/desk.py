"""The login desk: takes what waits for a worker, carries it out, and begins the daily logins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Final

from brokers.login.contract import BrokerLogin, Granted, Refusal, Refused
from brokers.logs.failing import Failing
from brokers.words import one_line
from pooling.calendar.days import TradingDays
from pooling.clock import Clock
from pooling.exceptions import StoreUnavailableError
from pooling.login import schedule
from pooling.login.bounds import PER_WORKER, Pace
from pooling.login.contracts import Http, LoginStore, TakenLogin
from pooling.login.driver import LoginDriver

__all__ = ["LoginDesk"]

logger = logging.getLogger("pooling")

LOOK_SECONDS: Final = 1.0
DAILY_SECONDS: Final = 15.0
# Of one attempt: two requests of ten seconds, and the wait for a new code of the second factor.
ATTEMPT_SECONDS: Final = 75.0
AT_ONCE: Final = 8  # attempts under way; the others wait in the store


class LoginDesk:
    """The attempts of one worker's accounts. Belongs to one loop; costs no pool anything.

    Attempts run side by side, at most eight: a broker that hangs holds up its own. A store that
    fails is logged and asked again.

    Args:
        store: where attempts are.
        http: sends requests, once each, and follows no redirect.
        login_of: a broker's login by its name and the URL in place of its hosts ("": none); None
            where the broker has none.
        clock: where time is read.
        worker_id: who takes attempts.
        pool_ids: the accounts that this worker serves.
        on_stored: called once a credential was stored, to have it in use at once.
    """

    def __init__(
        self,
        *,
        store: LoginStore,
        http: Http,
        login_of: Callable[[str, str], BrokerLogin | None],
        clock: Clock,
        worker_id: str,
        pool_ids: Callable[[], Collection[str]],
        on_stored: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._login_of = login_of
        self._clock = clock
        self._worker_id = worker_id
        self._pool_ids = pool_ids
        self._on_stored = on_stored
        self._driver = LoginDriver(http=http, clock=clock, sends_totp=store.sends_totp)
        self._looking: asyncio.Task[None] | None = None  # from ``open`` to ``close``
        self._under_way: set[asyncio.Task[None]] = set()  # one an attempt
        self._daily_at = 0.0  # when daily logins are looked at next, monotonic
        self._pace = Pace(PER_WORKER)  # of each user
        self._failing = Failing()  # the store, as far as it was logged

    def __repr__(self) -> str:
        return f"<LoginDesk of {self._worker_id}: {len(self._under_way)} under way>"

    def open(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_always(), name="worker-logins")

    async def close(self) -> None:
        """End what is under way; an attempt that has used its code up ends as late. Idempotent."""
        tasks = [*self._under_way, *([self._looking] if self._looking else [])]
        self._looking = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def look(self) -> None:
        """Take what waits now. Raises what the store does."""
        pool_ids = self._pool_ids()
        if not pool_ids:
            return
        if self._clock.monotonic() >= self._daily_at:
            self._daily_at = self._clock.monotonic() + DAILY_SECONDS
            await self._begin_daily(pool_ids)
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return
        for taken in await self._store.take(self._worker_id, pool_ids, room):
            task = asyncio.create_task(self._carry_out(taken), name=f"login-{taken.pool_id}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def settled(self) -> None:
        """Return when nothing is under way that was when it was called."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _look_always(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                # Supervision point: the store may be down; ticks flow on and this is retried.
                self._log_failure(error)
            else:
                if (away := self._failing.works(self._clock.monotonic())) is not None:
                    logger.info("logins work again, after %.0f s", away)
            await asyncio.sleep(LOOK_SECONDS)

    async def _begin_daily(self, pool_ids: Collection[str]) -> None:
        now = datetime.fromtimestamp(self._clock.time_ms() / 1000, UTC)
        logins = await self._store.daily(pool_ids)
        days = await self._store.trading_days() if logins else TradingDays()
        for each in logins:
            if schedule.is_due(each, now, days.is_any_trading_day):
                await self._store.begin_daily(each.account_id)

    async def _carry_out(self, taken: TakenLogin) -> None:
        try:
            result = await self._result_of(taken)
        except Exception as error:
            # Supervision point: one attempt must not end the others, nor the desk.
            self._log_failure(error)
            result = _broken(error)
        if result is None:
            return
        try:
            await self._finish(taken, result)
        except Exception as error:
            # Supervision point, as above; what was not stored ends as too late.
            self._log_failure(error)

    async def _result_of(self, taken: TakenLogin) -> Granted | Refused | None:
        """Return how the attempt ended; None: it goes on at the broker's page."""
        login = self._login_of(taken.broker, taken.base_url)
        if login is None:
            words = f"TickPool knows no login of {taken.broker}: paste its credential instead."
            return Refused(why=Refusal.UNREADABLE, text=words)
        if not self._pace.may(taken.user_id, self._clock.monotonic()):
            return Refused(why=Refusal.BUSY, text=PER_WORKER.sentence("some minutes have passed"))
        if taken.trouble:
            return Refused(why=Refusal.SECRET, text=taken.trouble)
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                if not taken.is_preparing:
                    return await self._driver.obtain(login, taken)
                name = await self._driver.prepare(login, taken)
        except TimeoutError:
            words = f"The broker took longer than {ATTEMPT_SECONDS:g} s: log in again."
            return Refused(why=Refusal.DOWN, text=words)
        if isinstance(name, Refused):
            return name
        await self._store.prepared(taken.attempt_id, name)
        return None

    async def _finish(self, taken: TakenLogin, result: Granted | Refused) -> None:
        # The credential is in nobody's hands but ours: a store that is away comes back.
        while True:
            try:
                await self._store.finish(taken.attempt_id, result)
                break
            except StoreUnavailableError as error:
                self._log_failure(error)
                await asyncio.sleep(LOOK_SECONDS)
        if isinstance(result, Refused):
            logger.warning("pool %s: login refused: %s", taken.pool_id, one_line(result.text))
            return
        logger.info("pool %s: logged in at %s", taken.pool_id, taken.broker)
        await self._on_stored()

    def _log_failure(self, error: Exception) -> None:
        if self._failing.fails(self._clock.monotonic()):
            is_known = isinstance(error, StoreUnavailableError)
            logger.error(
                "logins failed, will be retried%s",
                f" ({one_line(error)})" if is_known else "",
                exc_info=None if is_known else error,
            )


def _broken(error: Exception) -> Refused:
    """Return what is said of an attempt that ended on our side, before anything was granted."""
    if isinstance(error, StoreUnavailableError):
        words = "TickPool's database was away meanwhile. Nothing was stored: log in again."
        return Refused(why=Refusal.DOWN, text=words)
    return Refused(
        why=Refusal.UNREADABLE,
        text="TickPool could not carry this login out; the worker's log says why. Nothing was "
        "stored: log in in another way, or paste the credential.",
    )
