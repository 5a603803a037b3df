"""When a pool's prices could be trusted, from its events. Blocking; bounded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pooling.models import BrokerAccount, PoolEvent, PoolStatus
from pooling.outages import STATE_PREFIX, Change, Stretch, stretches

__all__ = ["states_of"]


def states_of(
    account: BrokerAccount,
    start: datetime,
    end: datetime,
    now: datetime,
    *,
    within: Sequence[Change] | None = None,
) -> list[Stretch]:
    """Return the states of a pool from ``start`` to ``end`` (aware), but not beyond ``now``.

    Three queries, two with ``within``: the changes of the span, the oldest first, where the caller
    has read them already. At most ``STATES_KEPT_PER_POOL`` rows.
    """
    rows = PoolEvent.objects.filter(account=account, kind__startswith=STATE_PREFIX)
    columns = ("at", "kind", "message")
    before = rows.filter(at__lt=start).order_by("-at", "-id").values_list(*columns)[:1]
    if within is None:
        read = rows.filter(at__gte=start, at__lt=end).order_by("at", "id").values_list(*columns)
        within = list(map(Change._make, read))
    status = PoolStatus.objects.filter(account=account).only("heartbeat").first()
    return stretches(
        [*map(Change._make, before), *within],
        heard=None if status is None else status.heartbeat,
        is_alive=status is not None and status.is_alive(now),
        start=start,
        end=min(end, now),
    )
