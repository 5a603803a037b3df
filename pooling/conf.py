"""Settings of the pooling app, read when asked and never at import."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from django.conf import settings

from brokers.contract import BrokerCapabilities
from brokers.login.contract import MAX_ANSWER_BYTES, TIMEOUT_SECONDS, BrokerLogin
from brokers.registry import BrokerRegistry, default_registry
from brokers.registry import login_of as known_login
from pooling.contracts import PoolOptions
from pooling.http.policy import HttpOptions, RetryPolicy
from pooling.proxies import ProxyRules

__all__ = [
    "alert_webhook_hosts",
    "broker_capabilities",
    "broker_choices",
    "broker_hosts",
    "broker_registry",
    "default_options",
    "http_options",
    "key_file",
    "login_http_options",
    "login_of",
    "proxy_rules",
]

KEY_FILE_NAME = "credentials.key"


def key_file() -> Path:
    """Return where the keys are that encrypt brokers' credentials."""
    return Path(settings.DATA_DIR) / KEY_FILE_NAME


def alert_webhook_hosts() -> frozenset[str]:
    """Return the hosts that webhooks may reach inside and without TLS."""
    hosts = settings.ENV.alert_webhook_hosts.split(",")
    return frozenset(host.strip() for host in hosts if host.strip())


def broker_hosts() -> str:
    """Return the hosts that endpoints may lead to besides the brokers' own, by commas."""
    return settings.ENV.broker_hosts


def default_options() -> PoolOptions:
    """Return the limits of a pool whose owner has set none, before the broker's caps."""
    env = settings.ENV
    return PoolOptions(
        symbols_per_connection=env.max_symbols_per_websocket,
        max_connections=env.max_websocket_connections,
        linger_seconds=env.unsubscribe_linger_seconds,
    )


def http_options() -> HttpOptions:
    """Return the limits of HTTP requests to brokers."""
    env = settings.ENV
    return HttpOptions(
        max_connections=env.http_max_connections,
        max_connections_per_host=min(env.http_max_connections_per_host, env.http_max_connections),
        timeout_seconds=env.http_connection_timeout,
        retry=RetryPolicy(retries=max(0, env.http_retry_attempts)),
        proxies=proxy_rules(),
    )


def login_http_options() -> HttpOptions:
    """Return the limits of requests that log in: sent once each, and redirected nowhere."""
    return HttpOptions(
        max_connections=16,
        max_connections_per_host=8,
        timeout_seconds=TIMEOUT_SECONDS,
        total_seconds=TIMEOUT_SECONDS,
        max_body_bytes=MAX_ANSWER_BYTES,
        follows_redirects=False,
        retry=RetryPolicy(retries=0),
        proxies=proxy_rules(),
    )


def login_of(broker: str, base_url: str = "") -> BrokerLogin | None:
    """Return the login of a broker, below ``base_url`` if there is one; None: it has none."""
    return known_login(broker, base_url)


def proxy_rules() -> ProxyRules:
    """Return which proxy leads to a broker, for sockets and HTTP alike."""
    return ProxyRules(setting=settings.ENV.broker_proxy, environ=os.environ)


@cache
def broker_registry() -> BrokerRegistry:
    """Return the brokers that this installation can serve."""
    return default_registry()


def broker_capabilities(broker: str) -> BrokerCapabilities:
    """Return what a broker allows. Raises BrokerConfigError for an unknown one."""
    return broker_registry().get(broker).capabilities


def broker_choices() -> list[tuple[str, str]]:
    """Return the brokers as choices of a form field, sorted by name."""
    capabilities = (adapter.capabilities for adapter in broker_registry())
    return sorted((each.name, each.label) for each in capabilities)
