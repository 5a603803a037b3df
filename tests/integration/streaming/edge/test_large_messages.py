"""Large messages of one user under way at a real server: so many, a few that wait, no more."""

from __future__ import annotations

import functools
import json
import socket

import msgspec
import pytest
from websockets.frames import Frame, Opcode

from streaming.edge import bounded_frames
from streaming.edge.large_messages import LARGE_BYTES
from streaming.gateway.server import GatewayProtocol
from streaming.testing.edge import make_principal
from tests.integration.streaming.clients.test_freed import Wire
from tests.integration.streaming.edge.test_bounded_frames import close_code, refused
from tests.integration.streaming.edge_kit import EdgeServer, MakeEdge, ask
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@functools.cache  # a frame's mask is another one each time, and parts must be of one frame
def large(size: int = 4 * LARGE_BYTES) -> bytes:
    asked = json.dumps({"action": "ping", "request_id": "end", "x": "y" * size})
    return Frame(Opcode.TEXT, asked.encode()).serialize(mask=True)


def large_subscribe() -> bytes:
    asked = {"action": "subscribe", "symbol": "INFY", "exchange": "NSE", "mode": 1}
    text = json.dumps(asked | {"x": "y" * 4 * LARGE_BYTES})
    return Frame(Opcode.TEXT, text.encode()).serialize(mask=True)


async def admitted(edge: EdgeServer, api_key: str = "good-key") -> Wire:
    wire = await Wire.open(edge.openalgo_port, "/")
    wire.ask(action="authenticate", api_key=api_key)
    await wire.until(b'"success"')
    return wire


async def sent(edge: EdgeServer, data: bytes, under_way: str) -> Wire:
    """Send on a connection of its own; return when the places are as they are said to be."""
    wire = await admitted(edge)
    wire.writer.write(data)
    await eventually(lambda: repr(edge.gateway.edge.large) == f"<LargeMessages {under_way}>")
    return wire


async def test_a_user_has_so_many_large_messages_half_sent(make_edge: MakeEdge) -> None:
    """Whatever the number of its connections: the rest waits unread, and then is refused."""
    edge = await make_edge(user_large_messages=2, user_large_messages_waiting=1)
    edge.directory.add_key("other-key", make_principal(2))
    half = large()[: 2 * LARGE_BYTES]
    first = await sent(edge, half, "taken=1 waiting=0")
    second = await sent(edge, half, "taken=2 waiting=0")
    third = await sent(edge, large(), "taken=2 waiting=1")
    fourth = await admitted(edge)
    fourth.writer.write(half)
    assert await close_code(fourth) == 4429
    assert refused(edge) == {"large_messages": 1}

    other = await admitted(edge, "other-key")
    other.writer.write(large())
    await other.until(b'"end"')
    small = await admitted(edge)
    small.writer.write(large(LARGE_BYTES - 100))
    await small.until(b'"end"')

    first.vanish()
    await third.until(b'"end"')
    second.writer.write(large()[2 * LARGE_BYTES :])
    await second.until(b'"end"')
    assert refused(edge) == {"large_messages": 1}
    for wire in (second, third, other, small):
        wire.vanish()
    await eventually(lambda: repr(edge.gateway.edge.large) == "<LargeMessages taken=0 waiting=0>")


async def test_whoever_sends_one_behind_the_other_lets_others_go_first(
    make_edge: MakeEdge,
) -> None:
    """It would keep its user's places for good otherwise."""
    edge = await make_edge(user_large_messages=1)
    edge.link.hold()
    first = await sent(edge, large_subscribe(), "taken=1 waiting=0")
    # Its next one has begun before the former is served, and the one behind it is there.
    first.writer.write(large()[:-1])
    (protocol,) = edge.server.server_state.connections
    assert isinstance(protocol, GatewayProtocol)
    await eventually(lambda: protocol._in_time is not None)
    second = await sent(edge, large(), "taken=1 waiting=1")
    first.writer.write(large()[-1:] + large()[:-1])
    edge.link.resume()
    await first.until(b'"end"')
    await second.until(b'"end"')
    first.writer.write(large()[-1:])
    await first.until(b'"end"')
    assert not refused(edge)
    for wire in (first, second):
        wire.vanish()
    await eventually(lambda: repr(edge.gateway.edge.large) == "<LargeMessages taken=0 waiting=0>")


