"""Answers that never came as far as Django have the headers that pages have."""

from __future__ import annotations

from typing import Any

import pytest

from streaming.gateway.bare_answers import with_security_headers


async def sent(start: dict[str, Any]) -> dict[str, str]:
    """Return the headers with which an answer leaves."""
    messages: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> None:
        raise AssertionError("nothing is read")

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await with_security_headers(application)({"type": "http"}, receive, send)
    assert messages[1] == {"type": "http.response.body", "body": b""}
    headers = [(name.decode().lower(), value.decode()) for name, value in messages[0]["headers"]]
    assert len(dict(headers)) == len(headers), "one stands twice"
    return dict(headers)


@pytest.mark.parametrize("kind", ["http.response.start", "websocket.http.response.start"])
async def test_a_bare_answer_has_them(kind: str) -> None:
    headers = await sent({"type": kind, "status": 413, "headers": [(b"content-type", b"x")]})
    assert headers["content-type"] == "x"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert await sent({"type": kind, "status": 404})


async def test_a_page_keeps_its_own() -> None:
    own = [(b"Content-Security-Policy", b"default-src 'self'")]
    assert await sent({"type": "http.response.start", "status": 200, "headers": own}) == {
        "content-security-policy": "default-src 'self'"
    }


async def test_what_is_given_already_stays() -> None:
    own = [(b"Referrer-Policy", b"no-referrer")]
    headers = await sent({"type": "http.response.start", "status": 200, "headers": own})
    assert headers["referrer-policy"] == "no-referrer"


async def test_frames_of_a_socket_pass_as_they_are() -> None:
    seen: list[Any] = []
    frame = {"type": "websocket.send", "text": "x"}

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send(frame)

    async def send(message: Any) -> None:
        seen.append(message)

    await with_security_headers(application)({"type": "websocket"}, send, send)  # type: ignore[arg-type]
    assert seen == [frame]
    assert seen[0] is frame
