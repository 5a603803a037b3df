"""Brokers that there are: an explicit table from name to adapter class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from brokers.angel.connection import AngelAdapter
from brokers.binance.connection import BinanceAdapter
from brokers.contract import BrokerAdapter
from brokers.dhan.connection import DhanAdapter, DhanDepth20Adapter, DhanDepth200Adapter
from brokers.exceptions import BrokerConfigError
from brokers.fyers.connection import FyersAdapter
from brokers.upstox.connection import UpstoxAdapter
from brokers.zerodha.connection import ZerodhaAdapter

__all__ = ["BrokerRegistry", "default_registry"]


class BrokerRegistry:
    """Name to adapter class. Filled at start, read afterwards; names are unique."""

    def __init__(self) -> None:
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
