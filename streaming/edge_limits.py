"""Bounds of the client edge: how much one client, one address and the process may use. Pure.

Time is passed in as seconds of a monotonic clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from enum import StrEnum

import msgspec

from streaming.addresses import address_group

__all__ = ["AuthFailures", "ConnectionCounter", "EdgeLimits", "Refusal", "TokenBucket"]


class Refusal(StrEnum):
    """A bound of the edge that a connection met; the word is a label of a metric."""

    FRAMES = "frames"
    PIECES = "pieces"
    LARGE_MESSAGES = "large_messages"
    SLOW_MESSAGE = "slow_message"
    FRAME_BYTES = "frame_bytes"
    HEADER_BYTES = "header_bytes"
    BODY_BYTES = "body_bytes"
    PIPELINED = "pipelined"
    SLOW_REQUEST = "slow_request"
    STRANGERS = "strangers"
    STRANGERS_OF_ADDRESS = "strangers_of_address"
    FILES = "files"
    PAGES = "pages"
    LOGINS = "logins"


class EdgeLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Every bound of the client edge with its default; Django setting ``GATEWAY_LIMITS`` overrides.

    ``auth_retry_seconds`` is how long a client whose key could not be looked up has to try again on
    the same socket. ``message_burst`` lets a spreadsheet subscribe every cell at once; after
    ``messages_refused_before_close`` refused frames the client is closed. What is said of a user
    counts all its clients and keys together; see ``streaming/shares/budget.py``. Frames of every
    kind, the parts of messages and control frames included, are counted by ``frame_burst`` and
    ``frames_per_second``, which leave room above those; before authentication by those that begin
    with ``stranger``. ``max_strangers`` counts connections without authentication, HTTP included;
    ``reserved_files`` are left for everything that is no connection. Which path takes a body of how
    many bytes is in ``openalgo_site/web/bodies.py``.
    """

    api_frame_bytes: int = 1024 * 1024
    browser_frame_bytes: int = 64 * 1024
    unauthenticated_frame_bytes: int = 4096
    auth_timeout_seconds: float = 10.0
    auth_failure_close_seconds: float = 0.3
    auth_retry_seconds: float = 2.0
    auth_failures_per_minute: int = 5
    header_bytes: int = 32 * 1024
    api_body_bytes: int = 64 * 1024
    login_body_bytes: int = 8 * 1024
    form_body_bytes: int = 256 * 1024
    upload_body_bytes: int = 2560 * 1024
    request_timeout_seconds: float = 10.0
    pages_at_once: int = 3
    most_pages_at_once: int = 6
    user_pages_at_once: int = 2
    pages_waiting: int = 1000
    bodies_at_once: int = 8
    max_strangers: int = 4000
    max_strangers_per_address: int = 100
    reserved_files: int = 200
    stranger_frames_per_second: float = 4.0
    stranger_frame_burst: int = 32
    frames_per_second: float = 200.0
    frame_burst: int = 5000
    pieces_per_message: int = 256
    turn_bytes: int = 64 * 1024
    messages_per_second: float = 100.0
    message_burst: int = 2000
    messages_refused_before_close: int = 500
    max_clients: int = 20_000
    max_clients_per_address: int = 10_000
    max_instruments_per_client: int = 10_000
    max_clients_per_user: int = 500
    max_instruments_per_user: int = 100_000
    user_items_per_second: float = 5000.0
    user_item_burst: int = 200_000
    user_bytes_per_second: int = 4 * 1024 * 1024
    user_byte_burst: int = 64 * 1024 * 1024
    user_large_messages: int = 8
    user_large_messages_waiting: int = 64
    user_queries_per_second: float = 50.0
    user_query_burst: int = 1000
    user_api_requests_at_once: int = 2
    user_api_requests_waiting: int = 50
    max_logins_waiting: int = 20
    login_wait_seconds: float = 15.0
    max_unsent_bytes: int = 1024 * 1024
    stall_seconds: float = 10.0
    close_timeout_seconds: float = 5.0
    revalidate_seconds: float = 2.0
    max_suggestions: int = 20


