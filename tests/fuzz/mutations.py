"""Making broken frames of good ones, and judging what a codec made of them. Pure but for chance."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from math import isfinite
from typing import Any

import msgspec

from brokers.exceptions import BrokerProtocolError
from brokers.types import Tick

__all__ = ["Frame", "fuzz", "judge", "mutants"]

Frame = str | bytes

_LARGEST = 2**64


def mutants(seeds: Sequence[Frame], rng: random.Random, count: int) -> Iterator[Frame]:
    """Yield frames: truncated, bit-flipped, overwritten, joined, stretched or random ones.

    Of texts also such as are good JSON with one bad value.
    """
    changes = (_truncated, _flipped, _flipped, _overwritten, _joined, _stretched, _random)
    texts = (*changes, _spoiled, _spoiled, _spoiled, _spoiled)
    for _ in range(count):
        seed = rng.choice(seeds)
        if isinstance(seed, str):
            yield rng.choice(texts)(seed.encode(), rng).decode(errors="replace")
        else:
            yield rng.choice(changes)(seed, rng)


def fuzz(
    seeds: Sequence[Frame],
    decode: Callable[[Frame], Sequence[Tick]],
    *,
    rng: random.Random,
    count: int,
) -> tuple[int, int]:
    """Decode ``count`` mutants; returns how many were refused and how many ticks came out.

    Raises:
        AssertionError: a tick holds a value that no market has; names the frame.
        Exception: whatever but ``BrokerProtocolError`` the codec raised, with the frame as a note.
    """
    refused = ticks = 0
    for frame in mutants(seeds, rng, count):
        try:
            decoded = decode(frame)
            for tick in decoded:
                judge(tick)
        except BrokerProtocolError:
            refused += 1
            continue
        except Exception as error:
            error.add_note(f"frame: {frame.hex() if isinstance(frame, bytes) else frame!r}")
            raise
        ticks += len(decoded)
    return refused, ticks


def judge(tick: Tick) -> None:
    """Raise AssertionError for NaN, a fraction, a negative quantity or time, or a price of 0."""
    for name in msgspec.structs.fields(Tick):
        value: Any = getattr(tick, name.name)
        if name.name == "broker_token" or value is None:
            continue
        if isinstance(value, tuple):
            for level in value:
                assert _is_whole(level.price), (name.name, level)
                assert level.price != 0, (name.name, level)
                assert _is_whole(level.quantity), (name.name, level)
                assert level.quantity >= 0, (name.name, level)
                assert level.orders is None or (_is_whole(level.orders) and level.orders >= 0)
            continue
        assert _is_whole(value), (name.name, value)
        is_price = name.name in _PRICES
        # Brokers send a price of 0 for one that there is not.
        assert value != 0 if is_price else value >= 0, (name.name, value)
    assert tick.price_scale > 0
    assert tick.broker_token != ""


_PRICES = frozenset(
    {"ltp", "open", "high", "low", "close", "avg_trade_price", "bid_price", "ask_price"}
)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and isfinite(value) and abs(value) < _LARGEST


def _truncated(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def _flipped(raw: bytes, rng: random.Random) -> bytes:
    broken = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
    return bytes(broken)


def _overwritten(raw: bytes, rng: random.Random) -> bytes:
    """Put the bytes that numbers fear somewhere: all ones, NaN, infinity, the least integer."""
    broken = bytearray(raw)
    fear = rng.choice(
        (
            b"\xff" * rng.choice((1, 2, 4, 8)),
            b"\x00\x00\xc0\x7f",
            b"\x00\x00\x80\x7f",
            b"\x00\x00\x80\xff",
            b"\x00\x00\x00\x00\x00\x00\xf8\x7f",
            b"\x00\x00\x00\x00\x00\x00\xf0\x7f",
            b"\x00\x00\x00\x80",
            b"\x00\x00\x00\x00\x00\x00\x00\x80",
            b"\x00" * rng.choice((1, 4, 8)),
        )
    )
    at = rng.randrange(len(broken))
    broken[at : at + len(fear)] = fear
    return bytes(broken[: len(raw)])


def _joined(raw: bytes, rng: random.Random) -> bytes:
    return raw + raw[rng.randrange(len(raw)) :]


def _stretched(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.randbytes(rng.randint(1, 16)) + raw[at:]


def _random(raw: bytes, rng: random.Random) -> bytes:
    body = rng.randbytes(rng.randrange(len(raw) + 1))
    # Half of them begin as a frame of this kind does, so that they get past the first look.
    return body if rng.random() < 0.5 else raw[:2] + body[2:]


def _spoiled(raw: bytes, rng: random.Random) -> bytes:
    """Put another value in the place of one of a JSON text."""
    values = list(_VALUES.finditer(raw))
    if not values:
        return raw
    found = rng.choice(values)
    return raw[: found.start(1)] + rng.choice(_BAD_VALUES) + raw[found.end(1) :]


_VALUES = re.compile(rb'[:\[,]("[^"]*"|-?[0-9.]+|true|false|null)')
_BAD_VALUES = (
    *(b"null", b"{}", b"[]", b"true", b"-1", b"0", b"NaN", b"Infinity", b"1e999", b"-1e-999"),
    *(b"1.5", b"9" * 40, b'""', b'"-1"', b'"NaN"', b'"inf"', b'"1e5"', b'"0"', b'"1.5.2"', b'" 1"'),
    *(b'"' + b"9" * 400 + b'"', b'"0.' + b"1" * 40 + b'"', '"²"'.encode(), b"[" * 3_000),
    *(b'"BTCUSDT"', b'"btcusdt@ticker"', b'[["1","-1"]]', b'[["0","0"]]', b'[["1"]]'),
)
