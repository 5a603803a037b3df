"""The bus message: one part, packed and unpacked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.exceptions import MalformedMessageError
from streaming.ports.link import TickMessage
from streaming.wire.message import HEADER, unpack_message
from tests.support import pack_message

_u64 = st.integers(0, 2**64 - 1)


@given(st.integers(1, 3), _u64, _u64, _u64, st.binary(max_size=50))
def test_unpacking_gives_back_the_message(mode, epoch, sequence, received, body):
    """Any numbers and any body, NULs included."""
    message = TickMessage(b"1/NSE/INFY\0", mode, epoch, sequence, received, body)
    unpacked = unpack_message(pack_message(message))
    assert unpacked == message
    assert type(unpacked) is TickMessage


_GOOD = pack_message(TickMessage(b"1/N/X\0", 2, 1, 1, 1, b"{}"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no terminator",
        b"\0" + bytes(HEADER.size),
        _GOOD[: 6 + HEADER.size - 1],
        _GOOD.replace(b"\0\x02\x02", b"\0\x01\x02", 1),
        _GOOD.replace(b"\0\x02\x02", b"\0\x02\x04", 1),
        _GOOD.replace(b"\0\x02\x02", b"\0\x02\x00", 1),
    ],
)
def test_malformed_bytes_are_refused(data):
    """Too short, no topic, an unknown format or mode: the message is dropped whole."""
    with pytest.raises(MalformedMessageError):
        unpack_message(data)


@given(st.binary(max_size=80))
def test_noise_never_raises_anything_else(data):
    """The subscriber survives whatever arrives."""
    try:
        unpack_message(data)
    except MalformedMessageError:
        return
