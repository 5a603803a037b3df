"""Frames' bytes: lengths as RFC 6455 has them, and what clients share."""

from __future__ import annotations

import pytest
from websockets.frames import Frame, Opcode

from streaming.clients.frames import FrameJoiner, TickPayload, text_frame


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 70000])
def test_a_frame_is_what_websockets_makes_of_the_same_text(size: int) -> None:
    body = b"x" * size
    assert text_frame(body) == Frame(Opcode.TEXT, body).serialize(mask=False)


def test_a_payload_is_a_frame_and_the_same_text() -> None:
    payload = TickPayload("line", b'{"a":1}')
    assert payload.frame == text_frame(b'{"a":1}')
    assert payload.text == '{"a":1}'
    assert payload.text is payload.text


def test_those_who_get_the_same_ticks_share_the_bytes() -> None:
    joiner = FrameJoiner()
    ticks = [TickPayload("a", b"1"), TickPayload("b", b"2"), TickPayload("c", b"3")]
    (first,) = joiner.join(ticks[:])
    (second,) = joiner.join(ticks[:])
    assert second.data is first.data
    assert first.data == b"".join(tick.frame for tick in ticks)


def test_the_same_ends_and_another_middle_are_other_bytes() -> None:
    joiner = FrameJoiner()
    one, two, other, three = (TickPayload("a", text) for text in (b"1", b"2", b"x", b"3"))
    joiner.join([one, two, three])
    (chunk,) = joiner.join([one, other, three])
    assert chunk.data == one.frame + other.frame + three.frame


def test_a_list_that_changes_afterwards_changes_no_chunk() -> None:
    joiner = FrameJoiner()
    pending = [TickPayload("a", b"1")]
    (chunk,) = joiner.join(pending)
    kept = list(pending)
    pending.clear()
    assert list(chunk.payloads) == kept


def test_large_turns_are_split_between_frames() -> None:
    ticks = [TickPayload("a", b"%d" % n + b"x" * 100_000) for n in range(7)]
    chunks = FrameJoiner().join(ticks)
    assert [tick for chunk in chunks for tick in chunk.payloads] == ticks
    assert b"".join(chunk.data for chunk in chunks) == b"".join(tick.frame for tick in ticks)
    assert max(len(chunk.data) for chunk in chunks) <= 256 * 1024
