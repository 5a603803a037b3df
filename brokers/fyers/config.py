"""What Fyers allows and where it is: the data that the core reads instead of its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import parse_qsl, urlsplit

from brokers.base import BrokerCapabilities, CredentialField
from brokers.exceptions import BrokerConfigError
from brokers.fyers.constants import MAX_TOPICS_PER_MESSAGE, SEGMENT_EXCHANGES, TOPICS_PER_CONNECTION

__all__ = ["CAPABILITIES", "FEED_PATH", "FyersSettings", "master_urls"]

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
    # The limit of symbols is one of the API key, so that further connections carry nothing more,
    # and how many there may be is not documented.
    max_connections=1,
    symbols_per_connection=TOPICS_PER_CONNECTION,
    unit="topics",
    depth_levels=(5,),
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
class FyersSettings:
    """What the protocol leaves open, one account at a time, with the safer defaults.

    They stand behind ``#`` in the account's endpoint, which is never sent to a server:
    ``wss://socket.fyers.in/hsm/v1-5/prod#lite_channel=12&acks=off``.

    ``channel`` carries what is subscribed. ``lite_channel``, if it is not 0, carries what is
    wanted as LTP only: lite records hold the last price and no time; whether two channels may be in
    use at a time is not documented. ``acks``: whether data frames are acknowledged where the server
    asks for it; the official client does. ``source`` is how the client calls itself.
    """

    channel: int = 11
    lite_channel: int = 0
    acks: bool = True
    source: str = "PythonSDK-3.2.0"

    def __post_init__(self) -> None:
        if not (1 <= self.channel <= 63 and 0 <= self.lite_channel <= 63):
            raise ValueError("a channel is a number from 1 to 63")
        if self.channel == self.lite_channel:
            raise ValueError("lite_channel must be another one than channel, or 0")
        if not (self.source.isascii() and self.source.isprintable() and len(self.source) <= 64):
            raise ValueError("source must be at most 64 printable ASCII characters")

    @classmethod
    def of_endpoint(cls, endpoint: str) -> Self:
        """Return the settings of an endpoint. Raises BrokerConfigError, naming what mends it."""
        given = dict(parse_qsl(urlsplit(endpoint).fragment, keep_blank_values=True))
        values: dict[str, int | bool | str] = {}
        try:
            for name, text in given.items():
                values[name] = _READERS[name](text)
            return cls(**values)  # type: ignore[arg-type]  # each reader returns its field's type
        except KeyError:
            known = ", ".join(_READERS)
            raise BrokerConfigError(
                f"fyers: the endpoint has the setting {name[:20]!r}; known: {known}"
            ) from None
        except ValueError as error:
            raise BrokerConfigError(f"fyers: a setting of the endpoint: {error}") from None


def master_urls(http_endpoint: str | None) -> tuple[str, ...]:
    """Return the URLs of the symbol masters, and of the names that indices have on the socket."""
    base = (http_endpoint or CAPABILITIES.http_endpoint).rstrip("/") + _MASTER_PATH
    return tuple(base + name for name in _MASTERS)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        raise ValueError("a channel is a number from 1 to 63")
    return int(text)


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise ValueError("acks is on or off")
    return text == "on"


_READERS: Final[dict[str, Callable[[str], int | bool | str]]] = {
    "channel": _number,
    "lite_channel": _number,
    "acks": _switch,
    "source": str,
}
