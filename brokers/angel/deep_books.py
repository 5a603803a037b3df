"""Books of 20 levels, which come without a price, joined with the frames that have it. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from brokers.types import FeedMode, Tick

__all__ = ["DeepBooks"]

# Both frames of an instrument leave Angel together. A book that is so much older than the price has
# ended without a word, and what it says is no longer so.
MAX_AGE_MS: Final = 5_000


class _Parts:
    """The latest frame of either kind."""

    __slots__ = ("book", "priced")

    def __init__(self) -> None:
        self.priced: Tick | None = None
        self.book: Tick | None = None


class DeepBooks:
    """The instruments of one socket that are wanted with 20 levels, by token."""

    def __init__(self) -> None:
        # By token; a frame of what is not here is published as it comes.
        self._parts: dict[str | int, _Parts] = {}

    def __len__(self) -> int:
        return len(self._parts)

    def track(self, token: str) -> None:
        """Join the frames of an instrument from now on; idempotent."""
        self._parts.setdefault(token, _Parts())

    def drop(self, token: str) -> None:
        """End it, and forget what came; idempotent."""
        self._parts.pop(token, None)

    def clear(self) -> None:
        """Forget all instruments."""
        self._parts.clear()

    def is_whole(self, token: str | int) -> bool:
        """Tell whether nothing of an instrument is missing any more; so of one that is not here."""
        parts = self._parts.get(token)
        return parts is None or (parts.priced is not None and parts.book is not None)

    def join(self, tick: Tick, *, is_book: bool) -> Tick | None:
        """Return the tick to publish for one that came; None: nothing.

        Until the first book has come, five levels do. A book of an instrument that is not here, or
        of which no price is known, is nothing to publish.
        """
        parts = self._parts.get(tick.broker_token)
        if parts is None:
            return None if is_book else tick
        if is_book:
            parts.book = tick
        elif tick.mode is FeedMode.DEPTH:
            parts.priced = tick
        else:
            return tick  # of the mode that it had before
        priced, book = parts.priced, parts.book
        if priced is None or book is None or _is_old(book, priced):
            return priced
        return msgspec.structs.replace(
            priced,
            ts_event_ms=max(priced.ts_event_ms or 0, book.ts_event_ms or 0) or None,
            bid_price=book.bid_price,
            bid_size=book.bid_size,
            ask_price=book.ask_price,
            ask_size=book.ask_size,
            bids=book.bids,
            asks=book.asks,
        )


def _is_old(book: Tick, priced: Tick) -> bool:
    return (priced.ts_event_ms or 0) - (book.ts_event_ms or 0) > MAX_AGE_MS
