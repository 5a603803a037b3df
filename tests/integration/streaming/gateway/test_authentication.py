"""Who gets in, when, and with which words."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from websockets.exceptions import ConnectionClosed

from streaming.testing.edge import make_principal
from tests.fix_running_time import RunningTime
from tests.integration.streaming.edge_kit import KEY, EdgeServer, MakeEdge, ask, closing, read
from tests.support import eventually, free_port


async def test_nothing_is_sent_before_the_first_message(edge: EdgeServer) -> None:
    socket = await edge.connect()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await socket.recv()
    await socket.close()


@pytest.mark.parametrize("path", ["openalgo:/", "openalgo:/ws", "site:/ws", "site:/ws/"])
async def test_a_good_key_on_every_route(edge: EdgeServer, path: str) -> None:
    which, _, rest = path.partition(":")
    port = edge.port if which == "site" else edge.openalgo_port
    socket = await edge.connect(f"ws://127.0.0.1:{port}{rest}", origin="http://evil.example")
    reply = await ask(socket, action="authenticate", api_key=KEY)
    assert reply == {
        "type": "auth",
        "status": "success",
        "message": "Authentication successful",
        "broker": "zerodha",
        "user_id": "user1",
        "supported_features": {"ltp": True, "quote": True, "depth": True},
    }
    await socket.close()


async def test_a_wrong_key_is_told_and_closed_a_moment_later(
    edge: EdgeServer, running_time: RunningTime
) -> None:
    socket = await edge.connect()
    started = time.monotonic()
    await socket.send(json.dumps({"action": "authenticate", "api_key": "wrong"}))
    text = await socket.recv()
    answered = running_time.seconds
    assert isinstance(text, str)
    assert json.loads(text) == {
        "type": "auth",
        "status": "error",
        "code": "AUTHENTICATION_ERROR",
        "message": "Invalid API key",
    }
    assert "success" not in text.lower()
    assert "authenticated" not in text.lower()
    assert (await closing(socket))[0] == 4401
    assert time.monotonic() - started >= 0.25
    assert running_time.seconds - answered <= 1.0


async def test_a_client_that_is_gone_when_its_key_was_found_is_no_failure(
    edge: EdgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    edge.directory.hold()
    socket = await edge.connect()
    await socket.send(json.dumps({"action": "authenticate", "api_key": KEY}))
    await eventually(lambda: edge.directory.lookups)
    (protocol,) = edge.server.server_state.connections
    protocol.transport.abort()
    await eventually(lambda: not edge.server.server_state.connections)
    hub = edge.gateway.current_hub
    assert hub is not None
    edge.directory.resume()
    await eventually(lambda: hub.sockets.total == 0)
    assert [record.getMessage() for record in caplog.records] == []


async def test_frames_behind_the_key_are_held_not_refused(edge: EdgeServer) -> None:
    edge.directory.hold()
    socket = await edge.connect()
    await socket.send(json.dumps({"action": "authenticate", "api_key": KEY}))
    await socket.send(json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"}))
    await socket.send(json.dumps({"action": "ping", "_pingId": 7}))
    await eventually(lambda: edge.directory.lookups)
    edge.directory.resume()
    assert [(await read(socket))["type"] for _ in range(3)] == ["auth", "subscribe", "pong"]
    await socket.close()


async def test_the_answer_to_the_key_never_waits_for_a_pool(edge: EdgeServer) -> None:
    edge.link.hold()
    socket = await edge.client()
    await socket.send(json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"}))
    edge.link.resume()
    assert (await read(socket))["type"] == "subscribe"
    await socket.close()


async def test_without_a_key_little_is_answered(edge: EdgeServer) -> None:
    socket = await edge.connect()
    reply = await ask(socket, action="subscribe", symbol="INFY", exchange="NSE", request_id="r")
    assert reply["code"] == "NOT_AUTHENTICATED"
    assert reply["request_id"] == "r"
    assert "type" not in reply
    assert (await ask(socket, action="get_supported_brokers")) == {
        "type": "supported_brokers",
        "status": "success",
        "brokers": ["binance", "zerodha"],
        "count": 2,
    }
    assert (await ask(socket, action="ping"))["type"] == "pong"
    await socket.close()


async def test_a_stranger_may_send_little(edge: EdgeServer) -> None:
    socket = await edge.connect()
    await socket.send(json.dumps({"action": "ping", "x": "y" * 5000}))
    assert (await closing(socket))[0] == 1009


async def test_a_silent_stranger_is_closed(make_edge: MakeEdge) -> None:
    edge = await make_edge(auth_timeout_seconds=50)
    silent, known = await edge.connect(), await edge.client()
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + 50  # type: ignore[method-assign]
    assert await closing(silent) == (4401, "auth timeout")
    assert (await ask(known, action="ping"))["type"] == "pong"
    await known.close()


async def test_wrong_keys_are_limited_but_a_good_one_always_passes(edge: EdgeServer) -> None:
    codes = []
    for _ in range(6):
        socket = await edge.connect()
        codes.append((await ask(socket, action="authenticate", api_key="wrong"))["code"])
        await socket.close()
    assert codes == ["AUTHENTICATION_ERROR"] * 5 + ["RATE_LIMITED"]
    assert edge.directory.lookups == 1, "a repeated wrong key needs no look-up"
    socket = await edge.connect()
    await ask(socket, action="authenticate", api_key="another")
    assert (await closing(socket))[0] == 4429
    await (await edge.client()).close()


async def test_a_second_key_on_one_socket_is_refused(edge: EdgeServer) -> None:
    socket = await edge.client()
    assert (await ask(socket, action="authenticate", api_key=KEY))["code"] == "INVALID_ACTION"
    assert (await ask(socket, action="ping"))["type"] == "pong"
    await socket.close()


async def test_a_key_that_cannot_be_looked_up_is_not_refused(edge: EdgeServer) -> None:
    edge.directory.fail()
    socket = await edge.connect()
    reply = await ask(socket, action="authenticate", api_key=KEY, request_id="r")
    assert (reply["type"], reply["status"], reply["code"]) == ("auth", "error", "SERVER_ERROR")
    assert reply["request_id"] == "r"
    assert "yours was not refused" in reply["message"]
    edge.directory.recover()
    again = await ask(socket, action="authenticate", api_key=KEY)
    assert again["status"] == "success", "trying again works on the same socket"
    await socket.close()
    assert edge.gateway.gate.refused == 0


async def test_who_does_not_try_again_is_closed_with_4503(make_edge: MakeEdge) -> None:
    edge = await make_edge(auth_retry_seconds=0.05)
    edge.directory.fail()
    socket = await edge.connect()
    assert (await ask(socket, action="authenticate", api_key=KEY))["code"] == "SERVER_ERROR"
    assert await closing(socket) == (4503, "database does not answer; try again")


async def test_a_failure_of_ours_is_never_the_keys(
    edge: EdgeServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(api_key: str) -> None:
        raise RuntimeError(f"cannot look {api_key} up")

    monkeypatch.setattr(edge.directory, "authenticate_api_key", broken)
    socket = await edge.connect()
    reply = await ask(socket, action="authenticate", api_key=KEY)
    assert reply["code"] == "SERVER_ERROR"
    assert "look" not in reply["message"]
    monkeypatch.undo()
    assert (await ask(socket, action="authenticate", api_key=KEY))["status"] == "success"
    await socket.close()


async def test_the_time_for_the_key_stands_still_while_it_is_looked_up(
    make_edge: MakeEdge,
) -> None:
    edge = await make_edge(auth_timeout_seconds=50)
    edge.directory.hold()
    socket = await edge.connect()
    await socket.send(json.dumps({"action": "authenticate", "api_key": KEY}))
    await eventually(lambda: edge.directory.lookups)
    loop = asyncio.get_running_loop()
    now = loop.time
    loop.time = lambda: now() + 50  # type: ignore[method-assign]
    await asyncio.sleep(0.05)
    edge.directory.resume()
    assert (await read(socket))["status"] == "success"
    await socket.close()


async def test_known_keys_come_in_while_the_directory_is_away(edge: EdgeServer) -> None:
    await (await edge.client()).close()
    edge.directory.fail()
    await (await edge.client()).close()
    socket = await edge.connect()
    assert (await ask(socket, action="authenticate", api_key="wrong"))["code"] == "SERVER_ERROR"
    await socket.close()


async def test_a_revoked_key_is_not_remembered(make_edge: MakeEdge) -> None:
    edge = await make_edge(revalidate_seconds=0.05)
    await (await edge.client()).close()
    edge.directory.revoke(KEY)
    looks = edge.directory.refreshes
    await eventually(lambda: edge.directory.refreshes > looks)
    edge.directory.fail()
    socket = await edge.connect()
    assert (await ask(socket, action="authenticate", api_key=KEY))["code"] == "SERVER_ERROR"
    await socket.close()


async def test_a_revoked_key_closes_its_sockets_only(make_edge: MakeEdge) -> None:
    edge = await make_edge(revalidate_seconds=0.05)
    edge.directory.add_key("other", make_principal(2))
    revoked, kept = await edge.client(), await edge.client("other")
    edge.directory.revoke(KEY)
    assert await closing(revoked) == (4401, "API key revoked")
    assert (await ask(kept, action="ping"))["type"] == "pong"
    await kept.close()


async def test_too_many_sockets_are_refused_at_the_door(make_edge: MakeEdge) -> None:
    edge = await make_edge(max_clients_per_address=1)
    first = await edge.client()
    with pytest.raises(Exception, match="503"):
        await edge.connect()
    await first.close()
    await eventually(lambda: edge.gateway.current_hub.sockets.total == 0)  # type: ignore[union-attr]
    await (await edge.client()).close()


async def test_an_unknown_path_is_not_found(
    edge: EdgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """And strangers who ask for one do not fill the log."""
    with pytest.raises(Exception, match="404"):
        await edge.connect(f"{edge.site_url}/other")
    await edge.stop()
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


async def test_a_stopped_server_closes_with_1012(make_edge: MakeEdge) -> None:
    edge = await make_edge(openalgo_port=free_port())
    socket = await edge.client()
    await ask(socket, action="subscribe", symbol="INFY", exchange="NSE")
    stopping = asyncio.create_task(edge.stop())
    assert (await closing(socket))[0] == 1012
    await stopping
    assert edge.link.closed
    with pytest.raises((ConnectionClosed, OSError)):
        await edge.connect()
