"""Channels consumers: ASGI messages in, calls on hub and client out; nothing is decided here.

Channels dispatches one message at a time, which is what keeps a client's frames in order and holds
those that arrive while it is being authenticated.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from channels.consumer import AsyncConsumer, get_handler_name
from channels.exceptions import StopConsumer
from django.conf import settings

from streaming import scopes
from streaming.clients.batches import BATCH_SUBPROTOCOL, Cohort, interval_of
from streaming.clients.client import AsgiSocket, Client
from streaming.clients.revoked_clients import KEY_ENDED
from streaming.edge.bounded_frames import ADMITTED_EXTENSION, COMES_FROM_EXTENSION
from streaming.edge.uvicorn_frames import FRAMES_EXTENSION
from streaming.edge_limits import TokenBucket
from streaming.exceptions import DirectoryUnavailableError, KeyEndedError
from streaming.fanout.hub import GatewayHub
from streaming.gateway.gateway import Gateway
from streaming.gateway.requests import serve, serve_anyone, serve_frame
from streaming.ports.directory import Principal
from streaming.protocol import replies
from streaming.protocol.parsing import parse_request
from streaming.protocol.session import SessionState
from streaming.protocol.vocabulary import (
    Authenticate,
    CloseCode,
    ErrorCode,
    ProtocolError,
)
from streaming.scopes import READING, Scope

__all__ = [
    "FAREWELL_EXTENSION",
    "FORCE_CLOSE_EXTENSION",
    "BrowserConsumer",
    "OpenAlgoConsumer",
]

logger = logging.getLogger("streaming")

# Name of the ASGI extension through which a server offers a way past a congested transport.
FORCE_CLOSE_EXTENSION = "tickpool.force_close"
# The same for a last text frame in front of the close with which the server ends.
FAREWELL_EXTENSION = "tickpool.farewell"
# Reconnecting clients spread over this time; a restart takes a second or two.
_RECONNECT_AFTER_MS = (500, 5000)
_MAX_USER_AGENT = 200


_CANNOT_LOOK_UP = (
    "The server cannot look up API keys now (its database does not answer); "
    "yours was not refused. Try again in a few seconds."
)
_TRY_AGAIN = "database does not answer; try again"
# How a client is closed whose key was refused, by the code that it was told.
_CLOSES = {
    ErrorCode.AUTHENTICATION_ERROR: (CloseCode.UNAUTHENTICATED, "invalid API key"),
    ErrorCode.RATE_LIMITED: (CloseCode.RATE_LIMITED, "too many wrong API keys"),
    ErrorCode.FORBIDDEN: (CloseCode.FORBIDDEN, "API key may not read"),
}
_TOO_MANY_CLIENTS = "too many connections of this user; close one; retry_after=30"
_SERVER_ERROR = ProtocolError(ErrorCode.SERVER_ERROR, "The server failed; try again.")


class EdgeConsumer(AsyncConsumer):  # type: ignore[misc]
    """The part that both routes share: accepting, bounds, frames, and leaving.

    Args:
        gateway: the process's gateway.
    """

    def __init__(self, *, gateway: Gateway) -> None:
        self.gateway = gateway
        self.limits = gateway.limits
        self.hub: GatewayHub | None = None  # from the handshake on
        self.client: Client | None = None  # from the handshake on, once counted in
        self._bucket = TokenBucket(
            rate=self.limits.messages_per_second, burst=self.limits.message_burst
        )
        self._refused_messages = 0  # for coming too fast, so far
        self._abandoned = False  # its task was cancelled to end the socket

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve the client until it is gone.

        Channels' own would wait for the channel layer as well, which would hang every client's life
        on a server that is there for rare notices; ``streaming/gateway/notices.py`` reads it
        instead.
        """
        self.scope = scope
        self.base_send = send
        self._task = asyncio.current_task()
        try:
            while True:
                await self.dispatch(await receive())
        except StopConsumer:
            pass
        except asyncio.CancelledError:
            if not self._abandoned:
                raise
        finally:
            self._leave()

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Call the method for ``message``.

        Unlike Channels' own this does not hop to the database thread for every frame: nothing here
        touches the database, and a slow query of one client must not hold the others' frames.

        One name for each method: Python's cache of attributes keeps every text by which one was
        ever looked up, wherever in memory that was made.
        """
        await getattr(self, sys.intern(get_handler_name(message)))(message)

    async def websocket_connect(self, message: dict[str, Any]) -> None:
        """Accept the socket, unless there are too many."""
        hub = self.hub = await self.gateway.open()
        address = (self.scope.get("client") or ["unknown"])[0]
        if not hub.sockets.enter(address):
            await self._deny(503, b"Too many connections; try again later.\n")
        extensions = self.scope.get("extensions") or {}
        if (comes_from := extensions.get(COMES_FROM_EXTENSION)) is not None:
            comes_from(address)
        force_close = extensions.get(FORCE_CLOSE_EXTENSION)
        is_batched = BATCH_SUBPROTOCOL in (self.scope.get("subprotocols") or ())
        cohort, refusal = self._cohort(hub) if is_batched else (None, None)
        client = self.client = Client(
            client_id=hub.next_client_id(),
            address=address,
            socket=AsgiSocket(self.base_send, force_close or self._abandon),
            frames=extensions.get(FRAMES_EXTENSION),
            limits=self.limits,
            cohort=cohort,
            user_agent=_user_agent(self.scope),
        )
        accept: dict[str, Any] = {"type": "websocket.accept"}
        if is_batched:
            accept["subprotocol"] = BATCH_SUBPROTOCOL
            client.session.wants_status = True
            if (say_farewell := extensions.get(FAREWELL_EXTENSION)) is not None:
                after_ms = random.randint(*_RECONNECT_AFTER_MS)  # noqa: S311 - spreads load
                say_farewell(replies.reconnect(after_ms))
        await self.base_send(accept)
        hub.enter(client)
        if refusal is not None:
            hub.close_client(client, CloseCode.BAD_REQUEST, refusal)
        else:
            await self.accepted(hub, client)

    def _cohort(self, hub: GatewayHub) -> tuple[Cohort | None, str | None]:
        """Return the client's cohort, or why there is none."""
        try:
            return hub.batches.cohort(interval_of(self.scope.get("query_string") or b"")), None
        except ValueError as error:
            return None, str(error)

    def _admit(self, hub: GatewayHub, client: Client, principal: Principal, *told: str) -> None:
        """Begin to serve ``principal``, told ``told`` first.

        Raises:
            ProtocolError: the user has as many clients as it may have.
        """
        hub.budgets.enter(principal.user_id, client.session)
        client.session.admit(principal)
        admitted = (self.scope.get("extensions") or {}).get(ADMITTED_EXTENSION)
        if admitted is not None:
            admitted(self.max_frame_bytes(client), principal.user_id)
        for payload in told:
            client.send(payload)
        if client.session.wants_status:
            hub.tell_feeds(client)

    async def accepted(self, hub: GatewayHub, client: Client) -> None:
        """Begin with a client whose socket is open."""
        raise NotImplementedError

    def max_frame_bytes(self, client: Client) -> int:
        """Return how large a frame may be now."""
        raise NotImplementedError

    async def serve_text(self, hub: GatewayHub, client: Client, text: str) -> None:
        """Serve one frame of an open client. Raises ProtocolError when it cannot be served."""
        if client.session.state is SessionState.READY:
            await serve_frame(hub, client, text)
        else:
            await serve(hub, client, parse_request(text))

    async def websocket_receive(self, message: dict[str, Any]) -> None:
        """Serve one frame; whatever is wrong with it, the client gets a coded answer."""
        hub, client = self.hub, self.client
        if hub is None or client is None or client.session.state is SessionState.CLOSED:
            return
        text, max_bytes = message.get("text"), self.max_frame_bytes(client)
        if _is_larger(text if text is not None else message.get("bytes") or b"", max_bytes):
            reason = f"frames have at most {max_bytes} bytes here"
            hub.close_client(client, CloseCode.TOO_BIG, reason)
            return
        try:
            self._check_rate(hub)
            if text is None:
                raise ProtocolError(ErrorCode.INVALID_JSON, "Send text frames, not binary ones.")
            await self.serve_text(hub, client, text)
        except ProtocolError as failure:
            client.send(replies.error(failure))
            self._refused_messages += failure.code is ErrorCode.RATE_LIMITED
            if self._refused_messages >= self.limits.messages_refused_before_close:
                hub.close_client(client, CloseCode.RATE_LIMITED, "too many requests")
        except Exception:  # supervision point: one client's failure is no other client's
            logger.exception("client %s: serving a request failed", client.id)
            client.send(replies.error(_SERVER_ERROR))

    async def websocket_disconnect(self, message: dict[str, Any]) -> None:
        """End; ``__call__`` gives up what the client held."""
        raise StopConsumer

    def _check_rate(self, hub: GatewayHub) -> None:
        if self._bucket.allows(hub.clock()):
            return
        hub.budgets.refused["messages"] += 1
        raise ProtocolError(
            ErrorCode.RATE_LIMITED,
            f"At most {self.limits.messages_per_second:g} requests a second; name several "
            "instruments in one request.",
        )

    async def _deny(self, status: int, body: bytes) -> None:
        """Refuse the handshake and stop; servers without denial responses answer 403."""
        if "websocket.http.response" in (self.scope.get("extensions") or {}):
            headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
            await self.base_send(
                {"type": "websocket.http.response.start", "status": status, "headers": headers}
            )
            await self.base_send({"type": "websocket.http.response.body", "body": body})
        else:
            await self.base_send({"type": "websocket.close"})
        raise StopConsumer

    def _abandon(self, code: int, reason: str) -> None:
        """Stop serving a client whose server has no way past its congested transport."""
        self._abandoned = True
        if self._task is not None:
            self._task.cancel()

    def _leave(self) -> None:
        hub, client = self.hub, self.client
        self.client = self._task = None  # both refer to this object
        if hub is None or client is None:
            return
        hub.sockets.leave(client.address)
        hub.leave(client)


