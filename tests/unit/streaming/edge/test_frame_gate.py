"""What a connection may send as frames, cut and counted before it is parsed."""

from __future__ import annotations

import itertools
import random
from itertools import accumulate

import pytest
from websockets.frames import Frame, Opcode

from streaming.edge.frame_gate import FrameGate, FrameRefusedError
from streaming.edge.large_messages import LARGE_BYTES
from streaming.edge_limits import EdgeLimits, Refusal

LIMITS = EdgeLimits(
    stranger_frames_per_second=1.0, stranger_frame_burst=3, frames_per_second=10.0,
    frame_burst=20, pieces_per_message=4,
)  # fmt: skip
PING = Frame(Opcode.PING, b"?").serialize(mask=True)


def text(payload: bytes, *, is_last: bool = True, is_first: bool = True) -> bytes:
    opcode = Opcode.TEXT if is_first else Opcode.CONT
    return Frame(opcode, payload, fin=is_last).serialize(mask=True)


def fed(*frames: bytes, is_admitted: bool = False) -> FrameGate:
    gate = FrameGate(LIMITS)
    if is_admitted:
        gate.admit(10**6)
    gate.feed(b"".join(frames))
    return gate


def refusal(gate: FrameGate, now: float = 0.0) -> Refusal:
    with pytest.raises(FrameRefusedError) as raised:
        gate.take(100, now)
    return raised.value.refusal


@pytest.mark.parametrize(
    ("size", "arriving"),
    [
        *itertools.product([0, 1, 125, 126, 127, 300], [1, 2, 7, 4096, 10**6]),
        *itertools.product([65_535, 65_536, 200_000], [4096, 10**6]),
    ],
)
def test_whatever_arrives_comes_out_as_it_is_frame_by_frame(size: int, arriving: int) -> None:
    frames = [text(bytes(size)), PING, text(b"x")]
    sent, gate, parts = b"".join(frames), FrameGate(LIMITS), []
    for start in range(0, len(sent), arriving):
        gate.feed(sent[start : start + arriving])
        while part := gate.take(1000, 0.0):
            assert len(part) <= 1000 + 14
            parts.append(part)
    assert b"".join(parts) == sent
    assert not gate.waiting_bytes
    assert set(accumulate(map(len, frames))) <= set(accumulate(map(len, parts)))


def test_chance_finds_no_stream_that_is_cut_elsewhere() -> None:
    chance = random.Random(11)
    limits = EdgeLimits(frame_burst=10**6, frames_per_second=10**6)
    for _ in range(300):
        sent = b"".join(
            chance.choice([text(bytes(chance.choice([0, 1, 125, 126, 300]))), PING])
            for _ in range(chance.randrange(1, 30))
        )
        gate, got, at = FrameGate(limits), b"", 0
        gate.admit(10**6)
        while at < len(sent):
            step = chance.randrange(1, 200)
            gate.feed(sent[at : at + step])
            at += step
            while part := gate.take(chance.randrange(1, 100), 0.0):
                got += part
        assert got == sent


@pytest.mark.parametrize(
    "frame",
    [PING, Frame(Opcode.PONG, b"").serialize(mask=True), text(b"{}"), b"\x8f\x80" + bytes(4)],
    ids=["ping", "pong", "text", "no known kind"],
)
def test_a_stranger_has_few_frames_of_any_kind(frame: bytes) -> None:
    gate = FrameGate(LIMITS)
    for _ in range(3):
        gate.feed(frame)
        assert gate.take(100, 0.0) == frame
    gate.feed(frame)
    assert refusal(gate) is Refusal.FRAMES


def test_a_stranger_has_a_frame_more_with_time() -> None:
    gate = fed(*[PING] * 5)
    assert [gate.take(100, 0.0) for _ in range(3)] == [PING] * 3
    assert gate.take(100, 1.0) == PING
    assert refusal(gate, 1.5) is Refusal.FRAMES


def test_whoever_is_admitted_has_more_at_once_and_with_time() -> None:
    gate = fed(*[PING] * 31, is_admitted=True)
    assert [gate.take(100, 0.0) for _ in range(20)] == [PING] * 20
    assert [gate.take(100, 1.0) for _ in range(10)] == [PING] * 10
    assert refusal(gate, 1.0) is Refusal.FRAMES


def test_what_a_stranger_sent_before_counts_for_nothing_once_it_is_admitted() -> None:
    gate = fed(*[PING] * 23)
    for _ in range(3):
        gate.take(100, 0.0)
    gate.admit(10**6)
    assert [gate.take(100, 0.0) for _ in range(20)] == [PING] * 20


