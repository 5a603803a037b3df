"""The benchmark's check of a client's stream: it must see whatever is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from benchmarks.counting_client import Reads
from benchmarks.tick_layout import TickLayout, symbol_name
from brokers.types import FeedMode
from streaming.clients.frames import text_frame

_TOTAL = 200
_BASE = 7 * _TOTAL
_MINE = [3, 13, 23, 24, 50, 199]


def _frames(layout: TickLayout, numbers: Iterable[int]) -> list[bytes]:
    return [text_frame(layout.prefix(symbol_name(n % _TOTAL)) + layout.rest(n, 5)) for n in numbers]


def _stream(reads: Reads, place: int, count: int) -> list[bytes]:
    layout = TickLayout(FeedMode.QUOTE)
    return _frames(layout, [reads.number(_BASE, at) for at in range(place, place + count)])


def _fits(reads: Reads, frames: Sequence[bytes], place: int) -> bool:
    layout = TickLayout(FeedMode.QUOTE)
    buffer = bytearray(b"".join(frames) + b"the beginning of another")
    return reads.fits(layout, buffer, len(frames), _BASE, place)


@pytest.fixture
def reads() -> Reads:
    return Reads(_MINE, _TOTAL, TickLayout(FeedMode.QUOTE).frame_bytes)


@pytest.mark.parametrize("mode", FeedMode)
def test_frames_of_a_mode_are_alike_and_whole(mode: FeedMode) -> None:
    """Length and places are the same for every symbol, number and time."""
    layout = TickLayout(mode)
    numbers = (0, 1, _TOTAL - 1, 98_765_432_101)
    for number, frame in zip(numbers, _frames(layout, numbers), strict=True):
        assert len(frame) == layout.frame_bytes
        assert layout.number(frame, 0) == number
        assert layout.age_us(frame, 0, now_us=12) == 7
        assert layout.is_whole(frame, _TOTAL)


def test_a_frame_of_another_symbol_is_not_whole() -> None:
    """The name has to be that of the tick's number."""
    layout = TickLayout(FeedMode.QUOTE)
    frame = text_frame(layout.prefix(symbol_name(1)) + layout.rest(2, 5))
    assert not layout.is_whole(frame, _TOTAL)


@pytest.mark.parametrize("place", [0, 1, 5, 4000])
@pytest.mark.parametrize("count", [1, 2, 9, 300])
def test_a_stream_without_fault_fits(reads: Reads, place: int, count: int) -> None:
    """Wherever a read begins and however much it holds."""
    assert _fits(reads, _stream(reads, place, count), place)


def test_a_first_tick_of_an_earlier_round_is_seen(reads: Reads) -> None:
    """It has the right symbol, and all behind it is right."""
    size = len(_MINE)
    frames = [*_stream(reads, size, 1), *_stream(reads, 2 * size + 1, 9)]
    assert not _fits(reads, frames, 2 * size)


def test_places_and_numbers_are_inverse(reads: Reads) -> None:
    """And a symbol that was not asked for has no place."""
    assert [reads.place(_BASE, reads.number(_BASE, at)) for at in range(20)] == list(range(20))
    with pytest.raises(KeyError):
        reads.place(_BASE, _BASE + 5)


@pytest.mark.parametrize("at", [0, 1, 10, 12, 19])
def test_a_fault_anywhere_is_seen(reads: Reads, at: int) -> None:
    """A gap, a repeat, two ticks exchanged, a whole round left out, a torn frame."""
    good = _stream(reads, 2, 30)
    faulty = {
        "gap": good[:at] + good[at + 1 :],
        "repeat": [*good[: at + 1], *good[at:]],
        "exchanged": [*good[:at], good[at + 1], good[at], *good[at + 2 :]],
        "round left out": good[:at] + good[at + len(_MINE) :],
        "torn": [*good[:at], good[at][:-1], *good[at + 1 :]],
    }
    assert _fits(reads, good, 2)
    for name, frames in faulty.items():
        assert not _fits(reads, frames[:25], 2), name


def test_a_number_of_symbols_that_hides_symbols_is_refused() -> None:
    """The columns tell symbols apart by two digits, which must not change from round to round."""
    with pytest.raises(ValueError, match="multiple of 100"):
        Reads([0], 250, 460)
