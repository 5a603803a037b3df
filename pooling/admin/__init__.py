"""The admin of pools: accounts with their limits and operations, history, commands, instruments.

Importing it registers everything with Django's admin site.
"""

from __future__ import annotations

from pooling.admin.accounts import BrokerAccountAdmin
from pooling.admin.alerts import AlertTargetAdmin
from pooling.admin.calendar import TradingDayAdmin
from pooling.admin.commands import PoolCommandAdmin
from pooling.admin.history import (
    PoolEventAdmin,
    PoolRecordAdmin,
    PoolUsageAdmin,
    PoolUsageDayAdmin,
    ReadOnlyAdmin,
)
from pooling.admin.instruments import InstrumentAdmin
from pooling.admin.logins import LoginAttemptAdmin, LoginSetupAdmin
from pooling.admin.status import PoolStatusAdmin

__all__ = [
    "AlertTargetAdmin",
    "BrokerAccountAdmin",
    "InstrumentAdmin",
    "LoginAttemptAdmin",
    "LoginSetupAdmin",
    "PoolCommandAdmin",
    "PoolEventAdmin",
    "PoolRecordAdmin",
    "PoolStatusAdmin",
    "PoolUsageAdmin",
    "PoolUsageDayAdmin",
    "ReadOnlyAdmin",
    "TradingDayAdmin",
]