def test_a_message_has_so_many_pieces_however_slowly_they_come() -> None:
    pieces = [text(b"{", is_last=False), *[text(b"", is_last=False, is_first=False)] * 2]
    whole = [*pieces, text(b"}", is_first=False)]
    gate = fed(*whole, *whole, is_admitted=True)
    for number, each in enumerate(whole * 2):
        assert gate.take(100, 1000.0 * number) == each
    gate.feed(b"".join([*pieces, pieces[-1]]))
    for _ in range(3):
        assert gate.take(100, 10_000.0)
    assert refusal(gate, 20_000.0) is Refusal.PIECES


def test_control_frames_within_a_message_are_no_pieces_of_it() -> None:
    first = text(b"{", is_last=False)
    gate = fed(first, *[PING] * 10, text(b"}", is_first=False), is_admitted=True)
    assert [gate.take(100, 0.0) for _ in range(11)] == [first, *[PING] * 10]
    assert gate.take(100, 0.0)


def test_data_can_be_left_for_later_and_control_frames_in_front_of_it_not() -> None:
    hello = text(b"hello")
    gate = fed(PING, hello, PING)
    assert gate.take(100, 0.0, with_data=False) == PING
    assert gate.take(100, 0.0, with_data=False) == b""
    assert gate.waiting_bytes == len(hello) + len(PING)
    assert gate.take(100, 0.0) == hello


@pytest.mark.parametrize("broken", [b"\xff\xff\xff\xff", b"\x81\x7f", b"\x83\xfe"])
def test_what_no_parser_takes_is_handed_on_at_once(broken: bytes) -> None:
    """Waiting for the rest of such a header would keep the connection."""
    assert fed(broken).take(100, 0.0) == broken


def test_nothing_is_left_after_clearing() -> None:
    gate = fed(text(b"hello"))
    assert gate.take(1, 0.0)
    gate.clear()
    assert not gate.waiting_bytes
    assert gate.take(100, 0.0) == b""


LARGE = LARGE_BYTES + 1


def parts(gate: FrameGate) -> list[int]:
    return list(iter(lambda: len(gate.take(10**6, 0.0)), 0))


def test_a_large_message_waits_in_front_of_its_header_for_a_place() -> None:
    small, large = text(bytes(LARGE_BYTES)), text(bytes(LARGE))
    gate = fed(small, PING, large[:20], is_admitted=True)
    assert parts(gate) == [len(small), len(PING)]
    assert gate.wants_place
    assert not gate.is_large
    assert gate.waiting_bytes == 20
    gate.may_be_large = True
    assert parts(gate) == [20]
    assert gate.is_large
    assert not gate.wants_place
    gate.feed(large[20:])
    assert parts(gate) == [len(large) - 20]
    assert not gate.is_large
    gate.feed(small + large)
    assert parts(gate) == [len(small)], "a place is for one message"
    assert gate.wants_place


def test_a_message_in_pieces_waits_in_front_of_the_one_that_makes_it_large() -> None:
    first = text(bytes(LARGE_BYTES), is_last=False)
    second = text(b"x", is_first=False, is_last=False)
    last = text(b"", is_first=False)
    gate = fed(first, PING, second, last, text(b"next"), is_admitted=True)
    assert parts(gate) == [len(first), len(PING)]
    assert gate.wants_place
    gate.may_be_large = True
    assert gate.take(10**6, 0.0) == second
    assert gate.is_large
    assert gate.take(10**6, 0.0) == last
    assert not gate.is_large


def test_waiting_for_a_place_costs_no_frame() -> None:
    gate = fed(text(bytes(LARGE)), is_admitted=True)
    for _ in range(50):
        assert gate.take(10**6, 0.0) == b""
    gate.may_be_large = True
    assert gate.take(10**6, 0.0)


def test_what_is_larger_than_any_message_goes_to_the_parser_which_refuses_its_header() -> None:
    assert fed(text(bytes(10**6 + 1))[:100], is_admitted=True).take(100, 0.0)
    assert fed(text(bytes(LARGE))[:100]).take(100, 0.0), "a stranger's is refused so"


def test_nothing_is_wanted_after_clearing() -> None:
    gate = fed(text(bytes(LARGE)), is_admitted=True)
    assert parts(gate) == []
    gate.clear()
    assert not gate.wants_place
