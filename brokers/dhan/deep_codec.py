"""The full market depth of 20 or 200 levels: frames to books. Pure.

Source: dhanhq.co/docs/v2 (full-market-depth); checked against dhanhq 2.3.0. A packet is one side of
one instrument's book, little endian, with prices in float64 rupees; several follow each other in a
frame, the bids of an instrument before its asks. Of 20 levels there are always 20 rows, of 200 as
many as the header says. There is nothing else in them: no last price and no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final

from brokers.dhan.codec import Decoded
from brokers.dhan.constants import CODE_DISCONNECT, DEEP_ASKS, DEEP_BIDS, REASONS
from brokers.dhan.values import Disconnection, named, to_exact_levels
from brokers.exceptions import BrokerProtocolError
from brokers.types import DepthLevel, FeedMode, Tick

__all__ = ["DeepDecoder"]

# length, code, segment and security id together, sequence number or number of rows
_HEADER: Final = Struct("<HB5sI")
_ROW: Final = Struct("<dII")
_REASON: Final = Struct("<12xH")
FIXED_LEVELS: Final = 20
MAX_LEVELS: Final = 200

Side = tuple[DepthLevel, ...]


class DeepDecoder:
    """Decoder of one socket's frames. Not thread-safe.

    It keeps the sides of the instruments that it watches, so that a frame that brings one of them
    still gives a whole book.

    Args:
        levels: 20 or 200.
    """

    def __init__(self, *, levels: int) -> None:
        if levels not in (FIXED_LEVELS, MAX_LEVELS):
            raise ValueError(f"levels must be {FIXED_LEVELS} or {MAX_LEVELS}, got {levels}")
        self._levels = levels
        # The sides of each book by token, of what is watched; None: a side has not come.
        self._books: dict[str, tuple[Side | None, Side | None]] = {}

    def watch(self, tokens: Iterable[str]) -> None:
        """Keep the books of these from now on."""
        for token in tokens:
            self._books.setdefault(token, (None, None))

    def forget(self, tokens: Iterable[str]) -> None:
        """End ``watch``; unknown ones are ignored."""
        for token in tokens:
            self._books.pop(token, None)

    def clear(self) -> None:
        """Start over for another socket."""
        self._books.clear()

    def decode(self, frame: bytes, now_s: int) -> list[Decoded]:
        """Return a book per instrument of the frame, and what ends the connection behind them.

        ``broker_token`` of a tick is ``"<segment>:<security id>"``; a side that has not come yet is
        None. ``now_s`` is not looked at: these packets carry no time.

        Raises:
            BrokerProtocolError: a length that does not fit its rows or the frame, an unknown
                code or segment, or a price that is no number. Nothing of the frame was kept.
        """
        changed: dict[str, tuple[Side | None, Side | None]] = {}
        scales: dict[str, int] = {}
        endings: list[Decoded] = []
        at, size = 0, len(frame)
        if not size:
            raise BrokerProtocolError("dhan: an empty frame")
        while at < size:
            if size - at < _HEADER.size:
                raise BrokerProtocolError(f"dhan: {size - at} bytes are no packet of a book")
            length, code, field, number = _HEADER.unpack_from(frame, at)
            if not _HEADER.size <= length <= size - at:
                raise BrokerProtocolError(
                    f"dhan: a packet of a book says {length} bytes, {size - at} are left"
                )
            if code == CODE_DISCONNECT:
                endings.append(Disconnection(_reason(frame[at : at + length], number)))
            else:
                token, scale = named(field)
                side = self._side(frame[at + _HEADER.size : at + length], number, scale)
                bids, asks = changed.get(token) or self._books.get(token, (None, None))
                if code == DEEP_BIDS:
                    changed[token] = (side, asks)
                elif code == DEEP_ASKS:
                    changed[token] = (bids, side)
                else:
                    raise BrokerProtocolError(f"dhan: no packet of a book has the code {code}")
                scales[token] = scale
            at += length
        for token in changed.keys() & self._books.keys():
            self._books[token] = changed[token]
        ticks = [_tick(token, scales[token], *sides) for token, sides in changed.items()]
        return [*ticks, *endings]

    def _side(self, body: bytes, number: int, scale: int) -> Side:
        rows = FIXED_LEVELS if self._levels == FIXED_LEVELS else number
        if rows > self._levels or len(body) != rows * _ROW.size:
            raise BrokerProtocolError(f"dhan: {len(body)} bytes for {rows} rows of a book")
        return to_exact_levels(_ROW.iter_unpack(body), scale)


def _tick(token: str, scale: int, bids: Side | None, asks: Side | None) -> Tick:
    return Tick(
        token,
        FeedMode.DEPTH,
        scale,
        bid_price=bids[0].price if bids else None,
        bid_size=bids[0].quantity if bids else None,
        ask_price=asks[0].price if asks else None,
        ask_size=asks[0].quantity if asks else None,
        bids=bids,
        asks=asks,
    )


def _reason(packet: bytes, number: int) -> int:
    """Return the reason: documented at offset 12 in 16 bits, read by the client at 8 in 32."""
    if number in REASONS:
        return number
    return int(_REASON.unpack_from(packet)[0]) if len(packet) >= _REASON.size else 0