class OpenAlgoConsumer(EdgeConsumer):
    """The API-key route, as OpenAlgo's clients speak it; cookies and ``Origin`` are ignored."""

    _auth_timeout: asyncio.TimerHandle | None = None

    async def accepted(self, hub: GatewayHub, client: Client) -> None:
        """Wait for the key. Nothing is sent before the client's first message."""
        self._expect_key(
            CloseCode.UNAUTHENTICATED, "auth timeout", self.limits.auth_timeout_seconds
        )

    def _expect_key(self, code: CloseCode, reason: str, seconds: float) -> None:
        """Close the client unless it sends a key within ``seconds``."""
        if self.hub is not None and self.client is not None:
            self._auth_timeout = asyncio.get_running_loop().call_later(
                seconds, self.hub.close_client, self.client, code, reason
            )

    def _stop_expecting(self) -> None:
        """Stop the clock: what is late from here on is ours, not the client's."""
        if self._auth_timeout is not None:
            self._auth_timeout.cancel()

    def max_frame_bytes(self, client: Client) -> int:
        """Strangers get little."""
        if client.session.state is SessionState.READY:
            return self.limits.api_frame_bytes
        return self.limits.unauthenticated_frame_bytes

    async def serve_text(self, hub: GatewayHub, client: Client, text: str) -> None:
        """Serve a frame; before authentication only the key and what needs none."""
        if client.session.state is SessionState.READY:
            await serve_frame(hub, client, text)
            return
        request = parse_request(text)
        is_waiting = client.session.state is SessionState.AWAITING_AUTH
        if is_waiting and isinstance(request, Authenticate):
            await self._authenticate(hub, client, request)
        elif not await serve_anyone(hub, client, request):
            await serve(hub, client, request)

    async def _authenticate(self, hub: GatewayHub, client: Client, request: Authenticate) -> None:
        session = client.session
        session.move(SessionState.AUTHENTICATING)
        self._stop_expecting()
        try:
            principal = await self.gateway.gate.principal_of(request.api_key, client.address)
            if not principal.scope & READING:
                raise ProtocolError(
                    ErrorCode.FORBIDDEN, scopes.refusal(Scope.READ_TICKS, principal.scope)
                )
        except ProtocolError as refusal:
            self._refuse(hub, client, request, refusal, *_CLOSES[refusal.code])
            return
        except KeyEndedError as ended:
            told_so = ProtocolError(ErrorCode.AUTHENTICATION_ERROR, str(ended))
            self._refuse(hub, client, request, told_so, CloseCode.UNAUTHENTICATED, KEY_ENDED)
            return
        except DirectoryUnavailableError:
            self._ask_again(client, _CANNOT_LOOK_UP, request)
            return
        except Exception:  # supervision point: whatever failed, it says nothing about the key
            logger.exception("client %s: looking its key up failed", client.id)
            self._ask_again(client, _SERVER_ERROR.message, request)
            return
        if session.state is not SessionState.AUTHENTICATING:
            return  # it was closed meanwhile
        told = replies.auth_succeeded(principal, request.request_id)
        try:
            self._admit(hub, client, principal, told)
        except ProtocolError as refusal:
            code = CloseCode.RATE_LIMITED
            self._refuse(hub, client, request, refusal, code, _TOO_MANY_CLIENTS)

    def _refuse(
        self,
        hub: GatewayHub,
        client: Client,
        request: Authenticate,
        refusal: ProtocolError,
        code: CloseCode,
        reason: str,
    ) -> None:
        client.send(replies.auth_failed(refusal.code, refusal.message, request.request_id))
        # An SDK looks every 0.1 s and waits 5 s for a socket closed before it looked.
        delay_seconds = self.limits.auth_failure_close_seconds
        hub.close_client(client, code, reason, delay_seconds=delay_seconds)

    def _ask_again(self, client: Client, message: str, request: Authenticate) -> None:
        """Let a client whose key nobody refused try again, on this socket or on a new one."""
        if client.session.state is not SessionState.AUTHENTICATING:
            return
        client.send(replies.auth_failed(ErrorCode.SERVER_ERROR, message, request.request_id))
        client.session.move(SessionState.AWAITING_AUTH)
        self._expect_key(CloseCode.BACKEND_DOWN, _TRY_AGAIN, self.limits.auth_retry_seconds)

    def _leave(self) -> None:
        self._stop_expecting()
        super()._leave()


