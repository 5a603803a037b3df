"""Tables of what the site remembers of brokers, pools and instruments.

A model turns into a frozen value (``BrokerAccount.to_spec``, ``PoolConfig.to_options``) and only
the value travels on; nothing here runs on the tick path.
"""

from __future__ import annotations

from pooling.models.accounts import BrokerAccount, PoolConfig, validate_endpoint
from pooling.models.alerts import AlertTarget
from pooling.models.calendar import TradingDay, trading_days
from pooling.models.commands import PoolCommand
from pooling.models.history import PoolEvent, PoolRecord, PoolUsage, PoolUsageDay
from pooling.models.instruments import (
    Instrument,
    InstrumentWord,
    NamesRevision,
    SearchTier,
    starting_with,
)
from pooling.models.logins import LoginAttempt, LoginSetup
from pooling.models.status import STATUS_KEPT, PeakSeen, PoolStatus

__all__ = [
    "STATUS_KEPT",
    "AlertTarget",
    "BrokerAccount",
    "Instrument",
    "InstrumentWord",
    "LoginAttempt",
    "LoginSetup",
    "NamesRevision",
    "PeakSeen",
    "PoolCommand",
    "PoolConfig",
    "PoolEvent",
    "PoolRecord",
    "PoolStatus",
    "PoolUsage",
    "PoolUsageDay",
    "SearchTier",
    "TradingDay",
    "starting_with",
    "trading_days",
    "validate_endpoint",
]
