"""The one place that talks WebSocket: opening a socket to a broker, and what may go wrong on it.

Exceptions of ``websockets`` and of the operating system stop here and become ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    ProxyError,
    SecurityError,
    WebSocketException,
)
from websockets.frames import Frame, Opcode

from brokers.contract import Handshake
from brokers.endpoints.hosts import may_redirect
from brokers.exceptions import BrokerConfigError, BrokerUnavailableError
from brokers.times.retry_after import retry_after_seconds
from pooling.clock import Clock
from pooling.exceptions import ConnectionLostError
from pooling.proxies import DIRECT, Proxy, ProxyRules

__all__ = ["Connector", "Transport", "UpgradeRefusedError", "WebSocketConnector"]

CLOSE_TIMEOUT_SECONDS = 1.0
MAX_REFUSAL_BYTES = 4096


class UpgradeRefusedError(BrokerUnavailableError):
    """The broker answered the upgrade with an HTTP status; the adapter knows what it means.

    Names in ``headers`` are in Title-Case, whatever the broker wrote. ``Date`` is always among
    them: where the broker sent none it is when the answer arrived (RFC 9110, section 6.6.1).
    """

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(
            f"the broker answered the connection with HTTP {status}",
            retry_after_seconds=retry_after_seconds(headers),
        )
        self.status = status
        self.headers = headers
        self.body = body


class Transport(Protocol):
    """An open socket to a broker. Used on one event loop only.

    ``heard_at`` is when the broker last sent anything unasked (data or a ping) and ``pong_at``
    when it last answered a ping of ours; monotonic seconds.
    """

    @property
    def heard_at(self) -> float: ...

    @property
    def pong_at(self) -> float: ...

    async def send(self, message: str | bytes) -> None:
        """Send one message. Raises ConnectionLostError when the socket is gone."""

    async def recv(self) -> str | bytes:
        """Return the next message. Raises ConnectionLostError; may be cancelled without loss."""

    async def ping(self) -> asyncio.Future[Any] | None:
        """Send a ping and do not wait for its answer. Raises ConnectionLostError.

        Returns what is done when the answer comes, or fails when the socket is lost before; None
        where only ``pong_at`` tells.
        """

    async def close(self) -> None:
        """Close with 1000, within about a second. Idempotent, never raises for a dead socket."""

    def abort(self) -> None:
        """Drop the socket at once, without a close frame."""


class Connector(Protocol):
    """The way in which a pool opens sockets; tests bring their own."""

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> Transport:
        """Open one socket. Cancelling it leaves nothing behind.

        Raises:
            UpgradeRefusedError: the broker answered with an HTTP status other than 101.
            BrokerUnavailableError: it cannot be reached or did not answer in time.
            BrokerConfigError: the URL, or what names the proxy, cannot be used.
        """


class _ObservedConnection(ClientConnection):
    """A client connection that notes when control frames arrive, which its API does not show."""

    def __init__(self, clock: Clock, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clock = clock
        self.heard_at = self.pong_at = clock.monotonic()

    def process_event(self, event: Any) -> None:
        """Note what kind of byte arrived, then let the library process it."""
        if isinstance(event, Frame) and event.opcode is Opcode.PONG:
            self.pong_at = self.clock.monotonic()
        elif isinstance(event, Frame):
            self.heard_at = self.clock.monotonic()
        super().process_event(event)


class _WebSocketTransport:
    def __init__(self, socket: _ObservedConnection) -> None:
        self._socket = socket

    @property
    def heard_at(self) -> float:
        return self._socket.heard_at

    @property
    def pong_at(self) -> float:
        return self._socket.pong_at

    async def send(self, message: str | bytes) -> None:
        try:
            await self._socket.send(message)
        except ConnectionClosed as error:
            raise _lost(error) from error

    async def recv(self) -> str | bytes:
        try:
            return await self._socket.recv()
        except ConnectionClosed as error:
            raise _lost(error) from error

    async def ping(self) -> asyncio.Future[Any] | None:
        try:
            waiter: asyncio.Future[Any] = asyncio.ensure_future(await self._socket.ping())
        except ConnectionClosed as error:
            raise _lost(error) from error
        # Not everybody awaits it; without this, a socket that dies first leaves an unread failure.
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())
        return waiter

    async def close(self) -> None:
        try:
            await self._socket.close()
        finally:
            # In a task that is being cancelled, a timeout ends as a cancellation before Python
            # 3.11.3 (gh-102780) and ``websockets`` gives up without dropping the socket, which
            # would go on taking one of the broker's few places.
            self._socket.transport.abort()

    def abort(self) -> None:
        self._socket.transport.abort()


class WebSocketConnector:
    """Opens sockets with ``websockets``: no compression, no pings of its own.

    Redirects are followed, without the ``Authorization`` header where they lead to another host
    or port, and never from TLS to none.

    Args:
        clock: stamps arrivals.
        proxies: which way leads to a broker.
    """

    def __init__(self, *, clock: Clock, proxies: ProxyRules = DIRECT) -> None:
        self._clock = clock
        self._proxies = proxies

    async def __call__(
        self, handshake: Handshake, *, open_timeout_seconds: float, max_frame_bytes: int
    ) -> Transport:
        """Open one socket; see ``Connector``."""
        proxy = self._proxies.proxy_for(handshake.url)
        through = f", through the proxy {proxy}" if proxy else ""
        opened: list[_ObservedConnection] = []

        def create(*args: Any, **kwargs: Any) -> ClientConnection:
            # A redirect makes a second one; the last is the one that opens.
            opened.append(_ObservedConnection(self._clock, *args, **kwargs))
            return opened[-1]

        try:
            await _Connect(
                handshake.url,
                domain=handshake.redirect_domain,
                additional_headers=dict(handshake.headers),
                create_connection=create,
                compression=None,
                proxy=proxy.url if proxy else None,
                max_size=max_frame_bytes,
                open_timeout=open_timeout_seconds,
                close_timeout=CLOSE_TIMEOUT_SECONDS,
                ping_interval=None,
            )
        except InvalidStatus as error:
            response = error.response
            headers = {name.title(): value for name, value in response.headers.raw_items()}
            headers.setdefault("Date", formatdate(self._clock.time_ms() / 1000, usegmt=True))
            body = bytes(response.body or b"")[:MAX_REFUSAL_BYTES]
            raise UpgradeRefusedError(response.status_code, headers, body) from None
        except SecurityError:
            raise BrokerUnavailableError(
                "the broker redirects to another host, or to one without TLS, where its credential "
                "does not go"
            ) from None
        except ProxyError as error:
            raise BrokerUnavailableError(_refused_way(error, proxy)) from None
        except (InvalidURI, ValueError):
            # The URL may hold a credential, and so may the text of the error and its cause.
            if opened:
                raise BrokerUnavailableError("the broker redirects to no WebSocket URL") from None
            raise BrokerConfigError("the endpoint is not a WebSocket URL") from None
        except TimeoutError:
            raise BrokerUnavailableError(
                f"the broker did not answer within {open_timeout_seconds:g} s{through}"
            ) from None
        except (InvalidHandshake, WebSocketException) as error:
            raise BrokerUnavailableError(
                f"the broker's handshake failed ({type(error).__name__}){through}"
            ) from None
        except OSError as error:
            raise BrokerUnavailableError(
                f"the broker cannot be reached ({error.strerror or type(error).__name__}){through}"
            ) from None
        return _WebSocketTransport(opened[-1])


class _Connect(connect):
    """Follows no redirect by which a host would get what was meant for another."""

    def __init__(self, url: str, *, domain: str, **options: Any) -> None:
        super().__init__(url, **options)
        self._domain = domain

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return where to go on, or why not."""
        target = super().process_redirect(exc)
        if isinstance(target, str) and not may_redirect(self.uri, target, domain=self._domain):
            return SecurityError("the redirect leads to another host")
        return target


def _refused_way(error: ProxyError, proxy: Proxy | None) -> str:
    status = (
        f" with HTTP {error.response.status_code}" if isinstance(error, InvalidProxyStatus) else ""
    )
    return f"the proxy {proxy} refused the way to the broker{status}"


def _lost(error: ConnectionClosed) -> ConnectionLostError:
    if error.rcvd is not None:
        reason = f" {error.rcvd.reason[:100]!r}" if error.rcvd.reason else ""
        return ConnectionLostError(
            f"the broker closed the connection ({error.rcvd.code}{reason})", code=error.rcvd.code
        )
    if error.sent is not None:
        return ConnectionLostError(
            f"the connection was closed with {error.sent.code} {error.sent.reason[:100]!r}",
            code=error.sent.code,
        )
    return ConnectionLostError("the connection broke without a close frame")
