"""Facts of Fyers' HSM data socket, version 1-5.

There is no public byte table: all of it is what the official client does (fyers-apiv3 3.2.0,
``FyersWebsocket/data_ws.py`` and ``map.json``), and the columns of the symbol masters are those of
the files that it documents. Integers are big endian.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "BOOK_FIELDS",
    "BOOK_TOPIC",
    "DEPTH_LEVELS",
    "FEED_FIELDS",
    "FEED_TOPIC",
    "FYTOKEN_SEGMENTS",
    "INDEX_FIELDS",
    "INDEX_TOPIC",
    "LIMIT_EXCEEDED",
    "MAX_TOPICS_PER_MESSAGE",
    "NO_VALUE",
    "OK",
    "PING",
    "RECORD_LITE",
    "RECORD_SNAPSHOT",
    "RECORD_UPDATE",
    "SEGMENTS",
    "SEGMENT_EXCHANGES",
    "TOPICS_PER_CONNECTION",
    "TYPE_ACK",
    "TYPE_AUTH",
    "TYPE_CUSTOM",
    "TYPE_DATA",
    "TYPE_MODE",
    "TYPE_PAUSE",
    "TYPE_PING",
    "TYPE_RESUME",
    "TYPE_SUBSCRIBE",
    "TYPE_UNSUBSCRIBE",
]

# The third byte of a frame; an answer has the type of its request.
TYPE_AUTH: Final = 1
TYPE_ACK: Final = 3
TYPE_SUBSCRIBE: Final = 4
TYPE_UNSUBSCRIBE: Final = 5
TYPE_DATA: Final = 6
TYPE_PAUSE: Final = 7
TYPE_RESUME: Final = 8
TYPE_PING: Final = 11
TYPE_MODE: Final = 12
TYPE_CUSTOM: Final = 51

OK: Final = "K"
PING: Final = bytes((0, 1, TYPE_PING))
LIMIT_EXCEEDED: Final = 51001  # "Standard plan symbol limit"

RECORD_LITE: Final = 76
RECORD_SNAPSHOT: Final = 83
RECORD_UPDATE: Final = 85

# In a snapshot "there is none", in an update "as before".
NO_VALUE: Final = -(2**31)

FEED_FIELDS: Final = 21
INDEX_FIELDS: Final = 6
DEPTH_LEVELS: Final = 5
BOOK_FIELDS: Final = 6 * DEPTH_LEVELS

FEED_TOPIC: Final = "sf"
INDEX_TOPIC: Final = "if"
BOOK_TOPIC: Final = "dp"

# The client's own limits; the server's are those of the plan, which nobody documents.
TOPICS_PER_CONNECTION: Final = 5000
MAX_TOPICS_PER_MESSAGE: Final = 1500

# The first four digits of a fytoken (exchange and segment), and the segment in a topic.
FYTOKEN_SEGMENTS: Final[dict[str, str]] = {
    "1010": "nse_cm",
    "1011": "nse_fo",
    "1012": "cde_fo",
    "1020": "nse_com",
    "1120": "mcx_fo",
    "1210": "bse_cm",
    "1211": "bse_fo",
    "1212": "bcs_fo",
}
SEGMENTS: Final = frozenset(FYTOKEN_SEGMENTS.values())
SEGMENT_EXCHANGES: Final[dict[str, str]] = {
    "nse_cm": "NSE",
    "nse_fo": "NFO",
    "cde_fo": "CDS",
    "nse_com": "NCO",
    "mcx_fo": "MCX",
    "bse_cm": "BSE",
    "bse_fo": "BFO",
    "bcs_fo": "BCD",
}
