"""A TLS server on loopback for tests and measurements: HTTP/2 and HTTP/1.1, one fixed answer."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["LoopbackHttps"]

HEADERS_END = b"\r\n\r\n"


class LoopbackHttps:
    """Answers every request with ``body``, of at most 16 KiB.

    Its certificate is its own, valid for an hour.

    ``client_context`` trusts it. ``connections`` and ``requests`` count what came;
    ``drop_connections`` ends what is open, as a broker that restarts does.

    Args:
        body: the answer.
        protocols: what the server agrees to, by ALPN; HTTP/1.1 is spoken otherwise.
    """

    def __init__(self, *, body: bytes = b"{}", protocols: tuple[str, ...] = ("h2",)) -> None:
        self.body = body
        self.connections = 0
        self.requests = 0
        self.open: set[asyncio.Transport] = set()
        pem = _certificate()
        self.certificate = pem.decode().partition("-----BEGIN PRIVATE")[0]
        self._context = _server_context(pem, protocols)
        self.client_context = ssl.create_default_context(cadata=self.certificate)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self), "127.0.0.1", 0, ssl=self._context
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
            self.drop_connections()
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """Where it listens, once it is open."""
        if self._server is None:
            raise RuntimeError("the server is not open")
        return f"https://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    def drop_connections(self) -> None:
        """End all connections without a word."""
        for transport in list(self.open):
            transport.abort()


class _Connection(asyncio.Protocol):
    """One client: HTTP/2 where agreed, else HTTP/1.1 without bodies in requests."""

    def __init__(self, server: LoopbackHttps) -> None:
        self._server = server
        self._buffer = b""
        self._h2: h2.connection.H2Connection | None = None
        self._bodiless: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections += 1
        self._server.open.add(self._transport)
        tls = transport.get_extra_info("ssl_object")
        if tls.selected_alpn_protocol() == "h2":
            config = h2.config.H2Configuration(client_side=False, header_encoding="ascii")
            self._h2 = h2.connection.H2Connection(config=config)
            self._h2.initiate_connection()
            self._transport.write(self._h2.data_to_send())

    def connection_lost(self, error: Exception | None) -> None:
        self._server.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._h2 is None:
            self._receive_text(data)
            return
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.ProtocolError:
            self._transport.close()
            return
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                if (":method", "HEAD") in (event.headers or ()):
                    self._bodiless.add(event.stream_id or 0)
            elif isinstance(event, h2.events.StreamEnded) and event.stream_id is not None:
                self._answer(self._h2, event.stream_id)
        self._transport.write(self._h2.data_to_send())

    def _answer(self, h2_connection: h2.connection.H2Connection, stream: int) -> None:
        body = self._server.body
        self._server.requests += 1
        is_head = stream in self._bodiless
        self._bodiless.discard(stream)
        headers = [(":status", "200"), ("content-length", str(len(body)))]
        h2_connection.send_headers(stream, headers, end_stream=is_head)
        if not is_head:
            h2_connection.send_data(stream, body, end_stream=True)

    def _receive_text(self, data: bytes) -> None:
        self._buffer += data
        while HEADERS_END in self._buffer:
            request, _, self._buffer = self._buffer.partition(HEADERS_END)
            body = self._server.body
            self._server.requests += 1
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n"
            is_head = request.startswith(b"HEAD ")
            self._transport.write(head.encode() + (b"" if is_head else body))


def _certificate() -> bytes:
    """Return key and certificate of 127.0.0.1 in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _server_context(pem: bytes, protocols: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        # The ssl module reads certificates from files only.
        file = Path(folder) / "server.pem"
        file.write_bytes(pem)
        context.load_cert_chain(file)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context
