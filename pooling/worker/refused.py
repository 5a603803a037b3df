"""Accounts that a worker cannot serve as they are, and how that reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from brokers.pool_service import (
    FeedStatus,
    Outcome,
    OutcomeState,
    Peak,
    PoolStats,
    RefusalCode,
    Want,
)
from pooling.contracts import AccountSpec

__all__ = ["RefusedAccount"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedAccount:
    """One account with the reason, since when (epoch ms), and the life that its pool has not.

    ``is_final``: only an edit can help, so it is not tried again before.
    """

    spec: AccountSpec
    reason: str
    since_ms: int
    life: int
    is_final: bool

    def to_stats(self) -> PoolStats:
        """Return the statistics of a pool that is not there: closed, and why."""
        nothing = Peak(0, self.since_ms)
        return PoolStats(
            pool_id=self.spec.pool_id,
            broker=self.spec.broker,
            status=FeedStatus.CLOSED,
            reason=self.reason,
            since_ms=self.since_ms,
            connections=(),
            max_connections=self.spec.options.max_connections,
            symbols_per_connection=self.spec.options.symbols_per_connection,
            used=0,
            capacity=0,
            wanted=0,
            confirmed=0,
            clients=0,
            ticks_received=0,
            ticks_per_second=0.0,
            frames_malformed=0,
            ticks_unknown=0,
            reconnects=0,
            peak_symbols=nothing,
            peak_connections=nothing,
            peak_clients=nothing,
            peak_ticks_per_second=nothing,
            config_revision=self.spec.options.revision,
            credential_expiry_ms=self.spec.credential_expiry_ms,
            life=self.life,
        )

    def to_outcomes(self, wants: Sequence[Want]) -> list[Outcome]:
        """Return what becomes of wants: they wait until somebody has mended the account."""
        return [
            Outcome(
                key=want.key,
                state=OutcomeState.PENDING,
                mode=want.mode,
                depth_levels=want.depth_levels,
                code=RefusalCode.BROKER_UNAVAILABLE,
                message=f"the account cannot be served: {self.reason}",
            )
            for want in wants
        ]
