"""Changes of a pool's state that are worth telling, and when they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pooling.operations.pool_state import PoolState

__all__ = ["Debouncer", "PoolNow", "StateChange"]


_WELL = frozenset({PoolState.LIVE, PoolState.IDLE})
_SHUT = frozenset({PoolState.CLOSED, PoolState.PAUSED})


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolNow:
    """One pool as it is now; ``since_ms`` is epoch milliseconds."""

    pool_id: str
    state: PoolState
    reason: str
    since_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """A pool is in another state than people were last told, and has been for long enough."""

    pool: PoolNow
    previous: PoolState


@dataclass(slots=True)
class _Told:
    state: PoolState
    left_at: float | None = None  # monotonic; None: it is in that state


class Debouncer:
    """Tells a change once the pool has been out of the told state for ``hold_seconds``.

    A pool that comes back to the told state before is not worth a word; one that wanders among
    other states is, with the state that it is in then. Between live and idle there is nothing to
    tell. A pool that is new, or whose worker has just started, counts as told to be live, or as
    told to be paused or closed if it is: so trouble is told again by each worker, and a paused pool
    is not.

    Args:
        hold_seconds: how long a change has to last; 0 tells every change that is seen.
    """

    def __init__(self, *, hold_seconds: float) -> None:
        if hold_seconds < 0:
            raise ValueError("hold_seconds must not be negative")
        self._hold = hold_seconds
        self._told: dict[str, _Told] = {}  # what was told of each pool of the last look

    def observe(self, pools: Iterable[PoolNow], now: float) -> list[StateChange]:
        """Take all pools as they are at ``now`` (monotonic); returns what is to be told.

        Pools that are not among them are forgotten.
        """
        changes: list[StateChange] = []
        seen: dict[str, _Told] = {}
        for pool in pools:
            told = self._told.get(pool.pool_id) or _Told(_taken_for_granted(pool.state))
            seen[pool.pool_id] = told
            if pool.state is told.state or {pool.state, told.state} <= _WELL:
                told.state, told.left_at = pool.state, None
                continue
            if told.left_at is None:
                told.left_at = now
            if now - told.left_at >= self._hold:
                changes.append(StateChange(pool=pool, previous=told.state))
                told.state, told.left_at = pool.state, None
        self._told = seen
        return changes


def _taken_for_granted(state: PoolState) -> PoolState:
    return state if state in _WELL | _SHUT else PoolState.LIVE
