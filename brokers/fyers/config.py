"""Limits and addresses of Fyers: the data that the core reads instead of its name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from brokers.contract import BrokerCapabilities, CategoryLimit, CredentialField
from brokers.fyers.constants import MAX_TOPICS_PER_MESSAGE, SEGMENT_EXCHANGES, TOPICS_PER_CONNECTION
from brokers.settings import BrokerSettings, setting

__all__ = ["CAPABILITIES", "FEED_PATH", "TOPICS", "FyersSettings", "master_urls", "of_plan"]

TOPICS: Final = "topics"

FEED_PATH: Final = "/hsm/v1-5/prod"
_MASTER_PATH: Final = "/sym_details/"
_MASTERS: Final = (
    "NSE_CM.csv",
    "NSE_FO.csv",
    "NSE_CD.csv",
    "NSE_COM.csv",
    "BSE_CM.csv",
    "BSE_FO.csv",
    "MCX_COM.csv",
    "index_hsm_mapping.json",
)

CAPABILITIES: Final = BrokerCapabilities(
    name="fyers",
    label="Fyers",
    exchanges=frozenset({*SEGMENT_EXCHANGES.values(), "NSE_INDEX", "BSE_INDEX"}),
    # How many there may be is not documented.
    max_connections=1,
    symbols_per_connection=TOPICS_PER_CONNECTION,
    unit="topics",
    # The limit of symbols is one of the API key: further connections carry nothing more.
    category_limits=(CategoryLimit(TOPICS, TOPICS_PER_CONNECTION, TOPICS_PER_CONNECTION),),
    shares_category_limits=True,
    depth_levels=(5,),
    connections_count_by="access_token",
    credential_fields=(
        CredentialField(
            "access_token",
            "Access token",
            "Of today's login, as 'APPID:token' or the token alone; it ends the same day.",
        ),
    ),
    default_endpoint=f"wss://socket.fyers.in{FEED_PATH}",
    http_endpoint="https://public.fyers.in",
    # What the official client does; the server's own limits are not documented.
    batch_size=MAX_TOPICS_PER_MESSAGE,
    max_message_bytes=24 * 1024,
    message_interval_seconds=0.5,
    connect_interval_seconds=5.0,
    # It is not known to say anything by itself, nor to answer the byte that we send.
    heartbeat_seconds=None,
    liveness_timeout_seconds=30.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FyersSettings(BrokerSettings):
    """Settings in which plans differ, or that the protocol leaves open, with the safer defaults.

    Attributes:
        symbols: topics that the API key may have, all connections together. 5,000 are documented in
            newer articles and are what the official client checks; older ones say 200.
        connections: how many one user may have is not documented.
        channel: carries what is subscribed; the official client's own by default.
        lite_channel: if it is not 0, carries what is wanted as LTP only: lite records hold the last
            price and no time. Whether two channels may be in use at a time is not documented.
        acks: whether data frames are acknowledged where the server asks for it; the official client
            does, and what happens without is not known.
        source: how the client calls itself.
    """

    symbols: int = setting(
        TOPICS_PER_CONNECTION,
        label="Symbols of your plan",
        help_text="What the API key may have, all connections together: 5000 are documented, older "
        "articles say 200, and plans may allow more. A symbol with its order book counts twice.",
        minimum=200,
        maximum=200_000,
    )
    connections: int = setting(
        1,
        label="Connections",
        help_text="How many Fyers takes of one user is not documented. The symbols of the plan are "
        "shared among them.",
        minimum=1,
        maximum=10,
    )
    channel: int = setting(
        11,
        label="Channel",
        help_text="Which channel of the socket carries the symbols; 11 is the official client's.",
        minimum=1,
        maximum=63,
    )
    lite_channel: int = setting(
        0,
        label="Channel of last prices",
        help_text="A second channel, in lite mode, for what is wanted as LTP only: fewer bytes, "
        "and no times. Whether Fyers takes two channels is not documented. 0: none.",
        minimum=0,
        maximum=63,
    )
    acks: bool = setting(
        True,
        label="Acknowledge data",
        help_text="Where the server asks for it, as the official client does. What happens without "
        "is not known.",
    )
    source: str = setting(
        "PythonSDK-3.2.0",
        label="Name of the client",
        help_text="What the first message says that we are; no other name is known to be taken.",
        maximum=64,
    )

    def _check(self) -> None:
        if self.channel == self.lite_channel:
            raise ValueError("lite_channel must be another one than channel, or 0")
        if not (self.source and self.source.isascii()):
            raise ValueError("source must be ASCII, and not empty")


def of_plan(capabilities: BrokerCapabilities, settings: FyersSettings) -> BrokerCapabilities:
    """Return the capabilities with what the plan of an account allows."""
    symbols = settings.symbols
    return replace(
        capabilities,
        max_connections=settings.connections,
        symbols_per_connection=symbols,
        category_limits=(CategoryLimit(TOPICS, alone=symbols, mixed=symbols),),
    )


def master_urls(http_endpoint: str | None) -> tuple[str, ...]:
    """Return the URLs of the symbol masters, and of the names that indices have on the socket."""
    base = (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
    return tuple(base + name for name in _MASTERS)
