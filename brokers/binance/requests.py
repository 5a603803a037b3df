"""Requests that wait for Binance's answer, and what each answer means for whom."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from brokers.types import Subscription

__all__ = ["PendingRequests", "Request"]


@dataclass(frozen=True, slots=True)
class Request:
    """One SUBSCRIBE or UNSUBSCRIBE: what it asks for, by symbol, and what held before it.

    ``wanted`` is empty for a request whose answer confirms nothing. A symbol is missing from
    ``previous`` when it was not subscribed.
    """

    wanted: dict[str, Subscription]
    previous: dict[str, Subscription]


class PendingRequests:
    """Unanswered requests of one socket. Only the latest request for a symbol may speak for it."""

    def __init__(self) -> None:
        # Goes on over sockets, so that a late answer can mean no newer request.
        self._next_id = 1
        # By id, until they are answered or the socket is gone.
        self._requests: dict[int, Request] = {}
        # The id of the latest request that wants a symbol.
        self._latest: dict[str, int] = {}

    def add(self, request: Request) -> int:
        """Keep ``request`` until it is answered; returns its id, never used twice."""
        request_id = self._next_id
        self._next_id += 1
        self._requests[request_id] = request
        for symbol in request.wanted:
            self._latest[symbol] = request_id
        return request_id

    def answer(self, request_id: int) -> Request | None:
        """Take the request that was answered, cut down to the symbols it still speaks for.

        None for an id that is not waiting.
        """
        request = self._requests.pop(request_id, None)
        if request is None:
            return None
        current = [s for s in request.wanted if self._latest.get(s) == request_id]
        for symbol in current:
            del self._latest[symbol]
        return Request(
            wanted={symbol: request.wanted[symbol] for symbol in current},
            previous={s: request.previous[s] for s in current if s in request.previous},
        )

    def forget(self, symbols: Iterable[str]) -> None:
        """Let no waiting request speak for ``symbols`` any more."""
        for symbol in symbols:
            self._latest.pop(symbol, None)

    def clear(self) -> None:
        """Forget all requests: their socket is gone."""
        self._requests.clear()
        self._latest.clear()
