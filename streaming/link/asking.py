"""One client's wants on their way to a worker, in messages of a bounded size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from brokers.feed import Outcome, Want
from brokers.types import InstrumentKey
from streaming.exceptions import ControlError
from streaming.link.peer import WorkerPeer
from streaming.wire import control as cm

__all__ = ["Asking"]


class Asking:
    """Sends wants and gathers the answers; goes on when nobody waits any longer.

    Args:
        earlier: what the client wanted before of the same instruments, which stands when the
            worker refuses.
        late: the client has its answer already, so what comes is news to it, and what it was told
            of these wants stands.
        on_done: called once, when every message was answered or has failed.
    """

    def __init__(
        self,
        *,
        pool_id: str,
        client: str,
        wants: Sequence[Want],
        earlier: Mapping[InstrumentKey, Want | None],
        late: bool,
        on_done: Callable[[Asking], None],
    ) -> None:
        self.pool_id = pool_id
        self.client = client
        self.wants = wants
        self.earlier = earlier
        self.late = late
        self.outcomes: list[Outcome] = []
        self.snapshots: list[bytes] = []
        self.unanswered: list[Want] = []
        self._on_done = on_done
        self._waiting_for = 0
        self._done = asyncio.Event()

    def send(self, peer: WorkerPeer, barrier: str) -> None:
        """Send everything to ``peer``; it answers once ``barrier`` has come through the bus."""
        wants = self.wants
        if self.late:
            wants = [msgspec.structs.replace(want, stands=True) for want in wants]
        chunks = [
            list(wants[start : start + cm.MAX_ITEMS])
            for start in range(0, len(wants), cm.MAX_ITEMS)
        ]
        self._waiting_for = len(chunks)
        for chunk in chunks:
            make = partial(
                cm.WantRequest,
                pool_id=self.pool_id,
                client=self.client,
                wants=chunk,
                barrier=barrier,
            )
            peer.request(make).add_done_callback(partial(self._on_reply, chunk))

    async def wait(self, timeout: float) -> None:
        """Wait until it is done, at most ``timeout`` seconds; what comes afterwards is late."""
        try:
            async with asyncio.timeout(timeout):
                await self._done.wait()
        except TimeoutError:
            self.late = True

    def _on_reply(self, chunk: list[Want], future: asyncio.Future[cm.Reply]) -> None:
        try:
            reply = future.result()
        except ControlError:
            self.unanswered += chunk
        else:
            if isinstance(reply, cm.WantReplyMessage) and len(reply.outcomes) == len(chunk):
                self.outcomes += reply.outcomes
                self.snapshots += reply.snapshots
            else:
                self.unanswered += chunk
        self._waiting_for -= 1
        if self._waiting_for == 0:
            self._on_done(self)
            self._done.set()
