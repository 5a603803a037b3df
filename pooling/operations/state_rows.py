"""The state of pools out of their rows: of one at a time, and as a condition in the database."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from brokers.exceptions import BrokerConfigError
from brokers.pool_service import FeedStatus
from brokers.times.moments import moment_text
from pooling.feed_health import IDLE_REASON, PAUSED_REASON
from pooling.models import BrokerAccount, PoolStatus
from pooling.operations.pool_state import OF_FEED, PoolState, state_of, state_of_feed

__all__ = ["StateNow", "conditions", "state_now"]

_DISABLED = "the account is switched off in the admin"
_NEVER_SERVED = "no worker has served this account yet"
_PAUSED = "its connections are closed until somebody resumes it"


class StateNow(NamedTuple):
    """A pool's state at one moment, and why it is so ("" where the word says all)."""

    state: PoolState
    reason: str


def state_now(account: BrokerAccount, status: PoolStatus | None, now: datetime) -> StateNow:
    """Return how the pool of an account is at ``now`` (aware).

    Args:
        account: whose pool.
        status: what a worker wrote of it last; None: none ever did. Its ``stats`` are not read.
        now: the moment to judge by.
    """
    state = state_of(
        is_enabled=account.enabled,
        is_paused=account.paused,
        is_served=None if status is None else status.is_alive(now),
        of_feed=None
        if status is None
        else state_of_feed(status.state, status.reason, status.waiting),
    )
    return StateNow(state, _reason(state, account, status))


def conditions(now: datetime, *, account: str = "", status: str = "status__") -> dict[PoolState, Q]:
    """Return for each state the condition that the rows meet whose ``state_now`` it is at ``now``.

    Args:
        now: the moment to judge by (aware).
        account: the look-up's prefix of the account's columns, from the rows' model.
        status: the prefix of the columns of ``PoolStatus``.
    """
    enabled = Q(**{f"{account}enabled": True})
    served = Q(**{f"{status}heartbeat__isnull": False})
    alive = PoolStatus.objects.is_alive_at(now, status)
    by_worker = Q(**{f"{status}state": FeedStatus.CLOSED.value, f"{status}reason": PAUSED_REASON})
    paused = Q(**{f"{account}paused": True}) | by_worker
    running = enabled & alive & ~paused

    def told(status_text: str) -> Q:
        return Q(**{f"{status}state": status_text})

    idle = Q(**{f"{status}reason": IDLE_REASON})
    short = Q(**{f"{status}waiting__gt": 0})
    known = {state: running & told(text) for text, state in OF_FEED.items()}
    found = {
        **known,
        PoolState.NO_WORKER: enabled & served & ~alive,
        PoolState.NEVER_SERVED: enabled & ~served,
        PoolState.STALE: running & ~Q(**{f"{status}state__in": list(OF_FEED)}),
        PoolState.WAITING_FOR_ROOM: known[PoolState.LIVE] & short,
        PoolState.LIVE: known[PoolState.LIVE] & ~short & ~idle,
        PoolState.IDLE: known[PoolState.LIVE] & ~short & idle,
        PoolState.PAUSED: enabled & alive & paused,
        PoolState.DISABLED: ~enabled,
    }
    return {state: found[state] for state in PoolState}


def _reason(state: PoolState, account: BrokerAccount, status: PoolStatus | None) -> str:
    if state is PoolState.DISABLED:
        return _DISABLED
    if status is None:
        return _why_never_served(account)
    if state is PoolState.NO_WORKER:
        return _last_heard(status)
    if state is PoolState.PAUSED:
        return _PAUSED
    return "" if status.reason == state else status.reason


def _why_never_served(account: BrokerAccount) -> str:
    try:
        account.capabilities()
    except BrokerConfigError as error:
        return str(error)  # no worker ever will
    return _NEVER_SERVED


def _last_heard(status: PoolStatus) -> str:
    seen = moment_text(timezone.localtime(status.heartbeat))
    what = "ended" if status.has_left else "was last heard"
    return f"worker {status.owner} {what} at {seen}"
