"""Brokers that there are: explicit tables from name to adapter class, and to login."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from brokers.angel.connection import AngelAdapter
from brokers.angel.login import AngelLogin
from brokers.binance.connection import BinanceAdapter
from brokers.contract import BrokerAdapter
from brokers.dhan.connection import DhanAdapter, DhanDepth20Adapter, DhanDepth200Adapter
from brokers.dhan.login import DhanLogin
from brokers.exceptions import BrokerConfigError
from brokers.fyers.connection import FyersAdapter
from brokers.fyers.login import FyersLogin
from brokers.login.contract import BrokerLogin
from brokers.upstox.connection import UpstoxAdapter
from brokers.upstox.login import UpstoxLogin
from brokers.zerodha.connection import ZerodhaAdapter
from brokers.zerodha.login import ZerodhaLogin

__all__ = ["BrokerRegistry", "default_registry", "login_of"]

# The login of each broker that has one, by the broker's name.
_LOGINS: Final[Mapping[str, Callable[[str], BrokerLogin]]] = {
    "angel": AngelLogin,
    "dhan": DhanLogin,
    "dhan_depth20": DhanLogin,
    "dhan_depth200": DhanLogin,
    "fyers": FyersLogin,
    "upstox": UpstoxLogin,
    "zerodha": ZerodhaLogin,
}


class BrokerRegistry:
    """Name to adapter class. Filled at start, read afterwards; names are unique."""

    def __init__(self) -> None:
        # By name; filled at start.
        self._adapters: dict[str, type[BrokerAdapter]] = {}

    def register(self, adapter: type[BrokerAdapter]) -> None:
        """Add an adapter class under its capabilities' name. Raises ValueError for a second one."""
        name = adapter.capabilities.name
        if name in self._adapters:
            raise ValueError(f"broker {name!r} is registered twice")
        self._adapters[name] = adapter

    def get(self, name: str, settings: Mapping[str, object] | None = None) -> type[BrokerAdapter]:
        """Return the adapter class of a broker, with the settings of an account if there are any.

        Raises:
            BrokerConfigError: an unknown broker or setting, naming the known ones, or a value that
                is not allowed.
        """
        try:
            adapter = self._adapters[name]
        except KeyError:
            known = ", ".join(sorted(self._adapters)) or "none"
            raise BrokerConfigError(f"unknown broker {name!r}; known: {known}") from None
        return adapter.with_settings(settings) if settings else adapter

    def __iter__(self) -> Iterator[type[BrokerAdapter]]:
        return iter(self._adapters.values())

    def names(self) -> list[str]:
        """Return the names of all brokers, sorted."""
        return sorted(self._adapters)


def default_registry() -> BrokerRegistry:
    """Return a registry of the brokers that ship with the project."""
    registry = BrokerRegistry()
    registry.register(ZerodhaAdapter)
    registry.register(BinanceAdapter)
    registry.register(AngelAdapter)
    registry.register(DhanAdapter)
    registry.register(DhanDepth20Adapter)
    registry.register(DhanDepth200Adapter)
    registry.register(FyersAdapter)
    registry.register(UpstoxAdapter)
    return registry


def login_of(broker_name: str, base_url: str = "") -> BrokerLogin | None:
    """Return the login of a broker, by its name; None for a broker without one.

    Args:
        base_url: "" for the broker's own hosts, else the URL below which its paths stand.
    """
    login = _LOGINS.get(broker_name)
    return None if login is None else login(base_url)
