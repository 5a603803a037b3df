"""Connections that several accounts have together, shared out by need. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pooling.contracts import AccountSpec

__all__ = ["SeatNeed", "SeatSharing", "needed_connections"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SeatNeed:
    """The seats that one pool of a group asks for.

    ``most`` is its own limit, ``needs`` how many connections its symbols would fill, ``has`` how
    many it has, open or on their way: a broker counts them until they are closed.
    """

    pool_id: str
    most: int
    needs: int = 0
    has: int = 0


def needed_connections(used: int, waiting: int, per_connection: int) -> int:
    """Return how many connections symbols need, with room for one more; 0 for none."""
    if not used + waiting:
        return 0
    return -(-(used + waiting + 1) // max(1, per_connection))


class SeatSharing:
    """Shares of the connections that accounts have together: who may have how many.

    All pools of a group have its limit at most, whatever their own limits add up to. One each
    first, then one after the other to whoever needs more; what is left goes to those that may have
    more. As long as nobody lacks one, everybody keeps what it has. A pool grows only by what no
    other has open or may open. More pools than the limit have one each all the same: the broker
    refuses the last ones for as long as the others are there, and they say so.
    """

    def __init__(self) -> None:
        # What each pool of a group may have since the last look.
        self._granted: dict[str, int] = {}

    def apply(
        self,
        specs: Iterable[AccountSpec],
        *,
        limit_of: Callable[[AccountSpec], int],
        need_of: Callable[[AccountSpec], SeatNeed],
    ) -> list[AccountSpec]:
        """Return the accounts with what they may have as their ``max_connections``.

        Args:
            specs: all accounts of the worker.
            limit_of: how many connections the broker gives to the account's group.
            need_of: what the account's pool asks for now.
        """
        specs = list(specs)
        groups: defaultdict[str, list[AccountSpec]] = defaultdict(list)
        for spec in specs:
            if spec.seat_group and not spec.problem and not spec.is_paused:
                groups[spec.seat_group].append(spec)
        granted: dict[str, int] = {}
        for group in groups.values():
            limit = min(limit_of(spec) for spec in group)
            if len(group) > 1 and sum(spec.options.max_connections for spec in group) > limit:
                granted |= grant(limit, [need_of(spec) for spec in group], self._granted)
        self._granted = granted
        return [_limited(spec, granted.get(spec.pool_id)) for spec in specs]


def grant(limit: int, pools: Sequence[SeatNeed], had: Mapping[str, int]) -> dict[str, int]:
    """Return how many connections each pool may have from now on; see ``SeatSharing``."""
    kept = {pool.pool_id: had.get(pool.pool_id, 0) for pool in pools}
    is_enough = all(
        max(1, min(pool.needs, pool.most)) <= kept[pool.pool_id] <= pool.most for pool in pools
    )
    wanted = kept if is_enough and sum(kept.values()) <= limit else _shares(limit, pools)
    # Whoever has too many gives up first.
    granted = {pool.pool_id: min(wanted[pool.pool_id], kept[pool.pool_id] or 1) for pool in pools}
    for pool in pools:
        others = sum(
            max(each.has, granted[each.pool_id]) for each in pools if each.pool_id != pool.pool_id
        )
        free = min(wanted[pool.pool_id], limit - others)
        granted[pool.pool_id] = max(granted[pool.pool_id], free)
    return granted


def _shares(limit: int, pools: Sequence[SeatNeed]) -> dict[str, int]:
    shares = {pool.pool_id: 1 for pool in pools}
    left = limit - len(pools)
    for wishes in (
        {pool.pool_id: min(pool.needs, pool.most) for pool in pools},
        {pool.pool_id: pool.most for pool in pools},
    ):
        while left > 0:
            short = [pool_id for pool_id, wish in wishes.items() if shares[pool_id] < wish]
            for pool_id in short[:left]:
                shares[pool_id] += 1
            left -= len(short[:left])
            if not short:
                break
    return shares


def _limited(spec: AccountSpec, seats: int | None) -> AccountSpec:
    if seats is None or seats >= spec.options.max_connections:
        return spec
    warm = min(spec.options.warm_connections, seats)
    options = replace(spec.options, max_connections=seats, warm_connections=warm)
    return replace(spec, options=options)
