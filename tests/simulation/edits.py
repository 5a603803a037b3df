"""What a person has edited, and from when on the pool has to act on it."""

from __future__ import annotations

from collections.abc import Set

__all__ = ["APPLIED_SECONDS", "READ_SECONDS", "Edits"]

APPLIED_SECONDS = 5.0  # from an edit to its being in force
READ_SECONDS = 2.0  # how often the worker reads the accounts


class Edits:
    """Tells what may be in force. Times are the loop's.

    An edit is excused for ``APPLIED_SECONDS``. While the store is down, what was read last is in
    force, and nothing changes; what was edited meanwhile, or so shortly before that it may not have
    been read, counts from the moment when it is up again.

    Args:
        endpoint: the host at the start.
    """

    def __init__(self, endpoint: str) -> None:
        self._limits_at = self._endpoint_at = float("-inf")
        self._endpoint = endpoint  # as stored
        self._endpoints = {endpoint}  # those that may be in force
        self._down_since: float | None = None
        self._is_unread_limits = self._is_unread_endpoint = False

    def limits(self, now: float, *, is_read: bool) -> None:
        """Note new limits; ``is_read``: the store is up."""
        if is_read:
            self._limits_at = now
        else:
            self._is_unread_limits = True

    def endpoint(self, endpoint: str, now: float, *, is_read: bool) -> None:
        """Note another host."""
        self._settle(now)
        self._endpoint = endpoint
        if is_read:
            self._endpoints.add(endpoint)
            self._endpoint_at = now
        else:
            self._is_unread_endpoint = True

    def store_went_down(self, now: float) -> None:
        """Note that nothing is read from now on. Idempotent."""
        if self._down_since is None:
            self._settle(now)
            self._down_since = now
            self._is_unread_limits = now - self._limits_at < READ_SECONDS
            self._is_unread_endpoint = now - self._endpoint_at < READ_SECONDS

    def store_came_back(self, now: float) -> None:
        """Note that everything is read again."""
        self._down_since = None
        if self._is_unread_limits:
            self._limits_at = now
        if self._is_unread_endpoint:
            self._endpoints.add(self._endpoint)
            self._endpoint_at = now
        self._is_unread_limits = self._is_unread_endpoint = False

    def limits_change(self, now: float) -> bool:
        """Tell whether an edit of limits may be taking effect."""
        return now - self._limits_at < APPLIED_SECONDS

    @property
    def stored_endpoint(self) -> str:
        """The host that is stored now."""
        return self._endpoint

    def endpoints(self, now: float) -> Set[str]:
        """Return the hosts that may be in force."""
        self._settle(now)
        return self._endpoints

    def _settle(self, now: float) -> None:
        if self._down_since is None and now - self._endpoint_at > APPLIED_SECONDS:
            self._endpoints = {self._endpoint}
