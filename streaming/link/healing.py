"""Snapshots in place of ticks that the bus lost: a burst's last has no successor to show it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from brokers.types import InstrumentKey
from streaming.exceptions import ControlError
from streaming.link.peer import WorkerPeer
from streaming.wire import control as cm

__all__ = ["Healing"]


class Healing:
    """The snapshots that a gateway fetches from one worker after it has seen a gap.

    Everything that was on the bus when they were taken arrives before the worker's next beat, so
    they are used only behind that one: what is newer then is lost for certain.

    Args:
        pause_seconds: the least time between two rounds, however many gaps there are.
    """

    def __init__(self, *, pause_seconds: float) -> None:
        self._pause_seconds = pause_seconds
        self._wanted = False  # a gap was seen that no round was begun for
        self._not_before = 0.0  # the next round, in monotonic seconds
        self._replies: list[cm.SnapshotReply] = []  # of rounds, until a later beat has come

    def note_gap(self) -> None:
        """Ask for a round at the next beat that allows one."""
        self._wanted = True

    def on_beat(
        self,
        peer: WorkerPeer,
        wanted: Callable[[], Mapping[str, Sequence[InstrumentKey]]],
        *,
        number: int,
        now: float,
    ) -> list[bytes]:
        """Begin a round if one is due; return the snapshots that may be used now.

        Args:
            wanted: returns the instruments of each pool of this worker.
            number: of the beat.
            now: monotonic seconds.
        """
        ready = [one for one in self._replies if one.beat < number]
        self._replies = [one for one in self._replies if one.beat >= number]
        if self._wanted and now >= self._not_before:
            self._wanted, self._not_before = False, now + self._pause_seconds
            for pool_id, keys in wanted().items():
                for start in range(0, len(keys), cm.MAX_ITEMS):
                    chunk = list(keys[start : start + cm.MAX_ITEMS])
                    make = partial(cm.SnapshotRequest, pool_id=pool_id, keys=chunk)
                    peer.request(make).add_done_callback(self._on_reply)
        return [message for reply in ready for message in reply.snapshots]

    def _on_reply(self, future: asyncio.Future[cm.Reply]) -> None:
        try:
            reply = future.result()
        except ControlError:
            self._wanted = True
            return
        if isinstance(reply, cm.SnapshotReply):
            self._replies.append(reply)