class BrowserConsumer(EdgeConsumer):
    """The route of the site's own pages; ``routing.py`` beside it has checked their origin."""

    async def accepted(self, hub: GatewayHub, client: Client) -> None:
        """Admit the session's user, or close with 4401 so that the page can send him to log in."""
        session_key = (self.scope.get("cookies") or {}).get(settings.SESSION_COOKIE_NAME)
        client.session.move(SessionState.AUTHENTICATING)
        try:
            principal = await self._principal_of(hub, session_key)
        except DirectoryUnavailableError:
            hub.close_client(client, CloseCode.BACKEND_DOWN, _TRY_AGAIN)
            return
        if principal is None:
            hub.close_client(client, CloseCode.UNAUTHENTICATED, "not logged in")
        elif client.session.state is SessionState.AUTHENTICATING:
            try:
                self._admit(hub, client, principal)
            except ProtocolError:
                hub.close_client(client, CloseCode.RATE_LIMITED, _TOO_MANY_CLIENTS)

    async def _principal_of(self, hub: GatewayHub, session_key: str | None) -> Principal | None:
        if not session_key:
            return None
        return await hub.directory.authenticate_session(session_key)

    def max_frame_bytes(self, client: Client) -> int:
        """A page never needs more."""
        return self.limits.browser_frame_bytes


def _user_agent(scope: dict[str, Any]) -> str:
    """Return what the client says it is: shown to people, so bounded and printable."""
    for name, value in scope.get("headers") or ():
        if name == b"user-agent":
            text = value[: 4 * _MAX_USER_AGENT].decode("latin-1")
            return "".join(filter(str.isprintable, text))[:_MAX_USER_AGENT]
    return ""


def _is_larger(frame: str | bytes, max_bytes: int) -> bool:
    if len(frame) > max_bytes:
        return True
    if isinstance(frame, bytes) or frame.isascii():
        return False
    return len(frame.encode()) > max_bytes
