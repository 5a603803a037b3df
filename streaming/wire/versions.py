"""The versions of the bus that worker and gateway speak, and what is said where they differ. Pure.

Both ends say theirs: a worker in each beat, a gateway in its hello. They are started apart, so an
upgrade may restart one of them only.
"""

from __future__ import annotations

__all__ = ["PROTOCOL_VERSION", "UNTOLD", "version_trouble"]

# Of beats and of the control link; raised with every change of what ``control_messages`` means.
PROTOCOL_VERSION = 1

# Of an end that does not say its version, as none did before there was one.
UNTOLD = 0


def version_trouble(*, worker: int, gateway: int) -> str:
    """Return what is wrong between a worker and a gateway and what mends it; "" for nothing."""
    if worker == gateway:
        return ""
    older = "worker" if worker < gateway else "gateway"
    return (
        f"the worker speaks {_said(worker)} of the bus, the gateway {_said(gateway)}: "
        f"restart the {older}, so that both are of the same TickPool"
    )


def _said(version: int) -> str:
    return "an older version" if version == UNTOLD else f"version {version}"
