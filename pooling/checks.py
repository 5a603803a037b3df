"""Checks of what pools need; every message has its id and the way to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from brokers.endpoints.addresses import is_loopback
from pooling import conf
from pooling.keys.crypto import SYMMETRIC, load_sealer
from pooling.keys.files import KeyFileError, check_private_mode, public_file

__all__ = ["check_bus_address", "check_key_file", "check_limits"]


@register()
def check_key_file(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """A key file that is there must be usable; a private half that is missing is a worker's matter.

    It is not opened where a public half is beside it.
    """
    path = conf.key_file()
    if not path.exists() and not public_file(path).exists():
        return [
            Warning(
                f"There is no key file {path}: broker credentials cannot be stored or read.",
                hint="Run `python manage.py createkeyfile`.",
                id="pooling.W001",
            )
        ]
    try:
        if path.exists():
            check_private_mode(path)
        sealer = load_sealer(path)
    except KeyFileError as error:
        return [Error(str(error), id="pooling.E001")]
    if sealer.key_id != SYMMETRIC:
        return []
    return [
        Warning(
            f"Every process that may store broker credentials can also read them with {path}.",
            hint="Run `python manage.py sealcredentials`.",
            id="pooling.W003",
        )
    ]


@register()
def check_limits(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Defaults above a broker's own limits are cut to them, which is worth knowing."""
    env = settings.ENV
    largest = max(
        (adapter.capabilities.symbols_per_connection for adapter in conf.broker_registry()),
        default=env.max_symbols_per_websocket,
    )
    if env.max_symbols_per_websocket > largest:
        return [
            Warning(
                f"MAX_SYMBOLS_PER_WEBSOCKET={env.max_symbols_per_websocket} is more than "
                f"any broker allows ({largest}).",
                hint="Each pool is cut to its broker's own limit.",
                id="pooling.W002",
            )
        ]
    return []


@register()
def check_bus_address(app_configs: Any = None, **_: Any) -> list[CheckMessage]:
    """Ticks and subscriptions leave the machine encrypted or not at all."""
    env = settings.ENV
    if not is_loopback(env.zmq_host) and not env.zmq_curve_key_file:
        return [
            Error(
                f"ZMQ_HOST={env.zmq_host} can be reached from other machines without encryption.",
                hint="Set ZMQ_CURVE_KEY_FILE, or ZMQ_HOST=127.0.0.1.",
                id="pooling.E003",
            )
        ]
    if env.zmq_curve_key_file and not Path(env.zmq_curve_key_file).is_file():
        return [
            Error(
                f"ZMQ_CURVE_KEY_FILE={env.zmq_curve_key_file} is not a file.",
                hint="Name the installation's key file, the same for workers and gateways.",
                id="pooling.E004",
            )
        ]
    return []
