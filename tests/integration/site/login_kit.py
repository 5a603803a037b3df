"""A broker in words for tests of logins, and a worker that takes what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from asgiref.sync import async_to_sync

from brokers.exceptions import BrokerError
from pooling.clock import SystemClock
from pooling.login.desk import LoginDesk
from pooling.models import BrokerAccount
from pooling.store.logins import DjangoLoginStore
from pooling.testing.login import FakeLogin, FakeLoginHttp

__all__ = ["GOOD", "KEPT", "WorkerTurn"]

GOOD: Mapping[str, Sequence[str | BrokerError]] = {
    "/token": ["granted tok-of-today"],
    "/pin": ["granted tok-of-today"],
    "/me": ["owner AB1234"],
    "/prepare": ["name n1"],
}
KEPT = {"api_key": "key1", "api_secret": "the-api-secret"}


class BeginningOfPeriod(SystemClock):
    """A clock at which a one-time password may always be sent at once."""

    def time_ms(self) -> int:
        """Return the moment at which the present period of 30 s began."""
        return super().time_ms() // 30_000 * 30_000


class WorkerTurn:
    """The worker's desk for one look: it takes what waits, and all of it ends.

    Args:
        data_dir: where the keys are.
        login: every broker's login.
        answers: of the broker, by path.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        login: FakeLogin | None = None,
        answers: Mapping[str, Sequence[str | BrokerError]] = GOOD,
    ) -> None:
        self.store = DjangoLoginStore(key_file=data_dir / "credentials.key")
        self.http = FakeLoginHttp({**GOOD, **answers})
        self._login = login or FakeLogin()

    async def take(self, *accounts: BrokerAccount) -> None:
        """Look once for these accounts, and wait until all has ended."""

        async def nothing() -> None:
            await asyncio.sleep(0)

        desk = LoginDesk(
            store=self.store,
            http=self.http,
            login_of=lambda broker, url: self._login,
            clock=BeginningOfPeriod(),
            worker_id="here:1",
            pool_ids=lambda: [each.pool_id for each in accounts],
            on_stored=nothing,
        )
        await desk.look()
        await desk.settled()

    def __call__(self, *accounts: BrokerAccount) -> None:
        async_to_sync(self.take)(*accounts)