async def test_little_is_kept_of_a_message_that_waits(make_edge: MakeEdge) -> None:
    """What one read brings: no more than the kernel takes of a client, doubled by Linux."""
    edge = await make_edge(user_large_messages=1)
    first = await sent(edge, large()[:-1], "taken=1 waiting=0")
    (busy,) = edge.server.server_state.connections
    second = await sent(edge, large(), "taken=1 waiting=1")
    (protocol,) = set(edge.server.server_state.connections) - {busy}
    assert isinstance(protocol, GatewayProtocol)
    tcp = protocol.transport.get_extra_info("socket")
    assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 128 * 1024
    assert 0 < protocol._gate.waiting_bytes <= 128 * 1024
    for wire in (first, second):
        wire.vanish()


async def test_whoever_is_gone_by_its_turn_keeps_nobody_waiting(make_edge: MakeEdge) -> None:
    """It is not read while it waits, so that it is gone is noticed then."""
    edge = await make_edge(user_large_messages=1)
    first = await sent(edge, large()[:-1], "taken=1 waiting=0")
    (await sent(edge, large()[:-1], "taken=1 waiting=1")).vanish()
    third = await sent(edge, large(), "taken=1 waiting=2")
    first.writer.write(large()[-1:])
    for wire in (first, third):
        await wire.until(b'"end"')
        wire.vanish()
    await eventually(lambda: repr(edge.gateway.edge.large) == "<LargeMessages taken=0 waiting=0>")


@pytest.mark.parametrize("is_in_pieces", [False, True])
async def test_a_large_message_has_to_arrive_in_time(
    make_edge: MakeEdge, monkeypatch: pytest.MonkeyPatch, is_in_pieces: bool
) -> None:
    """Otherwise a few that never end would keep a user's places for good."""
    monkeypatch.setattr(bounded_frames, "_BYTES_PER_SECOND", 10.0**9)
    monkeypatch.setattr(bounded_frames, "_GRACE_SECONDS", 0.05)
    edge = await make_edge(user_large_messages=1)
    neighbour, wire = await edge.client(), await admitted(edge)
    # From here on, so that a slow machine's handshakes are not late.
    shared = edge.gateway.edge
    shared.limits = msgspec.structs.replace(shared.limits, request_timeout_seconds=0.2)
    piece = Frame(Opcode.TEXT, bytes(LARGE_BYTES + 1), fin=False).serialize(mask=True)
    wire.writer.write(piece if is_in_pieces else large()[:-1])
    assert await close_code(wire) == 4429
    assert refused(edge) == {"slow_message": 1}
    assert repr(shared.large) == "<LargeMessages taken=0 waiting=0>"
    assert (await ask(neighbour, action="ping"))["type"] == "pong"
    await neighbour.close()


async def test_a_message_that_is_there_is_late_no_more(edge: EdgeServer) -> None:
    wire = await sent(edge, large()[:-1], "taken=1 waiting=0")
    (protocol,) = edge.server.server_state.connections
    assert isinstance(protocol, GatewayProtocol)
    assert protocol._in_time is not None
    wire.writer.write(large()[-1:])
    await wire.until(b'"end"')
    assert protocol._in_time is None
    wire.vanish()


async def test_the_clients_of_a_user_that_all_come_back_at_once_never_meet_it(
    edge: EdgeServer,
) -> None:
    """As many as may hold 100,000 symbols with messages that are large at all, several each."""
    wires = [await admitted(edge) for _ in range(60)]
    for wire in wires:
        wire.writer.write(large() * 3)
    for wire in wires:
        for _ in range(3):
            await wire.until(b'"end"')
    assert not refused(edge)
    await eventually(lambda: repr(edge.gateway.edge.large) == "<LargeMessages taken=0 waiting=0>")
    for wire in wires:
        wire.vanish()
