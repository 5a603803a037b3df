"""The subscriber's side of ZeroMQ's protocol, against bytes as libzmq sends them."""

from __future__ import annotations

import pytest

from streaming.exceptions import MalformedMessageError
from streaming.wire.zmtp import GREETING, ZmtpSubscriber, subscription

# Version 3.1 and the NULL mechanism, as a libzmq of today greets.
PEER_GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(16 + 32)
SHORT, LONG = b"a tick", b"x" * 300


def ready(socket_type: bytes) -> bytes:
    body = (
        b"\x05READY\x08Identity\0\0\0\0\x0bSocket-Type"
        + len(socket_type).to_bytes(4, "big")
        + socket_type
    )
    return bytes((4, len(body))) + body


def long_frame(body: bytes) -> bytes:
    return b"\x02" + len(body).to_bytes(8, "big") + body


HELLO = PEER_GREETING + ready(b"XPUB")


def opened(max_bytes: int = 1000) -> ZmtpSubscriber:
    peer = ZmtpSubscriber(max_bytes=max_bytes)
    assert peer.receive(HELLO) == []
    assert peer.is_open
    peer.outgoing.clear()
    return peer


def test_the_greeting_has_its_size_and_version():
    """64 bytes; version 3.0, so that subscriptions are messages."""
    assert len(GREETING) == len(PEER_GREETING) == 64
    assert GREETING[10:12] == b"\x03\x00"


def test_wherever_the_stream_is_cut_the_messages_are_whole():
    """Each place in two reads, and every byte alone."""
    stream = HELLO + b"\x00\x06" + SHORT + long_frame(LONG) + b"\x00\x00" + b"\x00\x06" + SHORT
    expected = [SHORT, LONG, b"", SHORT]
    for cut in range(len(stream) + 1):
        peer = ZmtpSubscriber(max_bytes=1000)
        assert peer.receive(stream[:cut]) + peer.receive(stream[cut:]) == expected
    peer = ZmtpSubscriber(max_bytes=1000)
    singly = [peer.receive(bytes((byte,))) for byte in stream]
    assert [message for messages in singly for message in messages] == expected


def test_ready_is_said_once_and_only_after_the_greeting():
    """As a SUB socket."""
    peer = ZmtpSubscriber(max_bytes=10)
    peer.receive(PEER_GREETING[:63])
    assert not peer.outgoing
    peer.receive(PEER_GREETING[63:])
    (said,) = peer.outgoing
    assert said == b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
    assert not peer.is_open
    peer.receive(ready(b"PUB"))
    assert peer.is_open
    assert len(peer.outgoing) == 1


def test_a_ping_gets_its_pong():
    """With the context that came behind the time to live."""
    peer = opened()
    assert peer.receive(b"\x04\x0a\x04PING\x00\x05ctx") == []
    assert peer.outgoing == [b"\x04\x08\x04PONGctx"]


def test_other_commands_mean_nothing():
    """The protocol may grow."""
    peer = opened()
    assert peer.receive(b"\x04\x04\x03NEW\x00\x06" + SHORT) == [SHORT]
    assert not peer.outgoing


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\xff" + bytes(9),  # no end of a signature
        b"\xff" + bytes(8) + b"\x7f\x01",  # version 2
        PEER_GREETING.replace(b"NULL" + bytes(16), b"CURVE" + bytes(15)),
        PEER_GREETING + ready(b"REP"),
        PEER_GREETING + b"\x04\x07\x05ERROR\x00",
        PEER_GREETING + b"\x00\x06" + SHORT,  # a message before the handshake
        HELLO + b"\x08\x00",  # a flag that the protocol does not have
        HELLO + long_frame(bytes(1001)),
        HELLO + b"\x06" + (5000).to_bytes(8, "big") + bytes(5000),
    ],
)
def test_a_peer_that_is_no_publisher_of_ours_is_refused(stream):
    """Whatever it is; nothing is answered in its place."""
    peer = ZmtpSubscriber(max_bytes=1000)
    with pytest.raises(MalformedMessageError):
        peer.receive(stream)


def test_a_large_message_is_refused_before_it_arrives():
    """Its size is enough, so nobody makes us keep it."""
    peer = opened(max_bytes=1000)
    with pytest.raises(MalformedMessageError):
        peer.receive(long_frame(bytes(1001))[:9])


def test_subscriptions_of_any_length():
    """1 and 0 in front of the topic."""
    assert subscription(b"t\0", wanted=True) == b"\x00\x03\x01t\x00"
    assert subscription(b"t\0", wanted=False) == b"\x00\x03\x00t\x00"
    topic = b"t" * 255
    assert subscription(topic, wanted=True) == b"\x02" + (256).to_bytes(8, "big") + b"\x01" + topic


def test_a_bound_is_needed():
    """None would be any."""
    with pytest.raises(ValueError, match="max_bytes"):
        ZmtpSubscriber(max_bytes=0)
