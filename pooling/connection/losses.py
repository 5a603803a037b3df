"""Reasons why sockets end, in the few words that statistics count by. Pure."""

from __future__ import annotations

from enum import StrEnum

from brokers.exceptions import (
    BrokerAuthError,
    BrokerConfigError,
    BrokerProtocolError,
    BrokerRateLimitError,
    BrokerUnavailableError,
)
from pooling.exceptions import (
    CircuitOpenError,
    ConnectionLostError,
    HeldUpError,
    PlannedReconnectError,
    SilentConnectionError,
)

__all__ = ["LossReason", "loss_reason"]


class LossReason(StrEnum):
    """Why a socket, or an attempt to open one, ended."""

    CLOSED = "closed"  # by the broker, or by the network
    SILENT = "silent"  # no byte within the liveness time-out
    HELD_UP = "held_up"  # by what stopped the worker, not by the broker
    PLANNED = "planned"  # the broker announced it
    REFUSED = "refused"  # the credential was refused, or is incomplete
    RATE_LIMITED = "rate_limited"
    UNREACHABLE = "unreachable"  # no connection, or a server error
    CIRCUIT_OPEN = "circuit_open"  # nothing was tried
    PROTOCOL = "protocol"  # the broker did not keep to its specification
    INTERNAL = "internal"  # a defect of ours


# The first that fits counts: the special ones stand before what they are a kind of.
_KINDS: tuple[tuple[type[Exception], LossReason], ...] = (
    (ConnectionLostError, LossReason.CLOSED),
    (SilentConnectionError, LossReason.SILENT),
    (HeldUpError, LossReason.HELD_UP),
    (PlannedReconnectError, LossReason.PLANNED),
    (CircuitOpenError, LossReason.CIRCUIT_OPEN),
    (BrokerAuthError, LossReason.REFUSED),
    (BrokerConfigError, LossReason.REFUSED),
    (BrokerRateLimitError, LossReason.RATE_LIMITED),
    (BrokerUnavailableError, LossReason.UNREACHABLE),
    (BrokerProtocolError, LossReason.PROTOCOL),
)


def loss_reason(failure: Exception) -> LossReason:
    """Return what a failure counts as."""
    return next((why for kind, why in _KINDS if isinstance(failure, kind)), LossReason.INTERNAL)
