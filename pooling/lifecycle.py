"""The states of one broker connection and which may follow which. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from pooling.exceptions import IllegalTransitionError

__all__ = ["LEGAL_TRANSITIONS", "UP_STATES", "ConnectionState", "transition"]


class ConnectionState(StrEnum):
    """Where a connection is in its life."""

    IDLE = "idle"  # no socket and nothing that needs one
    CONNECTING = "connecting"  # waiting for its turn, or the handshake is under way
    AUTHENTICATING = "authenticating"  # open; the broker's first messages are being sent
    SUBSCRIBING = "subscribing"  # the wanted set is being replayed
    LIVE = "live"
    STALE = "stale"  # open, but nothing has arrived for too long to trust its prices
    BACKOFF = "backoff"  # lost; waiting for the next attempt
    AUTH_REQUIRED = "auth_required"  # waiting for a newer credential
    RATE_LIMITED = "rate_limited"  # the broker asked to wait
    DRAINING = "draining"  # being closed by us
    CLOSED = "closed"  # for good


_S = ConnectionState
_FAILED = frozenset({_S.BACKOFF, _S.AUTH_REQUIRED, _S.RATE_LIMITED, _S.IDLE})
_STOPPED = frozenset({_S.DRAINING, _S.CLOSED})

LEGAL_TRANSITIONS: Mapping[ConnectionState, frozenset[ConnectionState]] = {
    _S.IDLE: frozenset({_S.CONNECTING}) | _STOPPED,
    _S.CONNECTING: frozenset({_S.AUTHENTICATING}) | _FAILED | _STOPPED,
    _S.AUTHENTICATING: frozenset({_S.SUBSCRIBING}) | _FAILED | _STOPPED,
    _S.SUBSCRIBING: frozenset({_S.LIVE, _S.STALE}) | _FAILED | _STOPPED,
    _S.LIVE: frozenset({_S.STALE}) | _FAILED | _STOPPED,
    _S.STALE: frozenset({_S.LIVE}) | _FAILED | _STOPPED,
    _S.BACKOFF: frozenset({_S.CONNECTING, _S.IDLE}) | _STOPPED,
    _S.AUTH_REQUIRED: frozenset({_S.CONNECTING, _S.IDLE}) | _STOPPED,
    _S.RATE_LIMITED: frozenset({_S.CONNECTING, _S.IDLE}) | _STOPPED,
    _S.DRAINING: frozenset({_S.CLOSED}),
    _S.CLOSED: frozenset(),
}

UP_STATES = frozenset({_S.SUBSCRIBING, _S.LIVE, _S.STALE})
"""States in which the socket is open and may carry subscriptions."""


def transition(current: ConnectionState, target: ConnectionState) -> ConnectionState:
    """Return ``target``.

    Raises:
        IllegalTransitionError: ``target`` cannot follow ``current``; staying put is no transition.
    """
    if target not in LEGAL_TRANSITIONS[current]:
        raise IllegalTransitionError(f"a connection cannot go from {current} to {target}")
    return target