class TokenBucket:
    """Lets ``burst`` through at once and ``rate`` a second in the long run.

    What costs more than is left passes all the same as long as one is left, and is paid off
    afterwards: nothing is too dear for ever.
    """

    __slots__ = ("_burst", "_rate", "_tokens", "_updated_at")

    def __init__(self, *, rate: float, burst: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("rate must be positive and burst at least 1")
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)  # left at ``_updated_at``
        self._updated_at: float | None = None  # in the clock of whoever asks; None: never asked

    def allows(self, now: float, cost: float = 1.0) -> bool:
        """Count an event of ``cost``; False, and nothing counted, when it is over the limit."""
        self._refill(now)
        if self._tokens < 1:
            return False
        self._tokens -= cost
        return True

    def charge(self, now: float, cost: float) -> None:
        """Count what happened already, be it over the limit."""
        self._refill(now)
        self._tokens -= cost

    def wait_seconds(self, now: float) -> float:
        """Return in how many seconds something is allowed again; 0.0: now."""
        self._refill(now)
        return max(0.0, (1 - self._tokens) / self._rate)

    def _refill(self, now: float) -> None:
        if self._updated_at is not None:
            gained = (now - self._updated_at) * self._rate
            self._tokens = min(self._burst, self._tokens + gained)
        self._updated_at = now


class AuthFailures:
    """Remembers failed authentications, by address and by key.

    SDKs with a wrong key retry for ever: a key that failed within the last minute is answered from
    here, without a look at the database. Both tables hold ``max_entries`` and forget the least
    recently used; forgetting only ever makes the limit milder.
    """

    def __init__(
        self, *, per_minute: int, window_seconds: float = 60.0, max_entries: int = 10_000
    ) -> None:
        if per_minute < 1 or max_entries < 1 or window_seconds <= 0:
            raise ValueError("per_minute, window_seconds and max_entries must be positive")
        self._per_minute = per_minute
        self._window = window_seconds
        self._max_entries = max_entries
        # When failures came within the window, by address; the least recently used first.
        self._by_address: OrderedDict[str, deque[float]] = OrderedDict()
        # When each failed, by digest; the oldest first.
        self._failed_keys: OrderedDict[bytes, float] = OrderedDict()

    def failed_recently(self, key_digest: bytes, now: float) -> bool:
        """Tell whether this key was refused within the window."""
        failed_at = self._failed_keys.get(key_digest)
        if failed_at is None:
            return False
        if now - failed_at >= self._window:
            del self._failed_keys[key_digest]
            return False
        return True

    def record(self, address: str, key_digest: bytes, now: float) -> bool:
        """Count a failure; True when the address, an IPv6 one with its /64, is over its limit.

        A repeat does not extend the time for which its key is remembered, so a key that becomes
        valid works a window later at the latest.
        """
        if not self.failed_recently(key_digest, now):
            self._failed_keys[key_digest] = now
            if len(self._failed_keys) > self._max_entries:
                self._failed_keys.popitem(last=False)
        address = address_group(address)
        times = self._by_address.get(address)
        if times is None:
            times = self._by_address[address] = deque(maxlen=self._per_minute + 1)
            if len(self._by_address) > self._max_entries:
                self._by_address.popitem(last=False)
        self._by_address.move_to_end(address)
        times.append(now)
        while now - times[0] >= self._window:
            times.popleft()
        return len(times) > self._per_minute

    def retry_after_seconds(self, address: str, now: float) -> int:
        """Return in how many seconds the address is below its limit again."""
        times = self._by_address.get(address_group(address))
        if not times or len(times) <= self._per_minute:
            return 0
        return max(1, round(self._window - (now - times[0])))


class ConnectionCounter:
    """Counts open client sockets, in all and by address, IPv6 by its /64."""

    def __init__(self, *, max_total: int, max_per_address: int) -> None:
        if max_total < 1 or max_per_address < 1:
            raise ValueError("max_total and max_per_address must be at least 1")
        self._max_total = max_total
        self._max_per_address = max_per_address
        self._by_address: Counter[str] = Counter()  # open now
        self.total = 0  # open now, of all addresses

    def enter(self, address: str) -> bool:
        """Count one in; False, and nothing counted, when a limit is reached."""
        address = address_group(address)
        if self.total >= self._max_total or self._by_address[address] >= self._max_per_address:
            if not self._by_address[address]:
                del self._by_address[address]
            return False
        self.total += 1
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one out that was counted in."""
        address = address_group(address)
        self.total -= 1
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]
