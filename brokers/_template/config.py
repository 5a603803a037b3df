"""Limits and addresses of the broker: the data that the core reads instead of its name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from brokers._template.constants import DEPTH_LEVELS
from brokers.contract import BrokerCapabilities, CredentialField
from brokers.settings import BrokerSettings, setting

__all__ = ["CAPABILITIES", "TemplateSettings", "master_url"]

CAPABILITIES: Final = BrokerCapabilities(
    name="template",
    label="Template",
    exchanges=frozenset({"NSE", "NSE_INDEX", "NFO"}),
    max_connections=3,
    symbols_per_connection=1000,
    depth_levels=(DEPTH_LEVELS,),
    credential_fields=(CredentialField("access_token", "Access token", "Of today's login."),),
    default_endpoint="wss://stream.broker.invalid",
    http_endpoint="https://api.broker.invalid",
    batch_size=100,
    message_interval_seconds=0.1,
    connect_interval_seconds=1.0,
    # How often an idle link carries a byte, and how long none at all may come.
    heartbeat_seconds=10.0,
    liveness_timeout_seconds=30.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSettings(BrokerSettings):
    """Settings in which plans differ, or that the documents leave open, with the safer default."""

    connections: int = setting(
        CAPABILITIES.max_connections,
        label="Connections of your plan",
        help_text="A plan with more of them is sold, too.",
        minimum=CAPABILITIES.max_connections,
        maximum=10,
    )


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the instruments master."""
    return f"{(http_endpoint or CAPABILITIES.http_endpoint).rstrip('/')}/instruments.csv"
