"""Times in which a pool's prices could be trusted, from its events. Blocking; bounded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import itemgetter

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

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
    before = rows.filter(at__lt=start).order_by("-at", "-id")[:1]
    if within is None:
        # In the order of the index; that of the times is nearly the same, and is made here.
        within = _changes(rows.filter(at__gte=start, at__lt=end).order_by("id"))
        within.sort(key=itemgetter(0))
    status = PoolStatus.objects.filter(account=account).only("heartbeat", "state", "reason").first()
    return stretches(
        [*_changes(before), *within],
        heard=None if status is None else status.heartbeat,
        is_alive=status is not None and status.is_alive(now),
        start=start,
        end=min(end, now),
    )


def _changes(rows: QuerySet[PoolEvent]) -> list[Change]:
    """Return rows as changes. Their times are read as text: that takes half as long."""
    read = rows.annotate(moment=Cast("at", TextField())).values_list("moment", "kind", "message")
    found = list(read)
    # All of one database are written alike: SQLite's without an offset, in UTC as all are stored.
    zone = "+00:00" if found and datetime.fromisoformat(found[0][0]).tzinfo is None else ""
    moment_of, make = datetime.fromisoformat, Change._make
    return [make((moment_of(text + zone), kind, message)) for text, kind, message in found]
