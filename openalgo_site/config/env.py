"""The environment, typed: every variable that the project reads, with its default.

``.env.example`` documents them one by one; a test keeps the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec

from openalgo_site.config.logs import LogFormat, LogLevel
from openalgo_site.config.private_files import BUS_FOLDER

__all__ = ["EmailSecurity", "Environment", "EnvironmentValueError", "read_environment"]


Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

LEAST_KEY_LENGTH = 16


class EnvironmentValueError(ValueError):
    """A variable has a value that cannot be used; the message names it."""


class EmailSecurity(StrEnum):
    """How the way to the mail server is protected."""

    NONE = "none"
    STARTTLS = "starttls"
    TLS = "tls"


class Environment(msgspec.Struct, frozen=True, rename="upper"):
    """Typed view of the process environment; field ``port`` is variable ``PORT``."""

    # Where things listen
    host: str = "127.0.0.1"
    port: Port = 8000
    openalgo_port: Port = 8765
    zmq_host: str = "127.0.0.1"
    zmq_port: Port = 5555
    zmq_socket_dir: str = ""
    zmq_curve_key_file: str = ""
    zmq_send_hwm: Count = 100_000
    zmq_receive_hwm: Count = 100_000
    gateway_workers: Count = 1
    simulator_port: Port = 9010
    simulator_login_port: Port = 9011
    simulator_rate: Seconds = 2000.0
    simulator_api_key: str = ""
    simulator_access_token: str = ""
    simulator_control_token: str = ""

    # Where things are kept
    data_dir: str = "var"
    database_url: str = ""
    redis_url: str = ""
    db_min_connections: Count = 2
    db_max_connections: Count = 10
    db_connection_timeout: Seconds = 10.0
    db_idle_timeout: Seconds = 300.0

    # The site
    debug: bool = False
    secret_key: str = ""
    public_url: str = ""
    allowed_hosts: str = "127.0.0.1,localhost,[::1]"
    csrf_trusted_origins: str = ""
    trusted_proxies: str = ""
    metrics_key: str = ""
    log_level: LogLevel = LogLevel.INFO
    log_libraries_level: LogLevel = LogLevel.WARNING
    log_format: LogFormat = LogFormat.TEXT
    time_zone: str = "Asia/Kolkata"

    # The pool, with the names that OpenAlgo's users know
    max_symbols_per_websocket: Count = 1000
    max_websocket_connections: Count = 3
    unsubscribe_linger_seconds: float = 5.0
    usage_interval_seconds: Seconds = 300.0
    usage_kept_days: Count = 90

    # Alerts
    alert_hold_seconds: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    alert_webhook_hosts: str = ""
    email_host: str = ""
    email_port: Port = 25
    email_user: str = ""
    email_password: str = ""
    email_security: EmailSecurity = EmailSecurity.STARTTLS
    email_from: str = "tickpool@localhost"

    # Broker HTTP, and the way to brokers
    broker_hosts: str = ""
    broker_proxy: str = "environment"
    http_max_connections: Count = 100
    http_max_connections_per_host: Count = 30
    http_connection_timeout: Seconds = 30.0
    http_retry_attempts: int = 3
    local_exchanges: str = ""

    def data_path(self, base: Path) -> Path:
        """Return the data directory; a relative one is below ``base``."""
        return (base / self.data_dir).resolve()

    def bus_path(self, base: Path) -> Path | None:
        """Return the folder of the socket files, or None; a relative one is below ``base``."""
        if self.zmq_socket_dir == "none":
            return None
        if self.zmq_socket_dir:
            return (base / self.zmq_socket_dir).resolve()
        return self.data_path(base) / BUS_FOLDER


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Convert the process environment; empty values count as not set.

    Raises:
        EnvironmentValueError: a value does not fit its type or range; names the variable.
    """
    names = {field.encode_name for field in msgspec.structs.fields(Environment)}
    given = {name: value for name, value in environ.items() if name in names and value != ""}
    for name, value in given.items():
        try:
            msgspec.convert({name: value}, Environment, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).split(" - at")[0]
            raise EnvironmentValueError(f"{name}={value!r} cannot be used: {reason}") from None
    environment = msgspec.convert(given, Environment, strict=False)
    key = environment.metrics_key
    if key and (len(key) < LEAST_KEY_LENGTH or not all("!" <= each <= "~" for each in key)):
        raise EnvironmentValueError(  # which does not quote it
            f"METRICS_KEY cannot be used: it needs {LEAST_KEY_LENGTH} characters or more, "
            "letters, digits and signs of ASCII without spaces"
        )
    return environment
