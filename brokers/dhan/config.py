"""Limits and addresses of Dhan: the data that the core reads instead of its name.

The live feed and the two feeds of deep books are three kinds of connection, on three hosts, and a
deep book comes without a price or a volume: each is a broker of its own to the pool, so that who
wants twenty levels does not take the price away from who wants that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from brokers.contract import BrokerCapabilities, CredentialField
from brokers.dhan.constants import (
    DEEP_EXCHANGES,
    DEPTH_LEVELS,
    INSTRUMENTS_PER_CONNECTION,
    INSTRUMENTS_PER_MESSAGE,
)
from brokers.settings import BrokerSettings, setting
from brokers.types import FeedMode

__all__ = ["CAPABILITIES", "DEPTH_20", "DEPTH_200", "DhanSettings", "DhanWaits", "master_url"]

_MASTER_PATH: Final = "/api-data/api-scrip-master.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class DhanWaits(BrokerSettings):
    """Facts that Dhan's documents leave open of every feed, with what does least harm if wrong.

    Attributes:
        replaced_wait_seconds: how long a connection stays away after the broker closed it in favour
            of a newer one (805). The broker counts a dead link for 40 s, so that within this time a
            place of our own becomes free; each further time the wait doubles, so that two programs
            with one account do not close each other's connections for ever.
        replaced_wait_limit_seconds: the longest such wait. After twice as long without being
            replaced, the first wait applies again.
    """

    replaced_wait_seconds: float = setting(
        45.0,
        label="Wait after being replaced (seconds)",
        help_text="How long a connection stays away after Dhan closed it in favour of a newer one "
        "(805); doubled each further time. Dhan counts a dead connection for 40 seconds.",
        minimum=1,
        maximum=3600,
    )
    replaced_wait_limit_seconds: float = setting(
        900.0,
        label="Longest wait after being replaced (seconds)",
        help_text="Where the doubling of that wait ends.",
        minimum=1,
        maximum=3600,
    )

    def _check(self) -> None:
        if self.replaced_wait_seconds > self.replaced_wait_limit_seconds:
            raise ValueError("replaced_wait_seconds must not be above replaced_wait_limit_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class DhanSettings(DhanWaits):
    """Settings that Dhan's documents leave open of the live feed, too.

    Attributes:
        trade_time_offset_seconds: what times of trades are ahead of Unix time. Documented as none;
            two independent projects found Indian time counted as UTC, one did not. A trade that
            seems to come from the future has no time at all.
        takes_close_from_quotes: the close of a quote is documented as the day's own, sent after the
            market has closed, so the previous close is that of its own packet. Others report it to
            be the previous one, or 0.
        subscribes_before_ending: a change of mode asks for the new one before it ends the old one,
            so that no tick is missed. What Dhan does with one instrument under two codes is not
            known: if it keeps one of them only, the instrument would be lost. The safe order misses
            what is traded between two messages; current values follow at once.
    """

    trade_time_offset_seconds: int = setting(
        19_800,
        label="Trade times are ahead by (seconds)",
        help_text="Dhan documents Unix time (0), but is seen to send Indian time counted as UTC "
        "(19800). Change it if the times of trades are off by 5 h 30 min, or missing.",
        choices=((19_800, "Indian time counted as UTC (19800)"), (0, "Unix time (0)")),
    )
    takes_close_from_quotes: bool = setting(
        False,
        label="Take the previous close from quotes",
        help_text="Documented is that a quote's close is the day's own and the previous close has "
        "a packet of its own; others report it to be the previous close.",
    )
    subscribes_before_ending: bool = setting(
        False,
        label="Ask for a new mode before ending the old one",
        help_text="No tick is missed while a mode changes, but if Dhan keeps only one mode of an "
        "instrument, the instrument is lost. Which of both it does is not documented.",
    )


CAPABILITIES: Final = BrokerCapabilities(
    name="dhan",
    label="Dhan",
    exchanges=frozenset(
        {
            "NSE",
            "BSE",
            "NFO",
            "BFO",
            "CDS",
            "BCD",
            "MCX",
            "NCO",
            "NSE_INDEX",
            "BSE_INDEX",
            "MCX_INDEX",
        }
    ),
    max_connections=5,
    symbols_per_connection=INSTRUMENTS_PER_CONNECTION,
    depth_levels=(DEPTH_LEVELS,),
    credential_fields=(
        CredentialField("client_id", "Client ID", "Your Dhan account, as in dhanClientId."),
        CredentialField(
            "access_token",
            "Access token",
            "From web.dhan.co; it ends after 24 hours. The Data APIs must be subscribed.",
        ),
    ),
    default_endpoint="wss://api-feed.dhan.co",
    http_endpoint="https://images.dhan.co",
    batch_size=INSTRUMENTS_PER_MESSAGE,
    # Not documented.
    message_interval_seconds=0.1,
    connect_interval_seconds=1.0,
    # It pings every 10 s, and closes a link that has not answered for 40 s.
    heartbeat_seconds=10.0,
    liveness_timeout_seconds=30.0,
    # Not documented either way.
    connections_count_by="client_id",
    may_count_with=("dhan_depth20", "dhan_depth200"),
)

DEPTH_20: Final = replace(
    CAPABILITIES,
    name="dhan_depth20",
    label="Dhan, books of 20 levels",
    exchanges=DEEP_EXCHANGES,
    symbols_per_connection=50,
    modes=(FeedMode.DEPTH,),
    depth_levels=(20,),
    default_endpoint="wss://depth-api-feed.dhan.co/twentydepth",
    batch_size=50,
    connections_count_by="client_id",
    may_count_with=("dhan", "dhan_depth200"),
)

# The documents name this path, the official client connects to "/".
DEPTH_200: Final = replace(
    DEPTH_20,
    name="dhan_depth200",
    label="Dhan, books of 200 levels",
    symbols_per_connection=1,
    depth_levels=(200,),
    default_endpoint="wss://full-depth-api.dhan.co/twohundreddepth",
    batch_size=1,
    connections_count_by="client_id",
    may_count_with=("dhan", "dhan_depth20"),
)


def master_url(http_endpoint: str | None) -> str:
    """Return the URL of the compact instruments master, a CSV that is made again every day."""
    return (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
