"""What a request leaves behind: nothing that waits for the collector of cycles."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse

from openalgo_site.web.handler import SiteHandler

TIMES = 5


class Answer(HttpResponse):
    """One that can be told from all others."""


class Handler(SiteHandler):
    async def get_response_async(self, request: HttpRequest) -> HttpResponse:
        """Answer with a long list, or wait for ever where the path says so."""
        if request.path == "/wait":
            await asyncio.Event().wait()
        return Answer(bytes(1000))


async def ask(handler: ASGIHandler, path: str) -> list[Mapping[str, Any]]:
    """Ask for ``path`` as a client that goes away, at once or when it has its answer."""
    sent: list[Mapping[str, Any]] = []
    is_answered = asyncio.Event()
    coming = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        if path != "/wait":
            await is_answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Mapping[str, Any]) -> None:
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            is_answered.set()
            await asyncio.sleep(0)  # whoever listens hears it before the request has ended

    scope = {
        "type": "http", "method": "GET", "path": path, "headers": [], "query_string": b"",
        "server": ("testserver", 80), "client": ("127.0.0.1", 1), "scheme": "http",
        "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    await handler(scope, receive, send)
    return sent


@pytest.mark.usefixtures("without_collector")
async def test_an_answer_is_freed_when_it_is_sent() -> None:
    handler = Handler()
    for _ in range(TIMES):
        sent = await ask(handler, "/")
        assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    assert [type(each).__name__ for each in gc.get_objects() if isinstance(each, Answer)] == []


@pytest.mark.usefixtures("without_collector")
async def test_a_client_that_left_ends_its_request() -> None:
    async with asyncio.timeout(20):
        assert await ask(Handler(), "/wait") == []


async def test_anything_else_behind_a_body_is_an_error() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    with pytest.raises(AssertionError, match=r"behind a request's body: http\.request"):
        await SiteHandler().listen_for_disconnect(receive)
