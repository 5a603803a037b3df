"""The gateway's server: one process, two listening sockets, uvicorn underneath.

``OPENALGO_PORT`` exists because OpenAlgo's clients look there; it serves WebSockets only.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import signal
import socket
import sys
from asyncio import BaseTransport
from collections.abc import Callable, Generator, Sequence
from http import HTTPStatus
from types import FrameType

import uvicorn
import uvloop
from uvicorn._types import ASGISendEvent
from websockets.frames import CloseCode
from websockets.http11 import Request
from websockets.protocol import OPEN

from brokers.endpoints.addresses import bare_host
from streaming.allocator import return_large_pieces
from streaming.clients.senders import KERNEL_UNSENT_BYTES
from streaming.collector import calm_collector
from streaming.edge.bounded_frames import BoundedFramesProtocol
from streaming.edge.files import connections_allowed, raise_file_limit
from streaming.edge.http_protocol import GatewayHttpProtocol
from streaming.edge.places import Edge
from streaming.edge.strangers_words import STRANGERS_WORDS
from streaming.exceptions import StreamingError
from streaming.gateway.consumers import FAREWELL_EXTENSION, FORCE_CLOSE_EXTENSION
from streaming.gateway.gateway import Gateway
from streaming.gateway.routing import Application, Receive, Scope, Send

__all__ = [
    "GatewayServer",
    "PortTakenError",
    "listen",
    "make_server",
    "run_gateway",
    "websockets_only",
]

_GRACE_SECONDS = 3
_SWITCH_SECONDS = 0.0005
_LINGER_SECONDS = 10.0
# Linux and macOS have it.
_UNSENT_OPTION: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class PortTakenError(StreamingError):
    """Somebody else listens on a port; ``variable`` names the setting that moves ours."""

    def __init__(self, *, host: str, port: int, variable: str) -> None:
        super().__init__(f"port {port} on {host} is already taken; free it or set {variable}")
        self.host = host
        self.port = port
        self.variable = variable


class GatewayProtocol(BoundedFramesProtocol):
    """uvicorn's WebSocket protocol, bounded, and a way to end a client that stopped reading.

    ASGI's ``send`` waits until a congested transport has room, so a close frame would wait as long
    as the client does not read. The extension writes it behind what is already buffered.
    """

    _farewell = b""

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)
        # The kernel would hold up to 4 MiB more for a client that stopped reading. What is on the
        # network does not count, so nobody who reads is slowed down.
        tcp = transport.get_extra_info("socket")
        if _UNSENT_OPTION is not None and tcp is not None:
            tcp.setsockopt(socket.IPPROTO_TCP, _UNSENT_OPTION, KERNEL_UNSENT_BYTES)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            extensions: dict[str, object] = self.scope["extensions"]  # type: ignore[assignment]
            extensions[FORCE_CLOSE_EXTENSION] = self.force_close
            extensions[FAREWELL_EXTENSION] = self.say_farewell

    async def send(self, message: ASGISendEvent) -> None:
        """Send; a refused handshake that was answered counts as complete.

        uvicorn would log an error for each, which a stranger could fill a disk with.
        """
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True

    def say_farewell(self, payload: str) -> None:
        """Remember the text frame to send in front of the close when the server ends."""
        self._farewell = payload.encode()

    def shutdown(self) -> None:
        is_open = self.handshake_complete and not self.transport.is_closing()
        if self._farewell and is_open and not self.close_sent:
            self.conn.send_text(self._farewell)
            self.transport.write(b"".join(self.conn.data_to_send()))
        super().shutdown()

    def send_receive_event_to_app(self) -> None:
        """Refuse a text that is not UTF-8 before uvicorn looks at it.

        uvicorn logs a traceback for each, which a stranger could fill a disk with, and fails when
        the client's close frame came right behind: that one is answered already.
        """
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                if self.conn.state is OPEN:
                    self.conn.send_close(CloseCode.INVALID_DATA)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def force_close(self, code: int, reason: str) -> None:
        """Queue a close frame past the congestion; a client that never reads it is cut off."""
        if self.close_sent or self.transport.is_closing():
            self.transport.abort()
            return
        self.stop_keepalive()
        self.conn.send_close(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            # Otherwise the client's answer to the close frame would never be read.
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)


class GatewayServer(uvicorn.Server):
    """uvicorn's server with signals as a command needs them: the process then exits with 0.

    The first SIGINT or SIGTERM stops the server, closing clients with 1012; a second one no longer
    waits for anybody.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        previous = {number: signal.signal(number, self.handle_exit) for number in _STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


class _NoCancellations(logging.Filter):
    """Drops uvicorn's traceback of a request that we cancelled: stopping is no failure."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def listen(host: str, port: int, variable: str) -> socket.socket:
    """Return a listening socket.

    Raises:
        PortTakenError: the port is in use.
        OSError: the address cannot be used at all.
    """
    bare = bare_host(host)
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((bare, port))
        listener.listen(2048)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(host=host, port=port, variable=variable) from None
        raise
    return listener


def websockets_only(application: Application, port: int) -> Application:
    """Answer HTTP on ``port`` with 426; WebSockets, and other ports, go to ``application``."""
    body = b"This port speaks WebSocket only; the site is on another port.\n"
    headers = [
        (b"content-type", b"text/plain"),
        (b"upgrade", b"websocket"),
        (b"content-length", b"%d" % len(body)),
    ]

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        server = scope.get("server")
        if scope["type"] == "http" and server is not None and server[1] == port:
            await send({"type": "http.response.start", "status": 426, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await application(scope, receive, send)

    return guarded


def make_server(application: Application, edge: Edge | None = None) -> GatewayServer:
    """Return the server, configured and not yet started, with the bounds of ``edge``."""
    edge = edge or Edge()
    logging.getLogger("uvicorn.error").addFilter(STRANGERS_WORDS)
    return GatewayServer(
        uvicorn.Config(
            application,
            http=functools.partial(GatewayHttpProtocol, edge),  # type: ignore[arg-type]
            ws=functools.partial(GatewayProtocol, edge),  # type: ignore[arg-type]
            ws_per_message_deflate=False,  # no published client offers it, and it costs a lot
            ws_ping_interval=20,
            ws_ping_timeout=60,  # a strategy's callback may keep an SDK busy for a while
            lifespan="off",
            proxy_headers=False,  # whom to trust is a setting: streaming/gateway/proxies.py
            # A request that was sent ahead would run in the context of the one before it, where
            # Django finds threads that nobody ends.
            reset_contextvars=True,
            log_config=None,
            log_level="warning",
            access_log=False,  # URLs of careless clients carry keys
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def run_gateway(
    *,
    application: Application,
    gateway: Gateway,
    host: str,
    port: int,
    openalgo_port: int,
    on_listening: Callable[[], None] = lambda: None,
    sockets: tuple[socket.socket, socket.socket] | None = None,
) -> None:
    """Serve until a signal stops it; returns after clients were told and the hub is closed.

    Args:
        sockets: the two listening sockets where another process has made them; the addresses are
            not looked at then.

    Raises:
        PortTakenError: one of the two ports is in use; nothing was started.
    """
    logging.getLogger("uvicorn.error").addFilter(_NoCancellations())
    gateway.edge.max_connections = connections_allowed(raise_file_limit(), gateway.limits)
    with contextlib.ExitStack() as stack:
        if sockets is None:
            site = stack.enter_context(listen(host, port, "PORT"))
            openalgo = stack.enter_context(listen(host, openalgo_port, "OPENALGO_PORT"))
        else:
            site, openalgo = (stack.enter_context(one) for one in sockets)
        guarded = websockets_only(application, openalgo.getsockname()[1])
        server = make_server(guarded, gateway.edge)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(server, gateway, [site, openalgo], on_listening))


async def _serve(
    server: GatewayServer,
    gateway: Gateway,
    sockets: Sequence[socket.socket],
    on_listening: Callable[[], None],
) -> None:
    # Signals are taken before anything is open, so that none of them leaves something behind.
    with server.capture_signals():
        await gateway.open()
        # Otherwise each large subscribe makes the collector walk all that there is several times,
        # and every client waits.
        calm_collector()
        return_large_pieces()
        # How long a page's thread that computes may hold the loop up, each time.
        sys.setswitchinterval(_SWITCH_SECONDS)
        try:
            on_listening()
            await server.serve(sockets=list(sockets))
        finally:
            await gateway.close()
