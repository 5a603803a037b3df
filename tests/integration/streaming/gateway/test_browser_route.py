"""The route of the site's own pages: origin, session, and the same session object behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.test import Client as Browser
from websockets.typing import Subprotocol

from streaming.gateway.notices import send_notice
from streaming.testing.edge import make_principal
from tests.integration.streaming.edge_kit import INFY, KEY, EdgeServer, MakeEdge, ask, closing
from tests.support import eventually

pytestmark = pytest.mark.django_db(transaction=True)


class Login(NamedTuple):
    user_id: int
    session_key: str


@pytest.fixture
def login(transactional_db: None, django_user_model: Any) -> Login:
    user = django_user_model.objects.create_user("trader", password="x")
    browser = Browser()
    browser.force_login(user)
    return Login(user.pk, str(browser.session.session_key))


async def open_page(
    edge: EdgeServer,
    session_key: str | None,
    *,
    origin: str | None = "site",
    subprotocols: Sequence[Subprotocol] | None = None,
    **headers: str,
) -> Any:
    if origin == "site":
        origin = f"http://127.0.0.1:{edge.port}"
    if session_key is not None:
        headers["Cookie"] = f"sessionid={session_key}"
    return await edge.connect(
        f"{edge.site_url}/ws/ticks/",
        origin=origin,
        additional_headers=headers,
        subprotocols=subprotocols,
    )


async def test_a_logged_in_page_is_served_at_once(edge: EdgeServer, login: Login) -> None:
    edge.directory.add_session(login.session_key, make_principal(login.user_id, pool_id="p1"))
    page = await open_page(edge, login.session_key)
    answer = await ask(page, action="subscribe", symbol="INFY", exchange="NSE", mode=2)
    assert answer["status"] == "success"
    edge.link.tick("p1", INFY)
    assert json.loads(await page.recv())["type"] == "market_data"
    await page.close()


@pytest.mark.parametrize(
    "origin", [None, "http://evil.example", "http://127.0.0.1:1", "https://127.0.0.1", "null"]
)
async def test_another_origin_is_refused_at_the_door(
    edge: EdgeServer, login: Login, origin: str | None
) -> None:
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    with pytest.raises(Exception, match="403"):
        await open_page(edge, login.session_key, origin=origin)


async def test_a_trusted_origin_is_let_in(edge: EdgeServer, login: Login, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://front.example"]
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    page = await open_page(edge, login.session_key, origin="https://front.example")
    assert (await ask(page, action="ping"))["type"] == "pong"
    await page.close()


async def test_a_host_that_is_not_ours_is_refused(
    edge: EdgeServer, login: Login, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["site.example"]
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    with pytest.raises(Exception, match="403"):
        await open_page(edge, login.session_key)


@pytest.mark.parametrize("session_key", [None, "nonsense"])
async def test_an_anonymous_page_is_told_to_log_in(
    edge: EdgeServer, session_key: str | None
) -> None:
    assert (await closing(await open_page(edge, session_key)))[0] == 4401


async def test_an_ended_session_closes_the_page(make_edge: MakeEdge, login: Login) -> None:
    edge = await make_edge(revalidate_seconds=0.05)
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    page = await open_page(edge, login.session_key)
    edge.directory.end_session(login.session_key)
    assert await closing(page) == (4401, "session ended")


async def test_a_notice_of_the_channel_layer_is_taken_at_once(
    edge: EdgeServer, login: Login
) -> None:
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    page = await open_page(edge, login.session_key)
    await ask(page, action="ping")
    edge.directory.end_session(login.session_key)
    layer = get_channel_layer()
    assert layer is not None
    await send_notice(layer, [login.user_id])
    assert await closing(page) == (4401, "session ended")


async def test_a_page_may_send_less(edge: EdgeServer, login: Login) -> None:
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    page = await open_page(edge, login.session_key)
    assert (await ask(page, action="ping", x="y" * 60_000))["type"] == "pong"
    await page.send(json.dumps({"action": "ping", "x": "y" * 66_000}))
    assert (await closing(page))[0] == 1009


def communicator(edge: EdgeServer, path: str = "/ws") -> WebsocketCommunicator:
    return WebsocketCommunicator(edge.application, path)


async def test_the_same_consumer_without_a_server(edge: EdgeServer) -> None:
    socket = communicator(edge)
    connected, _ = await socket.connect(timeout=30)
    assert connected
    assert await socket.receive_nothing()
    await socket.send_json_to({"action": "authenticate", "api_key": KEY})
    assert (await socket.receive_json_from(timeout=30))["status"] == "success"
    await socket.send_json_to({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"})
    assert (await socket.receive_json_from(timeout=30))["type"] == "subscribe"
    edge.link.tick("p1", INFY)
    assert (await socket.receive_json_from(timeout=30))["mode"] == 2
    await socket.disconnect(timeout=30)
    await eventually(lambda: edge.link.held == {})


async def test_a_blocked_client_ends_without_the_servers_help(make_edge: MakeEdge) -> None:
    edge = await make_edge(close_timeout_seconds=0.1)
    sent: list[str] = []
    frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    await frames.put({"type": "websocket.connect"})
    await frames.put(
        {"type": "websocket.receive", "text": json.dumps({"action": "auth", "api_key": "wrong"})}
    )

    async def blocked_send(message: dict[str, Any]) -> None:
        sent.append(message["type"])
        if message["type"] == "websocket.send":
            await asyncio.Event().wait()

    scope = {"type": "websocket", "path": "/ws", "headers": [], "client": ["1.2.3.4", 1]}
    async with asyncio.timeout(30):
        await edge.application(scope, frames.get, blocked_send)
    assert sent == ["websocket.accept", "websocket.send"]
    assert edge.gateway.current_hub is not None
    assert edge.gateway.current_hub.sockets.total == 0


async def test_a_page_whose_session_cannot_be_looked_up_is_told_to_come_again(
    edge: EdgeServer, login: Login
) -> None:
    edge.directory.add_session(login.session_key, make_principal(login.user_id))
    edge.directory.fail()
    page = await open_page(edge, login.session_key)
    assert await closing(page) == (4503, "database does not answer; try again")
